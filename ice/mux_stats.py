"""The numbers of a mux."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

__all__ = ["Drop", "MuxStats"]


class Drop(enum.StrEnum):
    """Why something that arrived at a shared port went to no session; the keys of the drop counters."""

    DATA = "data: from an address of no session"
    NO_USERNAME = "check: no user name fragment"
    UNKNOWN_UFRAG = "check: a user name fragment of no session"
    TOO_LONG = "check: too long for a new address"
    TOO_MANY_FAILURES = "check: too many from there failed"
    UNASKED = "answer: to no request of ours"
    OTHER_STUN = "STUN: not a Binding message"
    CONNECTION_LIMIT = "connection: too many strangers"
    CONNECTION_NOT_ICE = "connection: did not begin with a check"
    CONNECTION_UFRAG = "connection: a user name fragment of no session"
    CONNECTION_UNWANTED = "connection: the session takes none there"
    CONNECTION_TIMEOUT = "connection: no check in time"


@dataclass(frozen=True, slots=True)
class MuxStats:
    """One mux at one moment."""

    sessions: int
    """Sessions that have joined and not left."""
    ufrags: int
    """Their user name fragments; more than one each while an ICE restart is on."""
    addresses: int
    """Addresses of peers that are a session's."""
    awaited: int
    """Requests of sessions that answers may come for."""
    sources: int
    """IP addresses whose failed checks are remembered."""
    strangers: int = 0
    """TCP connections that have not said whose they are."""
    dropped: dict[str, int] = field(default_factory=dict)
    """What went to no session, by reason."""
