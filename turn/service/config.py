"""Configuration of the TURN server: frozen, keyword-only, every field with its unit and where the RFC speaks of it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from stun.address import TransportAddress
from turn.access_token import TokenKey
from turn.framing import CHANNEL_MAX, CHANNEL_MAX_RFC_5766
from turn.service.policy import PeerPolicyConfig

__all__ = [
    "RelayHost",
    "RelayLimits",
    "RelayTimes",
    "StreamLimits",
    "TokenConfig",
    "TurnServiceConfig",
    "UnauthenticatedLimits",
]


_MAX_TEXT = 509
"""Bytes of a text on the wire (RFC 8489 section 14.3)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RelayHost:
    """An address of this host that relayed transport addresses are made on."""

    host: str
    """The IP literal to bind."""
    advertise: str | None = None
    """The IP literal to tell clients, where a 1:1 NAT stands before this host; None tells ``host``."""

    def __post_init__(self) -> None:
        bound = ipaddress.ip_address(self.host)
        if self.advertise is not None and ipaddress.ip_address(self.advertise).version != bound.version:
            raise ValueError(f"{self.host} cannot be advertised as {self.advertise}: another family")

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    def advertised(self, address: TransportAddress) -> TransportAddress:
        """Return what clients are told of a relayed address bound here."""
        return address if self.advertise is None else TransportAddress(self.advertise, address.port)


@dataclass(frozen=True, kw_only=True, slots=True)
class RelayTimes:
    """How long things last, in seconds."""

    default_lifetime: float = 600.0
    """An allocation whose client asks for nothing, or for less (RFC 8656 section 7.2: 10 minutes)."""
    max_lifetime: float = 3600.0
    """The most that a client is given (RFC 8656 section 7.2: at most an hour)."""
    permission: float = 300.0
    """A permission (RFC 8656 section 9: exactly 300 s; other values are for tests)."""
    channel: float = 600.0
    """A channel binding (RFC 8656 section 12: 10 minutes)."""
    reservation: float = 30.0
    """A port held for a RESERVATION-TOKEN (RFC 8656 section 7.2: at least 30 s)."""
    peer_connect: float = 30.0
    """How long a Connect may take (RFC 6062 section 5.2: at least 30 s)."""
    peer_bind: float = 30.0
    """How long a peer's connection waits for ConnectionBind (RFC 6062 section 5.2 and 5.3: 30 s)."""

    def __post_init__(self) -> None:
        if not 0 < self.default_lifetime <= self.max_lifetime:
            raise ValueError("the default lifetime is positive and no more than the longest")


@dataclass(frozen=True, kw_only=True, slots=True)
class RelayLimits:
    """How much there may be of what clients can make grow (RFC 8656 sections 5 and 21)."""

    allocations: int = 4096
    """Allocations at a time."""
    allocations_per_user: int = 32
    """Allocations of one user at a time; a port held for a RESERVATION-TOKEN counts as one."""
    allocations_per_source: int = 128
    """Allocations from one IP address (an IPv6 /64 counts as one) at a time, held ports too; both ends of a move
    (RFC 8016) count until it is complete."""
    permissions: int = 128
    """Permissions of one allocation."""
    channels: int = 128
    """Channels of one allocation."""
    reservations: int = 256
    """Ports held for RESERVATION-TOKENs at a time."""
    peer_connections: int = 32
    """TCP connections to peers of one allocation, open, opening and waiting to be bound (RFC 6062)."""
    bytes_per_second: int = 0
    """Relayed bytes a second of one allocation, both ways together; 0 is no limit."""
    user_bytes_per_second: int = 0
    """Relayed bytes a second of all allocations of one user; 0 is no limit."""
    burst_seconds: float = 1.0
    """How much of unused bandwidth may be saved up, in seconds."""
    port_tries: int = 16
    """How many ports are tried before an Allocate fails with 508."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamLimits:
    """Clients over TCP and TLS."""

    connections: int = 4096
    """Connections at a time; more are closed at once."""
    connections_per_source: int = 256
    """Connections at a time from one IP address (one IPv6 /64)."""
    silent: float = 15.0
    """Seconds that a connection without an allocation may stay silent; only whole messages count."""
    max_message: int = 65536 + 4
    """Bytes of the largest message; a longer one closes the connection."""
    max_first_message: int = 4096
    """Bytes of the largest message of a connection that has no allocation yet."""
    write_buffer: int = 256 * 1024
    """Bytes that wait for a client that does not read; relayed data beyond it is dropped."""
    half_closed: float = 240.0
    """Seconds without data after which a TCP connection between a client and its peer is closed when one of the two has
    finished sending (RFC 6062 section 5.4; RFC 7857 section 2.1 has NATs forget such connections after 4 minutes)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnauthenticatedLimits:
    """What somebody gets who has not shown credentials; the source of a UDP request may be forged."""

    excess_rate: float = 2000.0
    """Bytes a second by which what one source is sent over UDP may exceed what it sent us."""
    excess_burst: int = 32 * 1024
    """Bytes of excess that one source may use at once, and has before ``excess_rate`` limits it."""
    failure_rate: float = 10.0
    """Wrong credentials a second that one source may send, over any transport; more get no answer."""
    failure_burst: int = 100
    """Wrong credentials that one source may send before ``failure_rate`` limits it."""
    sources: int = 8192
    """Sources whose rates are kept; the longest idle one makes room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenConfig:
    """Whose access tokens are taken (RFC 7635)."""

    server_name: str
    """THIRD-PARTY-AUTHORIZATION: what the server calls itself to authorization servers (6.1); tokens are tied to it."""
    keys: tuple[TokenKey, ...]
    """The keys shared with authorization servers (4.1); several while one is being replaced."""
    delta: float = 5.0
    """Seconds by which clocks may differ (7: 5)."""

    def __post_init__(self) -> None:
        if not 0 < len(self.server_name) <= 255 or not self.keys or self.delta < 0:
            raise ValueError("tokens need the name of this server (at most 255 characters) and a key")
        if len({key.kid for key in self.keys}) < len(self.keys):
            raise ValueError("two token keys have one name")


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnServiceConfig:
    """Everything that the TURN server does not find out by itself."""

    realm: str
    """REALM, fewer than 128 characters (RFC 8489 section 14.9)."""
    relays: tuple[RelayHost, ...] = ()
    """Where relayed addresses are made; those of one family are used in turn."""
    ports: tuple[int, int] = (49152, 65535)
    """First and last relayed port (RFC 8656 section 7.2: the dynamic range)."""
    times: RelayTimes = field(default_factory=RelayTimes)
    """How long things last."""
    limits: RelayLimits = field(default_factory=RelayLimits)
    """How much there may be."""
    streams: StreamLimits = field(default_factory=StreamLimits)
    """Limits of connections."""
    unauthenticated: UnauthenticatedLimits = field(default_factory=UnauthenticatedLimits)
    """Limits of those without credentials."""
    peers: PeerPolicyConfig = field(default_factory=PeerPolicyConfig)
    """Which peers may be reached."""
    udp: bool = True
    """Whether UDP is relayed (RFC 8656)."""
    tcp: bool = True
    """Whether TCP is relayed (RFC 6062)."""
    mobility: bool = False
    """Whether allocations may move to another client address (RFC 8016)."""
    dont_fragment: bool = True
    """Whether DONT-FRAGMENT can be honoured; without it the attribute is unknown to the server."""
    sha256: bool = True
    """Whether SHA-256 credentials are offered beside MD5 (RFC 8489 section 14.11)."""
    tokens: TokenConfig | None = None
    """Whose access tokens are taken (RFC 7635); None takes none."""
    nonce_lifetime: float = 600.0
    """Seconds for which a nonce is fresh (RFC 8656 section 5: at most an hour)."""
    alternates: tuple[TransportAddress, ...] = ()
    """Where an Allocate is sent on to (300) while this server drains or is full: one address of each family, of which
    that of the request's family comes first (RFC 8489 section 10)."""
    alternate_domain: str | None = None
    """The name in the certificate of ``alternates`` where it is not this server's (RFC 8489 section 10)."""
    rfc5766_channels: bool = True
    """Whether channels 0x5000..0x7FFF may be bound, as clients of RFC 5766 do (RFC 8656 section 12 reserves them)."""
    software: str | None = None
    """SOFTWARE in responses, fewer than 128 characters (RFC 8489 section 14.14); None tells nobody."""

    def __post_init__(self) -> None:
        first, last = self.ports
        if not 1 <= first < last <= 65535:
            raise ValueError(f"{first}..{last} is no range of ports")
        if not 0 < self.nonce_lifetime <= 3600:
            raise ValueError("a nonce lives for an hour at most")
        for name, text in (("realm", self.realm), ("software", self.software)):
            if text is not None and not (0 < len(text) < 128 and len(text.encode()) <= _MAX_TEXT):
                raise ValueError(f"{name} has to have 1 to 127 characters")
        domain = self.alternate_domain
        if domain is not None and not (domain.isascii() and 0 < len(domain) < 256):
            raise ValueError("alternate_domain has to be a host name, in ASCII")

    @property
    def last_channel(self) -> int:
        """The highest channel number that may be bound."""
        return CHANNEL_MAX_RFC_5766 if self.rfc5766_channels else CHANNEL_MAX
