"""Limits and timings of the host, its services and the relay."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from signalling.libp2p.config import UpgradeConfig

__all__ = ["CircuitConfig", "HostConfig", "IdentifyConfig", "PingConfig", "RelayConfig", "SignallingConfig"]

KIB = 1024
MINUTE = 60.0
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifyConfig:
    """Identify and identify push (libp2p identify specification; the numbers are those of go-libp2p)."""

    protocol_version: str = "ipfs/0.1.0"
    """Told to peers in ``protocolVersion``."""
    agent_version: str = "lastresort/0.1.0"
    """Told to peers in ``agentVersion``."""
    timeout: float = 5.0
    """Seconds for one exchange."""
    max_message: int = 8 * KIB
    """Bytes of one received message."""
    max_own_message: int = 4 * KIB
    """Bytes of one sent message; more is split into parts, because older rust-libp2p takes no longer ones."""
    max_parts: int = 10
    """Messages on one stream that are merged; further ones are not read."""
    max_protocols: int = 1024
    """Protocols of one peer that are kept."""
    max_addresses: int = 100
    """Listen addresses of one peer that are kept."""
    max_concurrent_pushes: int = 32
    """Pushes that we send at the same time."""
    push_delay: float = 0.05
    """Seconds to collect changes of our own addresses and protocols before they are pushed."""
    observation_quorum: int = 4
    """Observers in different networks that must report an address before it is believed (as in go-libp2p)."""
    max_observed_addresses: int = 64
    """Reported addresses that are counted at the same time; the longest unconfirmed one makes room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PingConfig:
    """Ping (libp2p ping specification)."""

    timeout: float = 10.0
    """Seconds to wait for one echo."""
    idle_timeout: float = 60.0
    """Seconds of silence after which the answering side resets the stream."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitConfig:
    """The client side of circuit relay v2: reserving, dialling through a relay, accepting from one."""

    max_message: int = 4 * KIB
    """Bytes of one hop or stop message (as go-libp2p and py-libp2p)."""
    reserve_timeout: float = 10.0
    """Seconds for one RESERVE exchange."""
    connect_timeout: float = 30.0
    """Seconds from CONNECT to the relay's answer; the relay runs its stop handshake meanwhile."""
    accept_timeout: float = 10.0
    """Seconds for the stop handshake on the accepting side."""
    refresh_margin: float = 5 * MINUTE
    """A reservation is refreshed this many seconds before it expires, or half way when it lives shorter."""
    min_refresh_interval: float = 1.0
    """Seconds between two RESERVE requests at least, whatever expiry the relay tells."""
    retry_min: float = 1.0
    """Seconds before the first try to regain a lost reservation; doubles with each failure."""
    retry_max: float = 60.0
    """Seconds between two tries at most."""
    max_relay_addresses: int = 16
    """Addresses of a reservation that are advertised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayConfig:
    """The circuit relay v2 service: who may use it, for how long, for how much.

    The defaults are for a relay on the open Internet, with go-libp2p's numbers. A limit of 0 means none for
    ``circuit_duration`` and ``circuit_data``.
    """

    reservation_ttl: float = HOUR
    """Seconds that a reservation lasts unless it is refreshed."""
    max_reservations: int = 128
    """Reservations in all."""
    max_reservations_per_network: int = 8
    """Reservations of clients from one network: an IPv4 address or an IPv6 /56."""
    max_circuits: int = 1024
    """Circuits in all."""
    max_circuits_per_peer: int = 16
    """Circuits that one peer takes part in, as source or as target."""
    max_circuits_per_network: int = 64
    """Circuits opened by sources from one network."""
    circuit_duration: int = 120
    """Seconds after which a circuit is reset; told to both ends in ``Limit.duration``."""
    circuit_data: int = 128 * KIB
    """Bytes in each direction after which a circuit is reset; told to both ends in ``Limit.data``."""
    peer_request_burst: int = 30
    """RESERVE and CONNECT requests that one peer may make at once (rust-libp2p's token bucket)."""
    peer_request_interval: float = 2 * MINUTE
    """Seconds in which one peer regains one request."""
    network_request_burst: int = 60
    """RESERVE and CONNECT requests that one network may make at once."""
    network_request_interval: float = MINUTE
    """Seconds in which one network regains one request."""
    max_tracked_clients: int = 4096
    """Peers and networks whose request budget is remembered; the one that rested longest is forgotten first."""
    max_message: int = 4 * KIB
    """Bytes of one hop or stop message."""
    max_addresses: int = 16
    """Addresses told to a client in its reservation."""
    hop_timeout: float = 60.0
    """Seconds for a client to state its request."""
    stop_timeout: float = 30.0
    """Seconds for the target to accept a circuit."""
    buffer: int = 64 * KIB
    """Bytes read ahead for each direction of a circuit: a slow reader holds the sender back."""
    half_closed_timeout: float = 2 * MINUTE
    """Seconds without a byte after which a circuit that is closed in one direction is closed altogether."""
    sweep_interval: float = MINUTE
    """Seconds between two sweeps of expired reservations."""

    @classmethod
    def private(cls) -> RelayConfig:
        """A relay for one's own peers (a demo, a LAN, a test): many clients behind one address, generous circuits."""
        return cls(
            max_reservations=1024,
            max_reservations_per_network=1024,
            max_circuits_per_peer=256,
            max_circuits_per_network=1024,
            circuit_duration=int(HOUR),
            circuit_data=64 * KIB * KIB,
            peer_request_burst=1000,
            peer_request_interval=0.1,
            network_request_burst=10_000,
            network_request_interval=0.01,
        )

    @classmethod
    def unlimited(cls) -> RelayConfig:
        """:meth:`private`, and circuits without limits: both ends see an ordinary, unlimited connection."""
        return replace(cls.private(), circuit_duration=0, circuit_data=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignallingConfig:
    """Limits of one ``/webrtc-signaling/0.0.1`` stream."""

    max_message: int = 64 * KIB
    """Bytes of one message: an SDP with many candidates stays far below."""
    max_candidates: int = 256
    """Candidates taken from the peer; further ones are dropped and counted."""
    max_early_candidates: int = 64
    """Candidates held that arrived before the description they belong to; further ones are dropped and counted."""
    max_ignored: int = 64
    """Messages of unknown types and unreadable candidates that are passed over before the stream counts as broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """The host: how many connections, streams and dials, and how long each may take."""

    upgrade: UpgradeConfig = field(default_factory=UpgradeConfig)
    """Security and muxer of byte-stream transports."""
    identify: IdentifyConfig = field(default_factory=IdentifyConfig)
    """Identify and push."""
    ping: PingConfig = field(default_factory=PingConfig)
    """Ping."""
    circuit: CircuitConfig = field(default_factory=CircuitConfig)
    """Reserving at relays and connecting through them."""
    max_connections: int = 512
    """Connections in all; a further inbound one is closed, a further dial fails."""
    max_connections_per_peer: int = 16
    """Connections to one peer; further ones are closed."""
    max_pending_inbound: int = 64
    """Inbound connections of one listener that are not secured yet; further ones are closed unread."""
    max_pending_dials: int = 64
    """Dials under way; further ones fail at once."""
    max_parallel_addresses: int = 8
    """Addresses of one peer that are dialled at the same time."""
    dial_stagger: float = 0.25
    """Seconds between the starts of two addresses of one peer (RFC 8305 section 5)."""
    dial_timeout: float = 15.0
    """Seconds for one address: connecting, securing, multiplexing."""
    max_inbound_streams: int = 1024
    """Inbound streams of one connection that are served at the same time; further ones are reset."""
    max_inbound_streams_per_protocol: int = 256
    """Inbound streams of one protocol and connection that are served at the same time; further ones are reset."""
    max_negotiating_streams: int = 128
    """Inbound streams of one connection that have not agreed on a protocol; further ones are reset."""
    max_known_peers: int = 1024
    """Peers whose addresses are remembered; the one used longest ago is forgotten first."""
    max_known_addresses: int = 32
    """Addresses remembered of one peer."""
    close_timeout: float = 2.0
    """Seconds for connections to say good-bye when the host closes."""
    max_websocket_message: int = 1024 * KIB
    """Bytes of one WebSocket message that we take."""
