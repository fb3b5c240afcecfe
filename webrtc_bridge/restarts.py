"""ICE restarts of a data-only peer connection: who begins, when an offer is told again, how many to take.

No I/O, no clock. One rule keeps offers from crossing: the side that made the first offer begins, the other one only
when it has waited for that in vain.
"""

from __future__ import annotations

import enum
from collections import Counter

from webrtc_bridge.config import RestartConfig
from webrtc_bridge.rate import TokenBucket

__all__ = ["Due", "Restarts"]


class Due(enum.Enum):
    """What is to be done now."""

    NOTHING = enum.auto()
    OFFER = enum.auto()
    """Make an offer that restarts ICE, or the last one again."""
    TAKE_BACK = enum.auto()
    """Nobody answers: take the offer back."""


class Restarts:
    """The restart that is wanted on one connection."""

    def __init__(self, config: RestartConfig, counters: Counter[str], *, begins: bool, now: float) -> None:
        """``begins`` is whether this side made the first offer; ``now`` is monotonic."""
        self.is_wanted = False
        """Whether the next offer of ours restarts ICE."""
        self._config = config
        self._counters = counters
        self._begins = begins
        self._is_awaited = False
        self._asked = 0
        self._at: float | None = None
        self._allowance = TokenBucket(1.0 / config.peer_restart_interval, config.max_peer_restarts, now)

    def want(self, now: float) -> None:
        """The application wants one: an offer is due at once."""
        self.is_wanted, self._is_awaited = True, False
        self._asked, self._at = 0, now

    def suggest(self, now: float) -> None:
        """The ICE session wants one: an offer is due, if the other side has the first word only when that says none."""
        if self.is_wanted or self._is_awaited:
            return
        if self._begins:
            self.want(now)
        else:
            self._is_awaited, self._at = True, now + self._config.patience

    def healed(self) -> None:
        """The path works again: what has not begun yet need not."""
        if self._is_awaited:
            self._is_awaited, self._at = False, None

    def done(self) -> None:
        """ICE was restarted, by either side."""
        self.is_wanted = self._is_awaited = False
        self._asked, self._at = 0, None

    def offer_again(self, now: float) -> None:
        """Our offer had to give way to one that restarted nothing: another is due."""
        if self.is_wanted:
            self.want(now)

    def admits(self, now: float) -> bool:
        """Whether one more restart that the peer begins may be followed."""
        return self._allowance.take(now)

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` is wanted, or None."""
        return self._at

    def handle_timeout(self, now: float, *, may_offer: bool) -> Due:
        """Return what is due; while the peer's offer waits for our answer (not ``may_offer``) none of ours is."""
        if self._at is None or now < self._at:
            return Due.NOTHING
        if self._asked >= self._config.tries:
            self._counters["restart without an answer"] += 1
            self.done()
            return Due.TAKE_BACK
        self._at = now + self._config.answer_timeout * 2**self._asked
        if not may_offer:
            return Due.NOTHING
        self.is_wanted, self._is_awaited = True, False
        self._asked += 1
        return Due.OFFER
