"""The checklist: forming, pruning, freezing and the order of checks (RFC 8445 section 6.1.2, RFC 8838 sections 10-12).

One checklist is one component of one stream; what several of them share is in :mod:`ice.checklist_set`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from typing import Final

from ice.candidate import Candidate
from ice.checklist_set import ChecklistSet
from ice.description import DEFAULT_PACING
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from stun.address import FiveTuple
from stun.nothing import NO_ENTRIES

__all__ = ["CheckList"]

_FROZEN: Final = PairState.FROZEN
_WAITING: Final = PairState.WAITING
_SUCCEEDED: Final = PairState.SUCCEEDED
_ACTIVE: Final = (PairState.WAITING, PairState.IN_PROGRESS)


def _order(pair: CandidatePair) -> int:
    return -pair.priority


class CheckList:
    """The pairs of one data stream, best first, and the queue of triggered checks.

    At most ``limit`` pairs are kept. A pair is known by its path: a reflexive local candidate stands for its base, so
    pairs that differ in it alone are one pair (section 6.1.2.4). ``together`` is what it shares with the checklists of
    other components and streams, by default with none.
    """

    __slots__ = ("_limit", "_pairs", "together", "triggered", "trimmed", "valid")

    def __init__(self, limit: int, together: ChecklistSet | None = None) -> None:
        self._limit = limit
        self._pairs: list[CandidatePair] = []
        self.together = ChecklistSet(DEFAULT_PACING) if together is None else together
        """The set that it belongs to."""
        self.triggered: dict[FiveTuple, CandidatePair] = NO_ENTRIES
        """The triggered-check queue (section 6.1.4.1), first in first out, each pair at most once."""
        self.valid: tuple[CandidatePair, ...] = ()
        """The valid list (section 7.2.5.3.2), one pair for each path."""
        self.trimmed = 0
        """How many pairs the limit cost."""

    def __len__(self) -> int:
        return len(self._pairs)

    def __iter__(self) -> Iterator[CandidatePair]:
        return iter(self._pairs)

    def find(self, path: FiveTuple) -> CandidatePair | None:
        """Return the pair on ``path``, or None."""
        for pair in self._pairs:  # They are few, mostly less than five: no dictionary is worth its room, nor faster.
            if pair.path == path:
                return pair
        return None

    @property
    def best(self) -> CandidatePair | None:
        """The pair of the highest priority, whatever has become of it."""
        return self._pairs[0] if self._pairs else None

    # -- forming --

    def form(self, local: Candidate, remote: Candidate, role: Role) -> CandidatePair | None:
        """Pair the two, and return the new pair; None when it is redundant or there is no room (8838 section 10).

        A new pair is Waiting unless another pair of its foundation is being checked, then it is Frozen (RFC 8838
        section 12, RFC 8445 section 6.1.2.6).
        """
        pair = CandidatePair(local, remote, role)
        return self._add(pair, worth=pair.priority)

    def form_reached(self, local: Candidate, remote: Candidate, role: Role) -> CandidatePair | None:
        """As :meth:`form`, for a pair on which the peer has just reached us.

        In a full list it takes the place of any pair that is untried: a crowd of signalled candidates must not keep
        out the one path that is known to work one way.
        """
        return self._add(CandidatePair(local, remote, role), worth=2**64)

    def _add(self, pair: CandidatePair, worth: int) -> CandidatePair | None:
        if self.find(pair.path) is not None:
            return None  # the caller forms host pairs only, so the one that is there has no lower priority
        # Section 6.1.2.5: the limit is that of the whole set, and all checklists give way evenly.
        limit = max(self._limit // max(len(self.together), 1), 1)
        if len(self._pairs) >= limit and not self._make_room(worth):
            self.trimmed += 1
            return None
        self._insert(pair)
        foundation = pair.foundation
        if foundation in self.together.succeeded or foundation not in self.together.active:
            self.set_state(pair, _WAITING)
        elif (waiting := self.together.waiting_of(foundation, self)) is not None:
            # Section 6.1.2.6: of each foundation the pair of the lowest component waits, and of several the best.
            checklist, leader = waiting
            if (pair.local.component, -pair.priority) < (leader.local.component, -leader.priority):
                checklist.set_state(leader, _FROZEN)
                self.set_state(pair, _WAITING)
        return pair

    def waiting_of(self, foundation: tuple[str, str]) -> CandidatePair | None:
        """Return the pair of a foundation that waits for its check, or None."""
        candidates = (p for p in self._pairs if p.state is _WAITING and p.foundation == foundation)
        return next(candidates, None)

    def _make_room(self, worth: int) -> bool:
        # RFC 8838 section 10: Failed pairs go first, then the lowest; running and succeeded ones stay.
        failed = next((p for p in reversed(self._pairs) if p.state is PairState.FAILED), None)
        if failed is not None:
            self._remove(failed)
            return True
        for lowest in reversed(self._pairs):
            if lowest.priority >= worth:
                return False
            if lowest.state in (_FROZEN, _WAITING) and lowest.path not in self.triggered:
                self._remove(lowest)
                self.trimmed += 1
                return True
        return False

    def _insert(self, pair: CandidatePair) -> None:
        self._pairs.insert(bisect_left(self._pairs, -pair.priority, key=_order), pair)

    def _remove(self, pair: CandidatePair) -> None:
        if pair.state in _ACTIVE:
            self._deactivate(pair)
        self._pairs.remove(pair)
        self.triggered.pop(pair.path, None)

    def replace_remote(self, old: Candidate, new: Candidate, role: Role) -> None:
        """Let ``new`` take the place of the peer-reflexive ``old`` of the same address (RFC 8838 section 11).

        The pairs keep their states and take the new priority and foundation.
        """
        for pair in [*self._pairs, *self.valid]:
            if pair.remote is old:
                state = pair.state
                self.set_state(pair, _FROZEN)
                pair.replace_remote(new, role)
                self.set_state(pair, state)
        self._pairs.sort(key=_order)

    def reprioritise(self, role: Role) -> None:
        """Compute all priorities again after a change of our role (section 7.3.1.1)."""
        for pair in [*self._pairs, *self.valid]:
            pair.reprioritise(role)
        self._pairs.sort(key=_order)

    # -- states --

    def set_state(self, pair: CandidatePair, state: PairState) -> None:
        """Move a pair to ``state``, keeping the books that freezing goes by."""
        old, pair.state = pair.state, state
        if old in _ACTIVE:
            if state not in _ACTIVE:
                self._deactivate(pair)
        elif state in _ACTIVE:
            self.together.activate(pair.foundation)

    def _deactivate(self, pair: CandidatePair) -> None:
        if pair in self._pairs:
            self.together.deactivate(pair.foundation)

    def succeed(self, pair: CandidatePair) -> None:
        """Mark a pair Succeeded and thaw every Frozen pair of its foundation in all the set (section 7.2.5.3.3)."""
        self.set_state(pair, _SUCCEEDED)
        self.triggered.pop(pair.path, None)
        self.together.succeed(pair.foundation, self)

    def thaw(self, foundation: tuple[str, str]) -> None:
        """Let every Frozen pair of ``foundation`` wait for its check."""
        for pair in self._pairs:
            if pair.state is _FROZEN and pair.foundation == foundation:
                self.set_state(pair, _WAITING)

    def fail(self, pair: CandidatePair) -> None:
        """Mark a pair Failed; it is no longer valid either."""
        self.set_state(pair, PairState.FAILED)
        self.triggered.pop(pair.path, None)
        self._drop_valid(pair.path)
        pair.valid = None

    def trigger(self, pair: CandidatePair) -> None:
        """Put a pair into the triggered-check queue, Waiting (section 7.3.1.4)."""
        self.set_state(pair, _WAITING)
        if self.triggered is NO_ENTRIES:
            self.triggered = {}
        self.triggered.setdefault(pair.path, pair)

    # -- what to check next --

    def next_ordinary(self) -> CandidatePair | None:
        """Return the pair whose ordinary check is next, or None (section 6.1.4.2)."""
        may_thaw = False
        for pair in self._pairs:
            if pair.state is _WAITING:
                if not (self.triggered and pair.path in self.triggered):
                    return pair
            elif pair.state is _FROZEN:
                may_thaw = True
        return self.next_ordinary() if may_thaw and self._thaw() else None

    def _thaw(self) -> bool:
        # Section 6.1.4.2, step 2: foundations of which nothing is running get their best pair going.
        thawed = False
        for pair in self._pairs:
            if pair.state is _FROZEN and pair.foundation not in self.together.active:
                self.set_state(pair, _WAITING)
                thawed = True
        return thawed

    @property
    def has_ordinary(self) -> bool:
        """Whether :meth:`next_ordinary` would return a pair."""
        for pair in self._pairs:
            if pair.state is _WAITING:
                if not (self.triggered and pair.path in self.triggered):
                    return True
            elif pair.state is _FROZEN and pair.foundation not in self.together.active:
                return True
        return False

    def count_running(self) -> int:
        """Return what the retransmission timeout grows with (section 14.3)."""
        return self.together.count_running()

    def open_above(self, priority: int) -> Iterator[CandidatePair]:
        """Yield the pairs of a higher priority that may still succeed."""
        for pair in self._pairs:
            if pair.priority <= priority:
                return
            if pair.state.is_open:
                yield pair

    @property
    def is_exhausted(self) -> bool:
        """Whether no pair may still succeed and none is valid."""
        return not self.valid and not any(pair.state.is_open for pair in self._pairs)

    # -- concluding --

    def add_valid(self, pair: CandidatePair) -> None:
        """Put a pair into the valid list; one of the same path is replaced."""
        if pair in self.valid:
            return
        if self.valid and any(known.path == pair.path for known in self.valid):
            self.valid = tuple(pair if known.path == pair.path else known for known in self.valid)
        else:
            self.valid += (pair,)

    def _drop_valid(self, path: FiveTuple) -> None:
        if self.valid:
            self.valid = tuple(known for known in self.valid if known.path != path)

    def disband(self) -> None:
        """Leave the set: no pair of this checklist is checked any more, nor do others wait for it."""
        for pair in self._pairs:
            if pair.state in _ACTIVE:
                self._deactivate(pair)
        self._pairs.clear()
        self.triggered.clear()
        self.together.leave(self)

    def conclude(self, keeps: Callable[[CandidatePair], bool]) -> None:
        """Drop every pair that is still open, now that one is selected (section 8.1.2), but for those that it keeps."""
        for pair in [pair for pair in self._pairs if pair.state.is_open and not keeps(pair)]:
            self._remove(pair)
        if not self.triggered:
            self.triggered = NO_ENTRIES  # An emptied dictionary keeps its room.

    def drop(self, pair: CandidatePair) -> None:
        """Forget a pair that there is no use for."""
        if pair in self._pairs:
            self._remove(pair)
            self._drop_valid(pair.path)
