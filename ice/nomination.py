"""Which valid pair is used: regular nomination, and following a peer that nominates (RFC 8445 section 8.1)."""

from __future__ import annotations

from ice.checklist import CheckList
from ice.config import IceConfig
from ice.pair import CandidatePair

__all__ = ["Nomination"]


class Nomination:
    """The decision of one session.

    As controlling side we nominate once: the best valid pair, as soon as no better pair is still being checked, or when
    the patience for those has run out. As controlled side we take what the peer nominates, and of several the best.
    """

    __slots__ = ("_config", "_first_valid_at", "attempted", "failed")

    def __init__(self, config: IceConfig) -> None:
        self._config = config
        self._first_valid_at: float | None = None
        self.attempted: CandidatePair | None = None
        """The pair that we have nominated; there is never a second one (section 8.1.1)."""
        self.failed = False
        """Whether the nominated pair did not answer."""

    def note_valid(self, now: float) -> None:
        """Take note that the valid list is not empty."""
        if self._first_valid_at is None:
            self._first_valid_at = now

    def choose(self, checklist: CheckList, now: float) -> CandidatePair | None:
        """Return the valid pair to nominate now, or None. It counts as nominated from then on."""
        if self.attempted is not None or not checklist.valid or self._first_valid_at is None:
            return None
        best = max(checklist.valid.values(), key=lambda pair: pair.priority)
        # Open pairs are ranked by their bases. So is this one for the comparison: that a NAT made its local candidate a
        # reflexive one, of lower priority, would happen to the others as well.
        checked = checklist.find(best.path)
        rank = best.priority if checked is None else max(best.priority, checked.priority)
        if now < self._first_valid_at + self._config.nomination_patience and checklist.open_above(rank):
            return None
        self.attempted = best
        return best

    def reset(self) -> None:
        """Forget our nomination because the role changed."""
        self.attempted = None
        self.failed = False

    def next_timeout(self) -> float | None:
        """Return when the patience ends, or None when nothing is being waited for."""
        if self.attempted is not None or self._first_valid_at is None:
            return None
        return self._first_valid_at + self._config.nomination_patience

    @staticmethod
    def should_switch(selected: CandidatePair | None, nominated: CandidatePair, selected_is_fresh: bool) -> bool:
        """Whether ``nominated`` takes the place of ``selected``.

        Of several nominated pairs the one of highest priority is used (section 8.1.1); a selected pair whose peer has
        fallen silent gives way to any.
        """
        if selected is None:
            return True
        if selected.path == nominated.path:
            return False
        return nominated.priority > selected.priority or not selected_is_fresh
