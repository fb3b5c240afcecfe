"""Configuration of this floor: frozen, keyword-only, every field with its unit and where the RFC speaks of it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = [
    "BehaviourClientConfig",
    "BehaviourServerConfig",
    "BindingClientConfig",
    "BindingServerConfig",
    "DtlsConfig",
    "ListenerConfig",
    "ResolverConfig",
    "StreamConfig",
    "TransactionConfig",
    "UdpConfig",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class TransactionConfig:
    """How long and how often a client asks (RFC 8489 section 6.2)."""

    initial_rto: float = 0.5
    """Seconds before the first retransmission over UDP when nothing is known of the path (6.2.1: at least 0.5)."""
    sends: int = 7
    """Rc, how often a request is sent over UDP in all (6.2.1)."""
    last_wait: float = 16.0
    """Rm, how many initial RTOs to wait after the last send over UDP (6.2.1)."""
    stream_timeout: float = 39.5
    """Ti, seconds to wait for a response over TCP, TLS (6.2.2)."""
    max_outstanding: int = 256
    """How many transactions one table holds; more raise, because it is the caller who starts them."""
    rtt_cache_size: int = 64
    """How many server addresses a client remembers the RTO of (6.2.1)."""
    rtt_cache_lifetime: float = 600.0
    """Seconds after which an idle RTO is forgotten (6.2.1: 10 minutes)."""

    def __post_init__(self) -> None:
        if self.initial_rto <= 0 or self.sends < 1 or self.last_wait <= 0 or self.stream_timeout <= 0:
            raise ValueError("a transaction needs positive times and at least one send")


@dataclass(frozen=True, kw_only=True, slots=True)
class OffloadConfig:
    """When the kernel sends and receives several datagrams at a time; only Linux does."""

    enabled: bool = True
    """Whether to use it where there is it."""
    max_segments: int = 64
    """The most datagrams in one call (the kernel's UDP_MAX_SEGMENTS)."""
    crowd_begins_at: int = 16
    """How many datagrams at one wake-up turn joint reading on."""
    crowd_ends_after: int = 64
    """How many datagrams that came alone in succession turn it off."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UdpConfig:
    """How real UDP sockets are opened and read."""

    receive_buffer: int = 4 * 1024 * 1024
    """SO_RCVBUF in bytes; the kernel caps it (net.core.rmem_max)."""
    send_buffer: int = 4 * 1024 * 1024
    """SO_SNDBUF in bytes; the kernel caps it (net.core.wmem_max)."""
    batch: int = 64
    """How many datagrams one wake-up reads before the loop's other work has its turn."""
    max_datagram: int = 65535
    """Bytes that one read takes; a longer datagram is cut by the kernel."""
    offload: OffloadConfig = field(default_factory=OffloadConfig)
    """Many datagrams in one system call."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamConfig:
    """Limits of STUN over TCP and TLS (RFC 8489 section 6.2.2)."""

    max_message: int = 20 + 65532
    """Bytes of the largest message or frame to take; a longer one closes the connection."""
    max_write_buffer: int = 256 * 1024
    """Bytes that may wait for a peer that does not read; more closes the connection."""
    connect_timeout: float = 15.0
    """Seconds for a connection to open."""
    close_timeout: float = 2.0
    """Seconds that an end of TLS may take."""
    linger: float = 30.0
    """Seconds that a closed TCP connection has to send what waits; a peer that does not read loses it."""
    backlog: int = 100
    """Connections that may wait to be accepted."""
    accept_pause: float = 1.0
    """Seconds for which a TLS listener accepts nothing after the system had no descriptor or memory for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListenerConfig:
    """Limits of a TLS or DTLS listener, which spends work on every handshake (RFC 8489 section 16.1)."""

    max_connections: int = 4096
    """Connections at a time, those in their handshake included; more are closed at once."""
    max_connections_per_source: int = 128
    """The same for one IP address (an IPv6 /64 counts as one)."""
    max_handshakes: int = 256
    """Handshakes at a time."""
    handshake_timeout: float = 10.0
    """Seconds for a handshake."""
    idle_timeout: float = 900.0
    """Seconds without a byte from the client after which a connection is closed; more than a TURN allocation lasts
    without a refresh (RFC 8656 section 7.2: 10 minutes)."""
    hello_rate: float = 20.0
    """DTLS handshake datagrams a second that one IP address may send outside of a session, once ``hello_burst`` is
    used up: the source of a datagram may be forged."""
    hello_burst: int = 100
    """DTLS handshake datagrams of one IP address before ``hello_rate`` limits them."""
    max_sources: int = 8192
    """IP addresses whose rate is kept; as :attr:`BindingServerConfig.max_sources`."""

    def __post_init__(self) -> None:
        if min(self.max_connections, self.max_connections_per_source, self.max_handshakes, self.max_sources) < 1:
            raise ValueError("a listener needs room for a connection")
        if min(self.handshake_timeout, self.idle_timeout, self.hello_rate, self.hello_burst) <= 0:
            raise ValueError("times and rates have to be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class DtlsConfig:
    """How DTLS runs over UDP (RFC 6347, RFC 7350)."""

    handshake_timeout: float = 15.0
    """Seconds for the client's handshake, retransmissions included."""
    mtu: int = 1200
    """Bytes of the largest UDP payload that a handshake makes (RFC 8489 section 6.1: unknown path MTUs)."""
    max_datagram: int = 16384
    """Bytes of application data in one record (RFC 6347 section 4.1: 2^14)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BindingServerConfig:
    """What the Binding server answers and to how many (RFC 8489 sections 6.3.1, 11 and 12)."""

    software: str | None = None
    """SOFTWARE in responses (14.14); None, as by default, tells nobody and keeps responses short."""
    fingerprint: bool = True
    """Whether a response to a request with FINGERPRINT has one too (7)."""
    classic: bool = True
    """Whether RFC 3489 clients are answered, with MAPPED-ADDRESS (11)."""
    max_amplification: float = 2.0
    """A UDP response is dropped when it is longer than this many times the request and than ``free_response``:
    the source address of a UDP request may be forged."""
    free_response: int = 64
    """Bytes of a UDP response that are always allowed; the shortest request (20 bytes) has a response of 44."""
    rate: float = 200.0
    """Responses a second to one IP address (an IPv6 /64 counts as one) once ``burst`` is used up."""
    burst: int = 400
    """Responses to one IP address before ``rate`` limits them."""
    max_sources: int = 8192
    """IP addresses whose rate is kept until they have their whole burst again; when none of a full table has, all
    others count as one address."""
    max_connections: int = 1024
    """TCP connections at a time; more are closed at once."""
    max_connections_per_source: int = 32
    """TCP connections at a time from one IP address."""
    idle_timeout: float = 60.0
    """Seconds after which a silent TCP connection is closed."""
    port_tries: int = 20
    """How often a driver that may pick a port looks for one that is free for UDP and TCP on all its addresses."""
    max_message: int = 2048
    """Bytes of the largest request over TCP; a longer one closes the connection."""

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.burst < 1 or self.max_sources < 1 or self.idle_timeout <= 0:
            raise ValueError("rates, tables and timeouts have to be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class BindingClientConfig:
    """How a Binding client asks (RFC 8489 sections 6 and 12)."""

    transaction: TransactionConfig = field(default_factory=TransactionConfig)
    """Retransmission and timeouts."""
    software: str | None = None
    """SOFTWARE in requests (14.14); None leaves it out, as section 16.1.2 lets a configuration choose."""
    fingerprint: bool = True
    """FINGERPRINT in requests (7); servers have to take both."""
    stagger: float = 0.25
    """Seconds between the first tries of two addresses of one server (RFC 8305 section 5)."""
    max_attempts: int = 8
    """How many transactions one question may take, challenges included (9.2.5)."""
    max_message: int = 8192
    """Bytes of the largest response over TCP; a longer one closes the connection."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourServerConfig:
    """What a server answers that also serves NAT behaviour discovery (RFC 5780 sections 6 and 7)."""

    response_port: bool = True
    """Whether RESPONSE-PORT is understood (7.5); else it has 420."""
    response_port_rate: float = 5.0
    """Responses a second to ports of one IP address other than the one that asked, once ``response_port_burst`` is
    used up: they are a reflection (10)."""
    response_port_burst: int = 50
    """Such responses before ``response_port_rate`` limits them."""
    max_padding: int = 1500
    """Bytes of PADDING in a response, which never has more than its request (7.6: the MTU of the interface); at most
    64,000."""
    max_sources: int = 4096
    """IP addresses whose rate is kept; as :attr:`BindingServerConfig.max_sources`."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_padding <= 64_000:
            raise ValueError("a response with its padding has to fit an IP datagram")
        if self.response_port_rate <= 0 or self.response_port_burst < 1 or self.max_sources < 1:
            raise ValueError("rates and tables have to be positive")


@dataclass(frozen=True, kw_only=True, slots=True)
class BehaviourClientConfig:
    """How a NAT is examined (RFC 5780 section 4)."""

    transaction: TransactionConfig = field(
        default_factory=lambda: TransactionConfig(initial_rto=0.5, sends=4, last_wait=3.0)
    )
    """Of requests that are expected to be answered: 5 s until one counts as unanswered."""
    spacing: float = 0.1
    """Seconds between the first sends of two transactions (4.1: at most ten a second)."""
    ports: int = 4
    """Fresh local ports that the allocation test uses, each for two destinations when there are two."""
    padding: int = 1500
    """Bytes of PADDING that make a datagram too long for one frame (3.5, 7.6)."""
    lifetime_first: float = 15.0
    """Seconds of the shortest silence that the lifetime test tries."""
    lifetime_limit: float = 600.0
    """Seconds of the longest one."""
    lifetime_precision: float = 5.0
    """Seconds between the longest silence survived and the shortest one not, at which the test ends."""
    lifetime_probes: int = 8
    """How many silences are tried at a time, each with ports of its own (4.6)."""
    software: str | None = None
    """SOFTWARE in requests; None leaves it out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolverConfig:
    """How a server's name is looked up (RFC 8489 section 8)."""

    srv_timeout: float = 5.0
    """Seconds for the SRV query."""
    max_targets: int = 8
    """How many SRV targets are followed; a zone may list thousands."""
