"""From one selected pair to another within a generation: who may nominate again, and what to do who may not."""

from __future__ import annotations

from typing import Final

from ice.checklist import CheckList
from ice.config import IceConfig
from ice.description import Description
from ice.pair import CandidatePair
from ice.roles import Role, RoleKeeper
from ice.selection import RENOMINATION, MoveBy, how_to_move
from ice.upgrade import Spares

__all__ = ["Moving"]

_CONTROLLING: Final = Role.CONTROLLING


class Moving:
    """The number of the nomination in force, the move under way, the wish for a restart where no move is allowed.

    A nomination that was not answered may have been taken all the same, and its answer lost. Then the sides would use
    two pairs for good; so what stays selected here is nominated again, because the last nomination wins.
    """

    __slots__ = (
        "_again_after",
        "_again_at",
        "_better_since",
        "_config",
        "_ours",
        "_roles",
        "_theirs",
        "_told",
        "attempt",
        "number",
        "spares",
        "wants_restart",
    )

    def __init__(self, config: IceConfig, checklist: CheckList, roles: RoleKeeper) -> None:
        self._config = config.upgrade
        self._roles = roles
        self._ours: Description | None = None
        self._theirs: Description | None = None
        self._better_since: float | None = None
        self.spares = Spares(config.upgrade, checklist)
        """The pairs beside the selected one."""
        self.number = 0
        """Which of the nominations is in force; both sides count them if both know renomination."""
        self._told = 0
        self._again_at = 0.0
        self._again_after = self._config.recheck_after
        self.attempt: CandidatePair | None = None
        """The pair that is being nominated in place of the selected one."""
        self.wants_restart = False
        """Whether there is a better pair that only an ICE restart leads to."""

    def start(self, ours: Description, theirs: Description) -> None:
        """Both descriptions are known."""
        self._ours, self._theirs = ours, theirs

    @property
    def renominates(self) -> bool:
        """Whether both sides know renomination."""
        ours, theirs = self._ours, self._theirs
        if ours is None or theirs is None:
            return False
        return RENOMINATION in ours.options and RENOMINATION in theirs.options

    def take_number(self) -> int:
        """Return the number of our next nomination, or 0 if they are not numbered. No other gets it."""
        if not self.renominates:
            return 0
        self._told = max(self._told, self.number) + 1
        return self._told

    @property
    def _is_unsettled(self) -> bool:
        """Whether the peer may have taken a nomination that is not in force here."""
        return self.attempt is None and self._told > self.number and self._roles.role is _CONTROLLING

    def is_newer(self, number: int) -> int:
        """Whether a nomination is newer than the one in force (over 0), older (under 0), or cannot be told (0)."""
        if not self.renominates:
            return 0
        # A peer that numbers none means its first (as libwebrtc reads USE-CANDIDATE).
        return max(number, 1) - self.number if self.number else 0

    def selected(self, pair: CandidatePair, number: int, now: float) -> list[CandidatePair]:
        """A pair was selected; return the pairs that are to lie idle from now on."""
        self.confirmed(max(number, 1))
        self._again_at = now + self._again_after  # A later nomination of the same pair may be about to be answered.
        self.reset()
        return self.spares.settle(pair, now)

    def confirmed(self, number: int) -> None:
        """A nomination of the selected pair is in force."""
        self.number = max(self.number, number)
        self._again_after = self._config.recheck_after

    def reset(self) -> None:
        """What was under way is over: the role or the pair has changed, or the nomination failed."""
        self.attempt = None
        self._better_since = None
        self.wants_restart = False

    def next(self, selected: CandidatePair, selected_is_dead: bool, now: float) -> CandidatePair | None:
        """Return the valid pair to nominate now in place of ``selected``, or None."""
        if self.attempt is not None or self._ours is None or self._theirs is None:
            return None
        again = self._is_to_be_repeated(now)
        best = self.spares.best(selected, selected_is_dead)
        if best is None:
            self._better_since, self.wants_restart = None, False
            return selected if again and not selected_is_dead else None
        how = how_to_move(selected, best, self._ours, self._theirs)
        if self._roles.role is _CONTROLLING and how is not MoveBy.RESTART:
            return best
        if not selected_is_dead and not self.spares.is_better(best, selected):
            return None  # A shorter round trip is not worth a restart.
        if self._better_since is None:
            self._better_since = now
        self.wants_restart = now >= self._better_since + self._patience
        return None

    def _is_to_be_repeated(self, now: float) -> bool:
        """Whether a nomination is due for want of an answer to the last; whatever comes of it, the next is later."""
        if not self._is_unsettled or now < self._again_at:
            return False
        self._again_at = now + self._again_after
        self._again_after = min(2 * self._again_after, self._config.recheck_at_most)
        return True

    @property
    def _patience(self) -> float:
        # The controlled side gives the other one the time to move.
        return 0.0 if self._roles.role is _CONTROLLING else self._config.peer_patience

    def next_timeout(self) -> float | None:
        """Return when something is due, or None."""
        at = self.spares.next_timeout()
        if self._better_since is not None and not self.wants_restart:
            over_at = self._better_since + self._patience
            at = over_at if at is None else min(at, over_at)
        if self._is_unsettled:
            at = self._again_at if at is None else min(at, self._again_at)
        return at
