"""Configuration of the TURN client: frozen, keyword-only, every field with its unit and where the RFC speaks of it."""

from __future__ import annotations

import base64
import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Self

from stun.config import ResolverConfig, StreamConfig, TransactionConfig
from stun.uri import Scheme, ServerUri

__all__ = [
    "AccessToken",
    "ChannelPolicy",
    "CredentialProvider",
    "Credentials",
    "EvenPort",
    "RedirectPolicy",
    "RelayTransport",
    "TokenProvider",
    "TurnClientConfig",
    "TurnServerConfig",
]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user of a TURN server (RFC 8489 section 9.2)."""

    username: str
    """USERNAME; of REST credentials ``<unix time>:<user>``."""
    password: str = field(repr=False)
    """The password, before OpaqueString."""
    lifetime: float | None = None
    """Seconds from now until the server stops taking them; None when that is not known."""


CredentialProvider = Callable[[], Awaitable[Credentials]]
"""Fetches credentials, at first and again before or when they run out; where it raises it is asked again later."""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What an authorization server hands out for one TURN server (RFC 7635 section 4.1)."""

    kid: str
    """The name of the key that the token was made with; sent as USERNAME."""
    token: bytes = field(repr=False)
    """ACCESS-TOKEN, opaque to us; where it came as text it was Base64."""
    mac_key: bytes = field(repr=False)
    """The key that requests are signed with, 20 bytes; it has to come over TLS."""
    lifetime: float | None = None
    """Seconds from now for which it is good (``expires_in``); None when that is not known."""

    @classmethod
    def from_text(cls, kid: str, mac_key: str, access_token: str, lifetime: float | None = None) -> Self:
        """Return a token of which the parts came as text: both in Base64, of either alphabet, padded or not.

        So a JSON Web Key has its ``k`` (RFC 7518 section 6.4.1), and the W3C's former RTCOAuthCredential has both.

        Raises:
            ValueError: one of them is no Base64, or empty.
        """
        token, key = (_from_base64(text) for text in (access_token, mac_key))
        return cls(kid, token, key, lifetime)


def _from_base64(text: str) -> bytes:
    common = text.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        decoded = base64.b64decode(common + "=" * (-len(common) % 4), validate=True)
    except ValueError as error:
        raise ValueError(f"a key or token is not in Base64: {error}") from None
    if not decoded:
        raise ValueError("a key or token is empty")
    return decoded


TokenProvider = Callable[[str], Awaitable[AccessToken]]
"""Fetches a token for the TURN server of that name, at first and again before it runs out or when it is refused."""


class RelayTransport(enum.IntEnum):
    """What runs between the server and the peers: the IP protocol number of REQUESTED-TRANSPORT."""

    TCP = 6
    """RFC 6062; the way to the server has to be TCP or TLS."""
    UDP = 17
    """RFC 8656."""


class EvenPort(enum.Enum):
    """Whether the relayed port has to be even (RFC 8656 section 18.6)."""

    ANY = enum.auto()
    EVEN = enum.auto()
    EVEN_AND_RESERVE_NEXT = enum.auto()
    """The response then has a RESERVATION-TOKEN for the port above it."""


class ChannelPolicy(enum.Enum):
    """When data to a peer is worth a channel (RFC 8656 section 12), which saves 32 bytes a datagram and parsing."""

    ON_DEMAND = enum.auto()
    """Only where the application asks for one."""
    AFTER_TRAFFIC = enum.auto()
    """Once ``channel_after`` datagrams went to or came from a peer."""
    AT_ONCE = enum.auto()
    """With the first datagram to a peer."""


class RedirectPolicy(enum.Enum):
    """Which ALTERNATE-SERVER responses are followed (RFC 8489 section 10)."""

    NEVER = enum.auto()
    SIGNED = enum.auto()
    """Those that the server has signed with our password, as the RFC has it."""
    ANY = enum.auto()
    """Unsigned ones too, which is what coturn's ``--alternate-server`` sends; whoever can forge a packet on the way to
    the server can then send us elsewhere, so only with TLS, or where that does not matter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnClientConfig:
    """Times and limits of one allocation; the defaults suit everybody but tests."""

    transaction: TransactionConfig = field(default_factory=TransactionConfig)
    """Retransmission and time-outs (RFC 8489 section 6.2)."""
    stream: StreamConfig = field(default_factory=StreamConfig)
    """Limits of TCP and TLS."""
    resolver: ResolverConfig = field(default_factory=ResolverConfig)
    """DNS."""
    max_outstanding: int = 10
    """Requests under way at a time (RFC 8489 section 6.2: 10); more wait."""
    max_waiting: int = 1024
    """Requests that wait for their turn; more fail."""
    max_attempts: int = 8
    """Transactions that one request may take, challenges included."""
    software: str | None = None
    """SOFTWARE in requests (RFC 8489 section 14.14); None leaves it out."""
    fingerprint: bool = False
    """FINGERPRINT in requests (RFC 8489 section 7); a path that carries only TURN needs none."""
    refresh_margin: float = 60.0
    """Seconds before its expiry (at most a quarter of the lifetime) at which an allocation is refreshed (8)."""
    server_error_retries: int = 4
    """How often a Refresh that met a 5xx is sent again (RFC 8489 section 6.3.4: at most 4)."""
    retry_delay: float = 2.0
    """Seconds before that."""
    permission_lifetime: float = 300.0
    """Seconds for which a server holds a permission (9)."""
    permission_margin: float = 60.0
    """Seconds before its expiry at which a permission is refreshed."""
    permission_batch: int = 12
    """XOR-PEER-ADDRESS attributes in one CreatePermission: with SHA-256 that stays under 576 bytes for IPv4."""
    permission_window: float = 30.0
    """Permissions due within this many seconds of one that is refreshed go with it."""
    max_permissions: int = 1024
    """Peers with a permission."""
    channel_lifetime: float = 600.0
    """Seconds for which a server holds a channel binding (12)."""
    channel_margin: float = 60.0
    """Seconds before its expiry at which a used channel is bound again."""
    channel_pause: float = 300.0
    """Seconds after its expiry before a number may go to another peer (12)."""
    channels: ChannelPolicy = ChannelPolicy.AFTER_TRAFFIC
    """When data to a peer is worth a channel."""
    channel_after: int = 6
    """Datagrams to and from a peer before it gets a channel, with AFTER_TRAFFIC."""
    max_channels: int = 1024
    """Channels, those that wait to be used again included; at most 4,096."""
    max_queued: int = 64
    """Datagrams to one peer that wait for its permission; more are dropped, oldest first."""
    max_received: int = 1024
    """Datagrams that wait for the application; more are dropped, newest first."""
    keepalive: float | None = 25.0
    """Seconds without a datagram to the server after which a Binding indication keeps NATs open; None for never.
    Streams need none."""
    connect_pause: float = 10.0
    """Seconds before a peer that could not be connected to may be tried again (RFC 6062 section 4.3)."""
    bind_timeout: float = 30.0
    """Seconds in which a connection of a peer has to be taken; then the server closes it (RFC 6062 section 5.3)."""
    max_attempted: int = 64
    """Connections of peers that wait to be taken (RFC 6062 section 4.4)."""
    credentials_margin: float = 60.0
    """Seconds before credentials run out (at most half their lifetime) at which new ones are fetched."""
    credentials_timeout: float = 30.0
    """Seconds that fetching credentials may take."""
    credentials_retry: float = 5.0
    """Seconds between tries to fetch credentials."""
    max_redirects: int = 4
    """ALTERNATE-SERVER responses to follow for one allocation (RFC 8489 section 10)."""
    redirect_memory: float = 300.0
    """Seconds for which a server that was asked is not asked again because of a redirect (10: 5 minutes)."""
    mismatch_retries: int = 3
    """How many new local ports to try after a 437 (7.4: three)."""
    stream_retry: float = 0.05
    """Seconds before a request that found the connection to the server full of data is offered again (TCP, TLS)."""
    stagger: float = 0.25
    """Seconds between the first tries of two addresses of one server (RFC 8305 section 5)."""
    close_timeout: float = 1.0
    """Seconds that closing waits for the server to confirm that the allocation is deleted."""

    def __post_init__(self) -> None:
        if not 1 <= self.max_channels <= 4096 or self.max_outstanding < 1 or self.permission_batch < 1:
            raise ValueError("a client needs at least one request, peer and channel (and at most 4,096 channels)")
        if self.permission_margin >= self.permission_lifetime or self.channel_margin >= self.channel_lifetime:
            raise ValueError("a margin has to be shorter than the lifetime that it belongs to")


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnServerConfig:
    """One server, who asks it, and for what."""

    url: str
    """``turn:host[:port][?transport=udp|tcp]`` or ``turns:…`` (RFC 7065)."""
    username: str | None = None
    """The user, where it is fixed."""
    password: str | None = field(default=None, repr=False)
    """The user's password."""
    credentials: CredentialProvider | None = None
    """Fetches credentials that expire, instead of ``username`` and ``password``."""
    access_tokens: TokenProvider | AccessToken | None = None
    """Fetches tokens for servers that take them (RFC 7635), or the one that there is; ``username`` and ``password`` are
    for servers that take none."""
    families: tuple[int, ...] = (4,)
    """Address families of the relayed addresses: ``(4,)``, ``(6,)``, or ``(4, 6)`` for one of each (7.1)."""
    transport: RelayTransport = RelayTransport.UDP
    """Between the server and the peers."""
    lifetime: int | None = None
    """Seconds to ask for; None leaves it to the server (600)."""
    dont_fragment: bool = False
    """Whether the server shall set the DF bit on what it relays (18.9); a server that cannot, refuses with 420."""
    even_port: EvenPort = EvenPort.ANY
    """Which relayed port will do."""
    reservation_token: bytes | None = None
    """The token of an allocation with EVEN_AND_RESERVE_NEXT."""
    mobility: bool = False
    """Ask for a ticket with which the allocation moves to a new local address (RFC 8016)."""
    redirects: RedirectPolicy = RedirectPolicy.SIGNED
    """Which redirects to other servers are followed."""
    server_name: str | None = None
    """The name that the certificate has to show, when it is not the URL's host."""
    ssl_context: Any = None
    """An ``ssl.SSLContext``: trust for TLS and DTLS; None takes the system's trust store."""
    client: TurnClientConfig = field(default_factory=TurnClientConfig)
    """Times and limits."""

    def __post_init__(self) -> None:
        if self.uri.scheme not in (Scheme.TURN, Scheme.TURNS):
            raise ValueError(f"{self.url!r} is not a turn: or turns: URI")
        if not isinstance(self.transport, RelayTransport):
            raise ValueError(f"transport {self.transport!r} is no RelayTransport")
        if self.families not in ((4,), (6,), (4, 6)):
            raise ValueError(f"families {self.families!r}: (4,), (6,) or (4, 6)")
        if (self.username is None) != (self.password is None):
            raise ValueError("a user name needs a password and the other way round")
        if self.username is not None and self.credentials is not None:
            raise ValueError("either fixed credentials or a provider")
        if self.access_tokens is not None and self.credentials is not None:
            raise ValueError("either tokens or credentials that expire")
        self._check_attributes()

    def _check_attributes(self) -> None:
        # RFC 8656 section 7.1 and RFC 6062 section 4.1: what must not be in one Allocate.
        plain = self.even_port is EvenPort.ANY and self.reservation_token is None
        if self.transport is RelayTransport.TCP and (self.dont_fragment or not plain):
            raise ValueError("TCP allocations know neither DONT-FRAGMENT nor EVEN-PORT nor RESERVATION-TOKEN")
        if self.reservation_token is not None:
            if len(self.reservation_token) != 8:
                raise ValueError("a reservation token has 8 bytes")
            if self.even_port is not EvenPort.ANY or self.families != (4,):
                raise ValueError("a reservation token decides about the port and the family by itself")
        if self.even_port is EvenPort.EVEN_AND_RESERVE_NEXT and len(self.families) > 1:
            raise ValueError("a port can be reserved for one family only")

    @property
    def uri(self) -> ServerUri:
        """The parsed ``url``.

        Raises:
            StunUriError: it is none; never once the configuration was made.
        """
        return ServerUri.parse(self.url)

    @property
    def fixed_credentials(self) -> Credentials | None:
        """``username`` and ``password``, or None."""
        if self.username is None or self.password is None:
            return None
        return Credentials(self.username, self.password)
