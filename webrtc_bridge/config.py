"""Limits and timings of the bridge; the gateway has its own in :mod:`webrtc_bridge.gateway.config`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ice import IceConfig

__all__ = ["PeerConfig", "RestartConfig", "SctpConfig", "StreamConfig", "WebRtcConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpConfig:
    """One SCTP association over DTLS (RFC 8831, 8832, 9260)."""

    port: int = 5000
    """The SCTP port that our description announces (RFC 8841 section 5)."""
    max_message_size: int = 262144
    """Bytes of one message that we take, as our description announces (RFC 8841 section 6)."""
    receive_window: int = 1024 * 1024
    """Bytes that we hold, unread and unassembled, over all channels; what is free of it is announced to the peer
    (RFC 9260 section 6.2), so that a slow reader slows the sender."""
    window_overrun: int = 16 * 1024
    """Bytes beyond ``receive_window`` that are still taken; further chunks are dropped (RFC 9260 section 6.2)."""
    max_misordered: int = 16384
    """How far ahead of the first missing chunk one is kept, in chunks. The gap blocks of a SACK reach 65535
    (RFC 9260 section 3.3.4)."""
    max_channels: int = 2048
    """Data channels in the table, closing ones included; a peer that opens more breaks the association."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartConfig:
    """ICE restarts of a data-only peer connection (RFC 8445 section 9, RFC 8829 section 5.2.2). Times in seconds."""

    automatic: bool = True
    """Whether a restart that the ICE session asks for is begun, if somebody listens to ``"negotiationneeded"``. How
    often it asks is the session's (``IceConfig.upgrade``: ``max_restarts``, ``restart_after``)."""
    patience: float = 3.0
    """How long the side that answered the first offer waits for the other one to begin, so that offers do not cross."""
    answer_timeout: float = 5.0
    """How long the answer to an offer that restarts may take until the offer is asked for again; the double after
    each."""
    tries: int = 3
    """How often it is asked for, until that restart is given up."""
    max_peer_restarts: int = 8
    """Restarts that the peer may begin at once: each gathers candidates and checks pairs. Further ones are refused,"""
    peer_restart_interval: float = 10.0
    """and one more is allowed after so long."""

    def __post_init__(self) -> None:
        if self.patience < 0 or min(self.answer_timeout, self.peer_restart_interval) <= 0:
            raise ValueError("patience must not be negative, answer_timeout and peer_restart_interval positive")
        if min(self.tries, self.max_peer_restarts) < 1:
            raise ValueError("tries and max_peer_restarts must be positive")


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConfig:
    """One data-only peer connection."""

    ice: IceConfig = field(default_factory=IceConfig)
    """STUN servers and limits of the ICE agent."""
    sctp: SctpConfig = field(default_factory=SctpConfig)
    """Limits of the SCTP association."""
    restart: RestartConfig = field(default_factory=RestartConfig)
    """When ICE is restarted, and how often."""
    connect_timeout: float = 30.0
    """Seconds from the moment both descriptions are known until the association must be up."""
    max_remote_candidates: int = 100
    """Candidates taken from the peer, in its description and trickled, and as many after each ICE restart; further ones
    are dropped and counted (RFC 8445 section 6.1.2.5 has the same number for pairs)."""
    max_description: int = 64 * 1024
    """Characters of a description that is parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """libp2p streams over data channels (libp2p WebRTC specification, "Multiplexing")."""

    max_frame: int = 16384
    """Bytes of one frame that we send, length prefix included; the specification's limit."""
    max_received_frame: int = 256 * 1024 + 16
    """Bytes of one frame that we take; go-libp2p sends up to 256 KiB, js-libp2p never more than 16 KiB."""
    send_buffer: int = 1024 * 1024
    """Bytes of ``bufferedAmount`` above which ``write`` waits."""
    send_buffer_low: int = 256 * 1024
    """Bytes of ``bufferedAmount`` below which a waiting ``write`` goes on."""
    fin_ack_timeout: float = 10.0
    """Seconds to wait for the FIN_ACK of our FIN, and for the peer's FIN after our STOP_SENDING; go-libp2p and
    js-libp2p wait as long."""
    max_streams: int = 1024
    """Streams open at once, both directions together; a peer's further ones are reset."""
    max_unaccepted: int = 256
    """Streams opened by the peer that nobody has accepted yet; further ones are reset."""
    stall_timeout: float = 4.0
    """Seconds that the shared receive window may be shut while the stream that fills it is not read; then that stream
    is reset, so that it does not take the others with it. js-libp2p gives a connection up when a ping takes 5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRtcConfig:
    """The libp2p transport ``/webrtc``."""

    peer: PeerConfig = field(default_factory=PeerConfig)
    """The peer connections it makes."""
    streams: StreamConfig = field(default_factory=StreamConfig)
    """The streams on them."""
    dial_timeout: float = 20.0
    """Seconds for a dial, relayed connection included. js-libp2p's listener gives up after 10."""
    accept_timeout: float = 15.0
    """Seconds for an inbound negotiation, from its first byte."""
    orphan_timeout: float = 5.0
    """Seconds to go on connecting after the signalling stream broke. A reset means that the other side gave up, or that
    the relay cut the connection; in the second case the candidates may have come through."""
    linger: float = 2.0
    """Seconds for our last signalling messages to get out, and for the peer's end of the stream to come after ours."""
    max_inbound: int = 64
    """Inbound negotiations at once; further signalling streams are reset."""
    max_inbound_per_peer: int = 4
    """Inbound negotiations at once with one peer."""
    max_signalling_message: int = 64 * 1024
    """Bytes of one signalling message."""
