"""An allocation as the server keeps it: relayed addresses, permissions, channels (RFC 8656 sections 3, 7, 9 and 12)."""

from __future__ import annotations

from typing import Any

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from turn.service.quota import TokenBucket
from turn.service.tokens import Grant

__all__ = ["Allocation", "AllocationTable", "Channel", "Door", "Relay"]


class Relay:
    """One relayed transport address of an allocation."""

    __slots__ = ("address", "advertised", "allocation", "expires", "followers", "port", "protocol")

    def __init__(
        self, address: TransportAddress, advertised: TransportAddress, protocol: TransportProtocol, expires: float
    ) -> None:
        self.address = address
        """Where it is bound."""
        self.advertised = advertised
        """What the client was told."""
        self.protocol = protocol
        """UDP, or TCP (RFC 6062)."""
        self.expires = expires
        """Monotonic seconds."""
        self.allocation: Allocation | None = None
        """Its allocation; None once that is gone, and while nothing reaches its client."""
        self.followers: set[tuple[Allocation, int]] | None = None
        """Channels that lead here (whose, and their numbers) and end with this relay; None when there never was one."""
        self.port: Any = None
        """The driver's own handle of the socket; the server does not look at it."""


class Channel:
    """A channel number bound to one peer (section 12)."""

    __slots__ = ("expires", "head", "leads_to", "number", "peer", "relay", "target")

    def __init__(self, number: int, peer: TransportAddress, relay: Relay, expires: float) -> None:
        self.number = number
        self.peer = peer
        self.target: tuple[str, int] = peer
        """Where the peer is reached; not ``peer`` only for our own relayed addresses behind a NAT."""
        self.leads_to: Relay | None = None
        """The relayed address of our own that the peer is, if it is one."""
        self.relay = relay
        """The relayed address of the peer's family."""
        self.expires = expires
        """Monotonic seconds; data flows until then."""
        self.head = number.to_bytes(2, "big")
        """How its messages start."""


class Allocation:
    """What one client (5-tuple) has on the server."""

    __slots__ = (
        "bandwidth",
        "bytes_to_client",
        "bytes_to_peers",
        "channel_of",
        "channels",
        "created",
        "grant",
        "identity",
        "latest_refresh",
        "number",
        "packets_to_client",
        "packets_to_peers",
        "padded",
        "path",
        "peer_connections",
        "pending_path",
        "pending_source",
        "permissions",
        "relays",
        "request_id",
        "response",
        "source",
        "ticket_serial",
        "username",
    )

    def __init__(self, number: int, path: FiveTuple, username: str, identity: str, source: str, now: float) -> None:
        self.number = number
        """Unique as long as the server runs."""
        self.path = path
        """The client's 5-tuple; its remote port is 0 while a mobile client's connection is gone (RFC 8016)."""
        self.padded = path.protocol.is_stream
        """Whether ChannelData to the client is padded to four bytes (section 12.5)."""
        self.username = username
        """As the client signed in."""
        self.identity = identity
        """Who the user is, whatever name credentials of limited time give it."""
        self.source = source
        """The address that its quota is counted for."""
        self.grant: Grant | None = None
        """The access token that it lives on (RFC 7635), if it does."""
        self.created = now
        self.relays: dict[int, Relay] = {}
        """By family, 4 or 6."""
        self.permissions: dict[str, float] = {}
        """When the permission for an IP address ends."""
        self.channels: dict[int, Channel] = {}
        """By number."""
        self.channel_of: dict[tuple[str, int], Channel] = {}
        """By peer."""
        self.bandwidth: tuple[TokenBucket, ...] = ()
        """What relayed bytes are paid from; empty without a limit."""
        self.request_id = b""
        """Transaction id of the Allocate that made it."""
        self.response = b""
        """The answer to that, for retransmissions."""
        self.peer_connections: set[int] = set()
        """Numbers of the connections to its peers (RFC 6062)."""
        self.ticket_serial = 0
        """Of the newest mobility ticket; 0 is not mobile (RFC 8016)."""
        self.pending_path: FiveTuple | None = None
        """Where a mobile client is moving to; both paths are served until it sends data on the new one."""
        self.pending_source: str | None = None
        """The address that is counted too while the client moves there; None when it is no other."""
        self.latest_refresh: tuple[bytes, bytes] | None = None
        """Transaction id and answer of the Refresh that moves it, for retransmissions."""
        self.packets_to_peers = 0
        self.bytes_to_peers = 0
        self.packets_to_client = 0
        self.bytes_to_client = 0

    def repeats(self, transaction_id: bytes, identity: str) -> bool:
        """Whether a request is the Allocate that made it once more, from its own user."""
        return self.request_id == transaction_id and self.identity == identity

    @property
    def is_tcp(self) -> bool:
        """Whether it relays TCP (RFC 6062)."""
        return any(relay.protocol is TransportProtocol.TCP for relay in self.relays.values())

    @property
    def is_detached(self) -> bool:
        """Whether its client's connection is gone, and nothing reaches it until it comes back (RFC 8016)."""
        return self.path.remote.port == 0

    def wake_at(self) -> float:
        """Return when something of it expires next."""
        times = [relay.expires for relay in self.relays.values()]
        times += self.permissions.values()
        times += [channel.expires for channel in self.channels.values()]
        return min(times)

    def expire(self, now: float) -> None:
        """Forget permissions and channels that have ended."""
        if self.permissions:
            ended = [host for host, expires in self.permissions.items() if expires <= now]
            for host in ended:
                del self.permissions[host]
        ended_channels = [channel for channel in self.channels.values() if channel.expires <= now]
        for channel in ended_channels:
            self.forget_channel(channel)

    def lead_channel(self, channel: Channel, relay: Relay | None) -> None:
        """Tell that a channel's peer is a relayed address of our own, or that it is none."""
        if channel.leads_to is not None and channel.leads_to.followers:
            channel.leads_to.followers.discard((self, channel.number))
        channel.leads_to = relay
        if relay is not None:
            relay.followers = relay.followers or set()
            relay.followers.add((self, channel.number))

    def forget_channel(self, channel: Channel) -> None:
        """Remove a channel from both tables."""
        self.lead_channel(channel, None)
        self.channels.pop(channel.number, None)
        self.channel_of.pop(channel.peer, None)


Door = dict[tuple[str, int], Allocation]
"""The allocations behind one listening address, by the client's ``(host, port)``."""


class AllocationTable:
    """All allocations, by 5-tuple and by number."""

    def __init__(self) -> None:
        self.by_number: dict[int, Allocation] = {}
        self.by_relay: dict[tuple[TransportAddress, TransportProtocol], Relay] = {}
        """By relayed address, as it is bound."""
        self.advertised: dict[tuple[TransportAddress, TransportProtocol], Relay] = {}
        """By relayed address, as clients know it."""
        self._doors: dict[tuple[TransportAddress, TransportProtocol], Door] = {}
        self._next = 0

    def __len__(self) -> int:
        return len(self.by_number)

    def door(self, local: TransportAddress, protocol: TransportProtocol) -> Door:
        """Return the live table of one listening address, which a driver may keep for its fast path."""
        return self._doors.setdefault((local, protocol), {})

    def get(self, path: FiveTuple) -> Allocation | None:
        """Return the allocation of a 5-tuple, or None."""
        door = self._doors.get((path.local, path.protocol))
        return door.get(path.remote) if door is not None else None

    def new_number(self) -> int:
        """Return a number that no other allocation has had."""
        self._next += 1
        return self._next

    def add(self, allocation: Allocation) -> None:
        """Put in an allocation under its path."""
        self.by_number[allocation.number] = allocation
        for relay in allocation.relays.values():
            self.by_relay[relay.address, relay.protocol] = relay
            self.advertised[relay.advertised, relay.protocol] = relay
        self.door(allocation.path.local, allocation.path.protocol)[allocation.path.remote] = allocation

    def add_path(self, allocation: Allocation, path: FiveTuple) -> None:
        """Have another path lead to an allocation too."""
        self.door(path.local, path.protocol)[path.remote] = allocation

    def remove_path(self, path: FiveTuple) -> None:
        """Forget a path; harmless when it is not there."""
        self.door(path.local, path.protocol).pop(path.remote, None)

    def remove_relay(self, relay: Relay) -> None:
        """Take out one relayed address; what arrives there goes nowhere."""
        self.by_relay.pop((relay.address, relay.protocol), None)
        self.advertised.pop((relay.advertised, relay.protocol), None)
        relay.allocation = None
        for follower, number in list(relay.followers or ()):
            follower.forget_channel(follower.channels[number])

    def remove(self, allocation: Allocation) -> None:
        """Take out an allocation, its relayed addresses and its paths."""
        del self.by_number[allocation.number]
        for channel in allocation.channels.values():
            allocation.lead_channel(channel, None)
        for relay in allocation.relays.values():
            self.remove_relay(relay)
        self.remove_path(allocation.path)
        if allocation.pending_path is not None:
            self.remove_path(allocation.pending_path)
