"""Which pair is checked when: the pace of checks (RFC 8445 sections 6.1.4.2 and 14.2)."""

from __future__ import annotations

from ice.checklist import CheckList
from ice.config import IceConfig
from ice.pair import CandidatePair

__all__ = ["Scheduler"]


class Scheduler:
    """Hands out the pairs of a checklist, triggered ones first, ordinary ones one each Ta in all the checklist's set.

    The first check of a session goes out at once. A triggered check waits only ``triggered_ta``: it answers an
    authenticated check, so it cannot amplify anything. But it follows a check that was just sent on the same pair no
    sooner than Ta, because the answer to that one is probably on its way; by a relay it goes at once.
    """

    __slots__ = ("_checklist", "_config", "_together")

    def __init__(self, config: IceConfig, checklist: CheckList) -> None:
        self._config = config
        self._checklist = checklist
        self._together = checklist.together

    def next_pair(self, now: float) -> CandidatePair | None:
        """Return the pair to check now, or None. Its slot is taken."""
        together, pair = self._together, None
        if self._checklist.triggered and now >= together.triggered_at:
            pair = self._next_triggered(now)
        if pair is None and now >= together.ordinary_at and together.is_turn_of(self._checklist):
            pair = self._checklist.next_ordinary()
        if pair is not None:
            together.took_slot(self._checklist)
            together.ordinary_at = now + together.ta
            together.triggered_at = now + self._config.triggered_ta
        return pair

    def _next_triggered(self, now: float) -> CandidatePair | None:
        queue = self._checklist.triggered
        for path, pair in queue.items():
            if now >= self._ready_at(pair):
                del queue[path]
                return pair
        return None

    def _ready_at(self, pair: CandidatePair) -> float:
        if pair.last_check_at is None:
            return 0.0
        # By a relay the check before may well have been lost: whose permission is there first, checks first.
        pause = self._config.triggered_ta if pair.is_relayed else self._together.ta
        return max(pair.last_check_at + pause, pair.recheck_at)

    def next_timeout(self) -> float | None:
        """Return when :meth:`next_pair` may have one, or None."""
        together, at = self._together, None
        if self._checklist.triggered:
            ready = min([self._ready_at(pair) for pair in self._checklist.triggered.values()])
            at = max(together.triggered_at, ready)
        if self._checklist.has_ordinary:
            # Whose turn it is not waits for the slot after the next, rather than to look again and again.
            turn = together.is_turn_of(self._checklist)
            ordinary_at = together.ordinary_at if turn else together.ordinary_at + together.ta
            at = ordinary_at if at is None else min(at, ordinary_at)
        return at
