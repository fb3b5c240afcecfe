"""The limits of a mux: one port of each kind that many sessions share."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MuxConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class MuxConfig:
    """What strangers, peers and sessions can fill. Times are in seconds, sizes in items unless said otherwise."""

    max_sessions: int = 16384
    """The most sessions at a time; one more is refused with an error to its owner."""
    max_ufrags: int = 4
    """The most user name fragments of one session at a time, those of ICE restarts included (RFC 8445 section 9)."""
    max_addresses: int = 64
    """The most addresses of peers that one session is reached from at one port; the longest silent one makes room."""
    max_transactions: int = 256
    """The most requests of one session whose answers are still awaited; the oldest makes room."""
    transaction_lifetime: float = 40.0
    """How long an answer is awaited after its request was last sent (RFC 8489 section 6.2.1: 39.5 s)."""
    confirmation_lifetime: float = 30.0
    """How long an address stays its session's, against other sessions that it speaks to as well, after it last answered
    a check of that session (RFC 7675 section 5.1: consent lasts 30 s)."""

    max_check: int = 1280
    """Bytes of the largest check from an address that is not a session's yet (RFC 8489 section 6.1 expects less)."""
    max_attributes: int = 16
    """Attributes of a check among which its USERNAME has to be."""
    failed_check_rate: float = 50.0
    """Checks a second that one IP address (an IPv6 /64 counts as one) may send with the user name fragment of a session
    but without its password, once ``failed_check_burst`` is used up: each costs a signature to verify. Addresses that
    are a session's already are not counted."""
    failed_check_burst: int = 200
    """Such checks of one IP address before ``failed_check_rate`` limits them."""
    max_sources: int = 8192
    """IP addresses whose rate is kept; the longest idle one makes room."""

    max_strangers: int = 2048
    """TCP connections at a time that have not begun with a check for one of the sessions yet (RFC 6544 section 7.1);
    more are closed at once. The others are their session's, and counted there."""
    max_strangers_per_source: int = 512
    """The same for one IP address (an IPv6 /64 counts as one)."""
    stranger_timeout: float = 10.0
    """How long a TCP connection has for that check."""
    backlog: int = 128
    """TCP connections that may wait to be accepted."""
    accept_pause: float = 1.0
    """For how long nothing is accepted after the system had no descriptor or memory for a connection."""
    first_pause: float = 0.01
    """When a TCP connection is looked at again that has sent a part of its first frame; each time twice as late."""

    port_tries: int = 20
    """How often a port is looked for that is free for all addresses and both transports, where any will do."""

    def __post_init__(self) -> None:
        counts = (self.max_sessions, self.max_ufrags, self.max_addresses, self.max_transactions, self.max_attributes)
        strangers = (self.max_sources, self.max_strangers, self.max_strangers_per_source, self.port_tries)
        if min(*counts, *strangers, self.failed_check_burst) < 1:
            raise ValueError("a mux needs room for one of each")
        times = (self.transaction_lifetime, self.confirmation_lifetime, self.stranger_timeout, self.accept_pause)
        if min(*times, self.first_pause, self.failed_check_rate, self.max_check) <= 0:
            raise ValueError("times, rates and sizes have to be positive")
