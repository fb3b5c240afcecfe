"""The state of a session, and when it may be called failed (RFC 8445 sections 6.1.2.1 and 8.1.2, RFC 8863)."""

from __future__ import annotations

from typing import Final

from ice.config import IceConfig
from ice.consent import Freshness
from ice.errors import FailureReason
from ice.events import State, StateChanged
from ice.generation import Generation
from stun.machine import Deadline

__all__ = ["Lifecycle"]

_STALE: Final = Freshness.STALE
_EXPIRED: Final = Freshness.EXPIRED
_NEW: Final = State.NEW
_CHECKING: Final = State.CHECKING
_CONNECTED: Final = State.CONNECTED
_COMPLETED: Final = State.COMPLETED
_FAILED: Final = State.FAILED
_CLOSED: Final = State.CLOSED


class Lifecycle:
    """The state, and the timers that a failure has to wait for."""

    __slots__ = ("_asked_at", "_config", "_has_waited", "_started_at", "reason", "state")

    def __init__(self, config: IceConfig) -> None:
        self._config = config
        self._has_waited = False
        self._started_at: float | None = None
        self._asked_at: float | None = None
        self.state = _NEW
        self.reason: FailureReason | None = None
        """Why the session is over."""

    def move(self, state: State, reason: FailureReason | None = None) -> StateChanged | None:
        """Go to ``state``; return the event, or None when nothing changes. FAILED ends in CLOSED only."""
        old = self.state
        if state is old or old is _CLOSED or (old is _FAILED and state is not _CLOSED):
            return None
        self.state = state
        self.reason = self.reason or reason
        return StateChanged(old, state, reason)

    def start(self, now: float) -> StateChanged | None:
        """Begin checking, and with it the PAC timer (RFC 8863 section 4)."""
        self._started_at, self._asked_at = now, None
        self._has_waited = False
        return self.move(_CHECKING) if self.state is _NEW else None

    def restart(self, now: float) -> None:
        """A new generation has begun, and waits for the peer's description."""
        self._started_at, self._asked_at = None, now

    def is_patient(self, now: float) -> bool:
        """Whether a session that checks, and carries nothing, goes on whatever the checks come to (RFC 8863)."""
        return self.state is _CHECKING and self._asked_at is None and self._is_early(now)

    def _is_early(self, now: float) -> bool:
        return self._started_at is None or now < self._started_at + self._config.pac_timeout

    def judge(
        self, current: Generation, carrying: Generation | None, candidates_ended: bool, now: float
    ) -> tuple[State, FailureReason | None]:
        """Return the state that the session is in by now, and why if that is FAILED.

        ``candidates_ended`` tells that neither side will have further candidates. As long as an older generation is
        ``carrying`` the session no failure of the ``current`` one ends it.
        """
        if carrying is None or carrying.consent is None:
            reason = self._failure(current, candidates_ended, now)
            return (_CHECKING, None) if reason is None else (_FAILED, reason)
        freshness = carrying.consent.freshness(now)
        if freshness is _EXPIRED:
            return _FAILED, FailureReason.CONSENT_EXPIRED
        if freshness is _STALE:
            return State.DISCONNECTED, None
        return (_COMPLETED if candidates_ended and carrying is current else _CONNECTED), None

    def _failure(self, generation: Generation, candidates_ended: bool, now: float) -> FailureReason | None:
        if self._asked_at is not None:
            # The old pair is lost, or there would be nothing to judge.
            is_over = now >= self._asked_at + self._config.restart_timeout
            return FailureReason.CONSENT_EXPIRED if is_over else None
        if self._started_at is None or self._is_early(now):
            return None  # RFC 8863 section 4: not even with an empty checklist.
        self._has_waited = True
        overdue = now >= self._started_at + self._config.checking_timeout
        checking = generation.checking
        checklist = checking.checklist
        if checking.nomination_failed:
            return FailureReason.NOMINATION_FAILED
        if not overdue and (checklist.valid or not (checklist.is_exhausted and candidates_ended)):
            return None
        if checking.has_nominated:
            return FailureReason.NOMINATION_FAILED  # A pair is valid, or was.
        if checklist.valid:
            return FailureReason.NOT_NOMINATED
        if not len(checklist):
            return FailureReason.NO_CANDIDATE_PAIRS
        return FailureReason.CHECKS_FAILED if checklist.is_exhausted else FailureReason.CHECKS_TIMED_OUT

    def next_timeout(self) -> Deadline | None:
        """Return the next deadline while checking, or None."""
        if self.state is _CHECKING and self._asked_at is not None:
            return Deadline(self._asked_at + self._config.restart_timeout, "the peer's answer to an ICE restart")
        if self.state is not _CHECKING or self._started_at is None:
            return None
        if not self._has_waited:
            return Deadline(self._started_at + self._config.pac_timeout, "patience (RFC 8863)")
        return Deadline(self._started_at + self._config.checking_timeout, "giving up")
