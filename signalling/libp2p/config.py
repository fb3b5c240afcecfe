"""Limits and timings of the protocol machines."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MultistreamConfig", "NoiseConfig", "UpgradeConfig", "YamuxConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultistreamConfig:
    """Limits of one multistream-select negotiation."""

    max_token: int = 1024
    """Bytes of one token, its newline counted; a longer announcement ends the negotiation (as go-libp2p does)."""
    max_proposals: int = 32
    """Proposals, ``ls`` included, that a listener answers before it gives up."""
    timeout: float = 10.0
    """Seconds for the whole negotiation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseConfig:
    """The Noise handshake (libp2p noise specification)."""

    prologue: bytes = b""
    """Bound into the handshake hash; empty except for webrtc-direct."""
    stream_muxers: tuple[str, ...] = ("/yamux/1.0.0",)
    """Offered in ``NoiseExtensions.stream_muxers``, preferred first; empty leaves the muxer to multistream-select."""
    max_handshake_payload: int = 16384
    """Bytes of one handshake message; an RSA-4096 identity with many extensions needs less than 2 KiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class YamuxConfig:
    """Limits of one yamux session (yamux specification)."""

    initial_window: int = 256 * 1024
    """Bytes that each side may send on a new stream before it gets credit; fixed by the specification."""
    max_window: int = 1024 * 1024
    """Bytes of unread data that we are ready to hold for one stream. The window starts at ``initial_window`` and is
    raised to this once the reader has consumed one initial window, so idle streams stay cheap."""
    max_session_buffer: int = 32 * 1024 * 1024
    """Bytes of unread data over all streams of a session above which windows are no longer raised."""
    max_streams: int = 1024
    """Streams, both directions together, that may be open at once; a peer's further ones are reset."""
    max_unaccepted: int = 256
    """Streams opened by the peer that the application has not yet accepted; further ones are reset."""
    max_unacknowledged: int = 256
    """Streams opened by us that the peer has not acknowledged; opening another one waits."""
    ack_delay: float = 0.05
    """Seconds that the acknowledgement of a stream waits for data to ride on (the specification allows any)."""
    max_frame: int = 65519 - 12
    """Payload bytes of one data frame that we send, so that header and payload fill one noise message."""
    send_buffer: int = 256 * 1024
    """Bytes waiting for the connection above which ``write`` waits."""
    keepalive: float = 30.0
    """Seconds of silence after which the session is probed with a ping."""
    keepalive_timeout: float = 20.0
    """Seconds after which an unanswered ping ends the session."""
    max_pending_answers: int = 4096
    """Answers (pongs, refusals) that wait for the connection. A peer that provokes more and reads none is cut off."""
    linger: float = 60.0
    """Seconds that a stream which we closed both ways waits for the peer to close it too; then it is reset."""
    close_timeout: float = 5.0
    """Seconds that a closing session waits for the connection to take what is queued."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeConfig:
    """How a byte stream becomes a secured, multiplexed connection."""

    multistream: MultistreamConfig = MultistreamConfig()
    """Limits of the two negotiations (security, muxer)."""
    noise: NoiseConfig = NoiseConfig()
    """The security handshake."""
    yamux: YamuxConfig = YamuxConfig()
    """The muxer."""
    timeout: float = 10.0
    """Seconds for the whole upgrade."""
