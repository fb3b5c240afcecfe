"""The data plane: relayed datagrams to wire format and back, with no object in between (RFC 8656 sections 11, 12)."""

from __future__ import annotations

import random
from collections import deque

from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Message, MessageClass, Method
from stun.transaction import new_transaction_id
from turn.config import ChannelPolicy, TurnServerConfig

__all__ = ["MAX_DATA", "DataPlane"]

MAX_DATA = 65535 - 20 - 4 - 20 - 4 - 4
"""Bytes of data that fit a Send indication (with an IPv6 address and DONT-FRAGMENT) whose length has 16 bits."""

_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")


class DataPlane:
    """Which wire format goes to which peer, and what waits for a permission.

    ``heads``, ``peers`` and ``open_hosts`` are the tables of the client's channels and permissions: they change there
    and are only read here.
    """

    def __init__(
        self,
        config: TurnServerConfig,
        heads: dict[tuple[str, int], bytes],
        peers: dict[bytes, TransportAddress],
        open_hosts: set[str],
        padded: bool,
        rng: random.Random,
    ) -> None:
        self.received: deque[tuple[TransportAddress, bytes]] = deque()
        """Data for the application, with the peer that it is from."""
        self.dropped = 0
        """Datagrams, either way, for which there was no room or no permission."""
        self.worth_a_channel: list[TransportAddress] = []
        """Peers that have had enough traffic since the client last looked."""
        self._heads = heads
        self._peers = peers
        self._open = open_hosts
        self._padded = padded
        self._rng = rng
        self._config = config.client
        self._dont_fragment = config.dont_fragment
        self._threshold = _threshold(config.client.channels, config.client.channel_after)
        self._traffic: dict[tuple[str, int], int] = {}
        self._waiting: dict[str, deque[tuple[TransportAddress, bytes]]] = {}

    def encode(self, peer: tuple[str, int], data: bytes) -> bytes | None:
        """Return what carries ``data`` to ``peer``: ChannelData or a Send indication; None without a permission.

        Raises:
            ValueError: ``data`` is too long for any datagram.
        """
        size = len(data)
        if size > MAX_DATA:
            raise ValueError(f"{size} bytes do not fit a datagram")
        head = self._heads.get(peer)
        if head is not None:
            if self._padded and size & 3:
                return head + size.to_bytes(2, "big") + data + _PADDING[size & 3]
            return head + size.to_bytes(2, "big") + data
        if peer[0] not in self._open:
            return None
        address = TransportAddress(*peer)
        self._count(address)
        message = Message(Method.SEND, MessageClass.INDICATION, new_transaction_id(self._rng))
        message.add(att.XOR_PEER_ADDRESS, address)
        if self._dont_fragment:
            message.add(att.DONT_FRAGMENT, True)
        return message.add(att.DATA, data).serialize()

    def decode(self, data: bytes) -> tuple[TransportAddress, bytes] | None:
        """Return the peer and the payload of a ChannelData message; None for anything else. Never raises."""
        peer = self._peers.get(data[:2])
        if peer is None or len(data) < 4:
            return None
        stop = 4 + (data[2] << 8 | data[3])
        if stop > len(data):
            return None
        return peer, data[4:stop]

    def data_indication(self, indication: Message) -> bool:
        """Take a Data indication with data; False when it is none that we may take (section 11.4)."""
        peer = indication.get(att.XOR_PEER_ADDRESS)
        data = indication.get(att.DATA)
        if peer is None or data is None or peer.host not in self._open:
            return False
        self._count(peer)
        self.deliver(peer, data)
        return True

    def deliver(self, peer: TransportAddress, data: bytes) -> None:
        """Queue data for the application."""
        if len(self.received) < self._config.max_received:
            self.received.append((peer, data))
        else:
            self.dropped += 1

    def wait(self, peer: TransportAddress, data: bytes) -> None:
        """Keep data until there is a permission for its peer."""
        queue = self._waiting.setdefault(peer.host, deque())
        if len(queue) >= self._config.max_queued:
            queue.popleft()
            self.dropped += 1
        queue.append((peer, data))

    def granted(self, host: str) -> list[bytes]:
        """Return what has waited for the permission that is here now, in wire format."""
        waiting = self._waiting.pop(host, ())
        return [wire for peer, data in waiting if (wire := self.encode(peer, data)) is not None]

    def refused(self, host: str) -> None:
        """Drop what has waited for a permission that will not come."""
        self.dropped += len(self._waiting.pop(host, ()))

    def forget(self, peer: tuple[str, int]) -> None:
        """Count the traffic of a peer from nothing again."""
        self._traffic.pop(peer, None)

    def cut(self, host: str) -> None:
        """Drop what waits for a host, and count its traffic from nothing again."""
        self.refused(host)
        for peer in [peer for peer in self._traffic if peer[0] == host]:
            self.forget(peer)
        self.worth_a_channel[:] = [peer for peer in self.worth_a_channel if peer.host != host]

    def clear(self) -> None:
        """The allocation is gone."""
        for host in list(self._waiting):
            self.refused(host)
        self._traffic.clear()
        self.worth_a_channel.clear()

    def _count(self, peer: TransportAddress) -> None:
        if self._threshold is None or peer in self._heads:
            return
        if len(self._traffic) >= self._config.max_permissions and peer not in self._traffic:
            return
        count = self._traffic.get(peer, 0) + 1
        self._traffic[peer] = count
        if count == self._threshold:
            self.worth_a_channel.append(peer)


def _threshold(policy: ChannelPolicy, after: int) -> int | None:
    if policy is ChannelPolicy.ON_DEMAND:
        return None
    return 1 if policy is ChannelPolicy.AT_ONCE else after
