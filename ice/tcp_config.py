"""The settings of ICE over TCP (RFC 6544)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ice.candidate import TcpType

__all__ = ["TcpConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TcpConfig:
    """What is offered over TCP, and the limits there. Times are in seconds, sizes in items unless a field says so."""

    candidates: AbstractSet[TcpType] = frozenset(TcpType)
    """The kinds of TCP candidates that we have (RFC 6544 section 4.1); none of them is no TCP at all.

    Active and passive ones are what peers connect by where UDP is blocked. Simultaneous-open ones are for two peers
    behind NATs, so a session that knows no STUN server, and with it no address outside of its NAT, makes none."""
    reflexive: bool = True
    """Whether STUN servers are asked over TCP, too, from the ports that we listen on (section 5.2)."""
    head_start: float = 0.2
    """How long UDP pairs are checked alone before the first TCP connection is opened."""
    open_timeout: float = 10.0
    """How long an attempt to open a connection may take before it has failed."""
    check_timeout: float = 15.0
    """How long a check over an open connection waits for its answer. It is sent once: TCP repeats what is lost (RFC
    8489 section 6.2.2, where the default is 39.5 s)."""

    max_connecting: int = 5
    """The most connections being opened to one address of the peer at a time (section 12)."""
    max_connections: int = 32
    """The most connections of one session, those being opened included."""
    max_incoming: int = 16
    """The most accepted connections on which no check has authenticated yet; one more is closed at once."""
    incoming_timeout: float = 10.0
    """How long an accepted connection may take until a check on it authenticates."""
    accept_pause: float = 1.0
    """For how long no connection is accepted after the system had no descriptor or memory for one."""
    unused_grace: float = 3.0
    """How long the other connections stay open after a pair was selected (section 8; RFC 8445 section 8.3.1)."""

    simultaneous_window: float = 10.0
    """How long a simultaneous open is tried again when it is refused: a NAT that has not seen its own host open
    answers the other's SYN with RST or ICMP (section 7.1; RFC 5382 REQ-4 forbids it for 6 s)."""
    retry_least: float = 0.08
    """The least pause between two attempts of a simultaneous open."""
    retry_most: float = 0.24
    """The longest one. The pause is random between the two, so that sooner or later two SYNs cross on their way."""
    opener_ttl: int | None = None
    """The IP time to live of every other SYN of a simultaneous open, the first among them, or None for ordinary ones
    only. One that ends between the two NATs opens ours and does not provoke the peer's; how far that is only the
    application can know."""
    opener_timeout: float = 0.3
    """How long an attempt with ``opener_ttl`` is left alone before an ordinary one follows."""
    redial_first: float = 0.1
    """When the selected connection is lost: the pause after the first attempt to open it again that fails, doubled
    with each further one (section 11.1)."""
    redial_most: float = 4.0
    """The longest of these pauses; consent ends the attempts."""

    max_write_buffer: int = 512 * 1024
    """Bytes that may wait for a peer that does not read. What does not fit is dropped as a datagram would be, and
    counted; checks are exempt up to twice as much, because consent hangs on them."""
    max_packet: int = 0xFFFF
    """Bytes of the largest packet to take; a longer frame closes the connection (RFC 4571 section 2)."""

    def __post_init__(self) -> None:
        if min(self.max_connecting, self.max_connections, self.max_incoming, self.max_packet) < 1:
            raise ValueError("limits of connections and packets must be positive")
        if self.max_packet > 0xFFFF:
            raise ValueError("a frame has at most 65,535 bytes (RFC 4571 section 2)")
        timeouts = (self.open_timeout, self.check_timeout, self.incoming_timeout, self.opener_timeout)
        if min(*timeouts, self.accept_pause) <= 0:
            raise ValueError("timeouts must be positive")
        if not 0 < self.retry_least <= self.retry_most or not 0 < self.redial_first <= self.redial_most:
            raise ValueError("pauses between attempts must be positive, the least first")
        if min(self.head_start, self.unused_grace, self.simultaneous_window, self.max_write_buffer) < 0:
            raise ValueError("times and sizes must not be negative")
        if self.opener_ttl is not None and not 1 <= self.opener_ttl <= 255:
            raise ValueError("opener_ttl is 1..255")
