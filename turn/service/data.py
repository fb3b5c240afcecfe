"""Relaying datagrams: ChannelData, Send and Data indications, ICMP errors (RFC 8656 sections 11 and 12).

The data plane is short: a driver calls :meth:`DataPlane.from_client` and :meth:`DataPlane.from_peer` itself and sends
what they return; no effect, event or message object is made for a datagram on a channel.
"""

from __future__ import annotations

from struct import Struct

from stun import attributes as att
from stun.address import TransportAddress, TransportProtocol
from stun.message import Message, MessageClass, Method
from stun.values import Icmp
from turn.service.allocation import Allocation, Relay
from turn.service.events import SendToPeer
from turn.service.quota import take_from_all
from turn.service.state import ServerState

__all__ = ["DataPlane"]

_U16 = Struct("!H")
_ICMP_TYPES = {4: frozenset({3, 11}), 6: frozenset({1, 2, 3})}
"""What section 11.5 has a server tell: unreachable, time exceeded, and (IPv6) packet too big."""

ToPeer = tuple[Relay, tuple[str, int], bytes]
"""Which relayed address sends which bytes to whom."""


class DataPlane:
    """Decides about every relayed datagram."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._stats = state.stats
        self._behind_nat = state.behind_nat

    def from_client(self, allocation: Allocation, data: bytes, now: float) -> ToPeer | None:
        """Take one ChannelData message of a client; return what to send, or None when it is dropped (section 12.6)."""
        if len(data) < 4:
            self._stats.unparsable += 1
            return None
        channel = allocation.channels.get(data[0] << 8 | data[1])
        stop = 4 + (data[2] << 8 | data[3])
        if channel is None or channel.expires <= now or stop > len(data):
            self._stats.unbound_channel += 1
            return None
        size = stop - 4
        if allocation.bandwidth and not self._pay(allocation, size, now):
            return None
        allocation.packets_to_peers += 1
        allocation.bytes_to_peers += size
        return channel.relay, channel.target, data[4:stop]

    def from_peer(self, relay: Relay, data: bytes, peer: tuple[str, int], now: float) -> bytes | None:
        """Take one datagram of a peer; return the message for the client, or None when it is dropped.

        Permissions are looked at by IP address (section 11.3); data refreshes neither them nor channels.
        """
        allocation = relay.allocation
        if self._behind_nat:
            peer = self._state.outside(peer, TransportProtocol.UDP)
        if allocation is None or allocation.permissions.get(peer[0], 0.0) <= now:
            self._stats.denied_from_peer += 1
            return None
        size = len(data)
        if allocation.bandwidth and not self._pay(allocation, size, now):
            return None
        allocation.packets_to_client += 1
        allocation.bytes_to_client += size
        channel = allocation.channel_of.get(peer)
        if channel is None or channel.expires <= now:
            return self._data_indication(data, peer)
        message = channel.head + _U16.pack(size) + data
        return message + bytes(-size % 4) if allocation.padded and size & 3 else message

    def send_indication(self, allocation: Allocation, message: Message, now: float) -> None:
        """Take a Send indication; without permission it is dropped (section 11.2)."""
        state = self._state
        peer, data = message.get(att.XOR_PEER_ADDRESS), message.get(att.DATA)
        if peer is None or data is None:
            self._stats.denied_to_peer += 1
            return
        unfragmented = att.DONT_FRAGMENT in message and _is_fragmentation_ours(allocation, peer)
        refused = (att.DONT_FRAGMENT,) if unfragmented and not state.config.dont_fragment else ()
        if message.unknown_required(refused):
            self._stats.denied_to_peer += 1
            return
        relay = allocation.relays.get(peer.family)
        allowed = allocation.permissions.get(peer.host, 0.0) > now
        reachable = allowed and peer.port != 0 and state.may_reach(peer, TransportProtocol.UDP)
        if relay is None or not reachable or allocation.is_tcp:
            self._stats.denied_to_peer += 1
            return
        if allocation.bandwidth and not self._pay(allocation, len(data), now):
            return
        allocation.packets_to_peers += 1
        allocation.bytes_to_peers += len(data)
        target = state.inside(peer, TransportProtocol.UDP)
        state.outbox.effects.append(SendToPeer(relay.address, target, data, unfragmented))

    def icmp(self, relay: Relay, peer: TransportAddress, error: Icmp, now: float) -> bytes | None:
        """Take an ICMP error about a datagram that was sent from a relayed address (section 11.5).

        Args:
            relay: where the datagram had been sent from.
            peer: where it had been sent to, port 0 when that is not known.
            error: what the ICMP message said.
            now: monotonic seconds.

        The permission that counts is that of the inner destination, whoever sent the ICMP message. Returns the Data
        indication for the client, or None.
        """
        allocation = relay.allocation
        if allocation is None or error.type not in _ICMP_TYPES[peer.family]:
            return None
        if allocation.permissions.get(peer.host, 0.0) <= now:
            return None
        self._stats.icmp += 1
        indication = Message(Method.DATA, MessageClass.INDICATION, self._state.rng.randbytes(12))
        return indication.add(att.XOR_PEER_ADDRESS, peer).add(att.ICMP, error).serialize()

    def spliced(self, allocation: Allocation, size: int, to_peer: bool, now: float) -> float:
        """Count bytes of a TCP connection (RFC 6062); return the seconds to stop reading for, to keep the bandwidth."""
        if to_peer:
            allocation.packets_to_peers += 1
            allocation.bytes_to_peers += size
        else:
            allocation.packets_to_client += 1
            allocation.bytes_to_client += size
        return max((bucket.borrow(size, now) for bucket in allocation.bandwidth), default=0.0)

    def _data_indication(self, data: bytes, peer: tuple[str, int]) -> bytes | None:
        indication = Message(Method.DATA, MessageClass.INDICATION, self._state.rng.randbytes(12))
        indication.add(att.XOR_PEER_ADDRESS, TransportAddress(*peer)).add(att.DATA, data)
        try:
            return indication.serialize()
        except ValueError:  # a datagram of 65,507 bytes does not fit
            return None

    def _pay(self, allocation: Allocation, size: int, now: float) -> bool:
        if take_from_all(allocation.bandwidth, size, now):
            return True
        self._stats.over_bandwidth += 1
        return False


def _is_fragmentation_ours(allocation: Allocation, peer: TransportAddress) -> bool:
    """Whether DONT-FRAGMENT counts: sections 13.1 to 13.3 have it ignored where datagrams are translated."""
    client = allocation.path
    return client.protocol.is_stream or client.remote.family == peer.family == 4
