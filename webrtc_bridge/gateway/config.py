"""Limits and timings of the gateway."""

from __future__ import annotations

from dataclasses import dataclass, field

from signalling.libp2p.host_config import HostConfig, SignallingConfig

__all__ = ["GatewayConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """The gateway and what one tab may do. Times are in seconds."""

    origins: tuple[str, ...] = ()
    """Origins whose pages may connect, such as ``"https://example.org"``. Empty means the gateway's own origin, and
    that only under a loopback name or an IP address: a foreign name that resolves here (DNS rebinding) is refused."""
    bind_host: str = "127.0.0.1"
    """Where :func:`~webrtc_bridge.gateway.server.serve` listens."""
    ice_servers: tuple[str, ...] = ()
    """``stun:`` URLs that pages are told to use (RFC 7064)."""
    host: HostConfig = field(default_factory=HostConfig)
    """The guest hosts."""
    signalling: SignallingConfig = field(default_factory=SignallingConfig)
    """The signalling streams."""
    max_tabs: int = 64
    """WebSockets at once; further ones are answered 503."""
    max_message: int = 64 * 1024
    """Bytes of one WebSocket message; a longer one ends the tab."""
    max_sdp: int = 32 * 1024
    """Characters of a description."""
    max_sessions: int = 32
    """Signalling sessions of one tab at once, both directions together."""
    max_sessions_per_peer: int = 8
    """Signalling sessions that one peer may open to a tab, so that others still get through."""
    max_queued: int = 512
    """Messages waiting for a page that does not read; one more ends the tab. What peers say waits before half of it."""
    rate: float = 50.0
    """Messages per second that a page may go on sending."""
    burst: int = 200
    """Messages that a page may send at once before :attr:`rate` counts; beyond that the tab ends."""
    max_errors: int = 20
    """Messages that cannot be used before the tab ends."""
    hello_timeout: float = 10.0
    """For a page to say hello."""
    join_timeout: float = 15.0
    """For a guest to get its reservation at the relay."""
    heartbeat: float = 15.0
    """Between pings to a page; one that is not answered in half that time ends the tab (a half-open socket)."""
    session_timeout: float = 60.0
    """For one signalling session, from its first message to its end."""
    linger: float = 2.0
    """For the last signalling messages to get out, and for the peer's end of the stream to come after ours."""
    send_timeout: float = 10.0
    """For one message to be taken by a page's socket."""
