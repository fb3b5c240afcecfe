"""What the checklists of one session share: foundations, the pace, and whose turn it is (RFC 8445 section 6.1.2).

A session of one stream with one component has a set of one. Several streams or components have a checklist each, and
what one of them finds out about a foundation holds for all. Whose agents these are learns of it by
:attr:`ice.component.Component.settled`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from stun.nothing import NO_ENTRIES

if TYPE_CHECKING:
    from ice.checklist import CheckList
    from ice.pair import CandidatePair

__all__ = ["ChecklistSet"]

Foundation = tuple[str, str]
_Foundations = tuple[Foundation, ...]

# Agents of one kind number their foundations alike, so that many sessions have the same.
_same_foundations: Callable[[_Foundations], _Foundations] = functools.lru_cache(maxsize=256)(tuple)


class ChecklistSet:
    """The books that freezing goes by, and the slots of Ta, dealt out in turn (sections 6.1.2.6 and 6.1.4.2)."""

    __slots__ = ("_lists", "active", "ordinary_at", "succeeded", "ta", "triggered_at")

    def __init__(self, ta: float) -> None:
        self.ta = ta
        """The pace: ours, or the peer's if that is slower (section 14.2)."""
        self.active: dict[Foundation, int] = NO_ENTRIES
        """How many pairs of a foundation are Waiting or In-Progress, in all the checklists."""
        self.succeeded: tuple[Foundation, ...] = ()
        """Foundations of which a pair has succeeded."""
        self.ordinary_at = 0.0
        """When the next ordinary check may go out, in monotonic seconds."""
        self.triggered_at = 0.0
        """When the next triggered check may go out, in monotonic seconds."""
        self._lists: tuple[CheckList, ...] = ()

    def __len__(self) -> int:
        return len(self._lists)

    def agree(self, proposed: float, most: float) -> None:
        """Take the peer's pace where it is slower than ours, but none that is slower than ``most`` seconds."""
        self.ta = max(self.ta, min(proposed, most))

    def join(self, checklist: CheckList) -> None:
        """Let a checklist take part: its agent can send checks from now on. Harmless twice."""
        if checklist not in self._lists:
            self._lists += (checklist,)

    def leave(self, checklist: CheckList) -> None:
        """A checklist has ended. Harmless twice."""
        self._lists = tuple(other for other in self._lists if other is not checklist)

    def activate(self, foundation: Foundation) -> None:
        """A pair of this foundation waits for its check now, or is being checked."""
        if self.active is NO_ENTRIES:
            self.active = {}
        self.active[foundation] = self.active.get(foundation, 0) + 1

    def deactivate(self, foundation: Foundation) -> None:
        """It does not any more."""
        if (left := self.active.get(foundation, 1) - 1) > 0:
            self.active[foundation] = left
            return
        self.active.pop(foundation, None)
        if not self.active:
            self.active = NO_ENTRIES

    def succeed(self, foundation: Foundation, where: CheckList) -> None:
        """A pair of ``where`` has succeeded: thaw its foundation in every checklist (section 7.2.5.3.3)."""
        if foundation not in self.succeeded:
            self.succeeded = _same_foundations((*self.succeeded, foundation))
        where.thaw(foundation)
        for other in self._lists:
            other.thaw(foundation)

    def waiting_of(self, foundation: Foundation, asking: CheckList) -> tuple[CheckList, CandidatePair] | None:
        """Return the pair of a foundation that waits for its check, in the checklist that asks or in another one."""
        for checklist in (asking, *self._lists):
            if (pair := checklist.waiting_of(foundation)) is not None:
                return checklist, pair
        return None

    def is_turn_of(self, checklist: CheckList) -> bool:
        """Whether the next ordinary slot is this checklist's: of those that have a pair, each in its turn."""
        for other in self._lists:
            if other is checklist:
                return True
            if other.has_ordinary:
                return False
        return True

    def took_slot(self, checklist: CheckList) -> None:
        """A checklist has used a slot: the others come first now."""
        if len(self._lists) > 1 and checklist in self._lists:
            self.leave(checklist)
            self.join(checklist)

    def count_running(self) -> int:
        """Return ``N * (Waiting + In-Progress)``, which the retransmission timeout grows with (section 14.3)."""
        return sum(self.active.values()) * max(len(self._lists), 1)
