"""The checks of all generations at once, as the TCP connections see them, which outlive a generation (RFC 6544 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ice.checking import Checking
from ice.generations import Generations
from ice.pair import CandidatePair, PairState
from stun.address import FiveTuple

__all__ = ["AllChecks"]

_LIVELIEST_FIRST: Final = {
    PairState.SUCCEEDED: 0,
    PairState.IN_PROGRESS: 1,
    PairState.WAITING: 2,
    PairState.FROZEN: 3,
    PairState.FAILED: 4,
}


class _AllPairs:
    """The pairs of all generations; of several on one path the one that is the most alive."""

    __slots__ = ("_generations",)

    def __init__(self, generations: Generations) -> None:
        self._generations = generations

    def __iter__(self) -> Iterator[CandidatePair]:
        for generation in self._generations.kept:
            yield from generation.checking.checklist

    def find(self, path: FiveTuple) -> CandidatePair | None:
        """Return the pair on ``path``, or None."""
        found = (generation.checking.checklist.find(path) for generation in self._generations.kept)
        return min(filter(None, found), key=lambda pair: _LIVELIEST_FIRST[pair.state], default=None)

    @property
    def valid(self) -> tuple[CandidatePair, ...]:
        """The valid list of the generation that carries data."""
        return (self._generations.carrying or self._generations.current).checking.checklist.valid


class AllChecks:
    """What connections are asked for by, and whom it is told what became of them."""

    __slots__ = ("_generations", "checklist")

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self.checklist = _AllPairs(generations)

    def _with(self, path: FiveTuple) -> Iterator[tuple[Checking, CandidatePair]]:
        for generation in self._generations.kept[:]:
            pair = generation.checking.checklist.find(path)
            if pair is not None and not generation.is_retired:
                yield generation.checking, pair

    @property
    def selected(self) -> CandidatePair | None:
        """The pair that carries data, or None."""
        carrying = self._generations.carrying
        return None if carrying is None else carrying.selected

    def connected(self, pair: CandidatePair, now: float) -> None:
        """The connection of a pair is open."""
        for checking, own in self._with(pair.path):
            if own.state in (PairState.IN_PROGRESS, PairState.SUCCEEDED):
                checking.connected(own, now)

    def unreachable(self, pair: CandidatePair, now: float) -> None:
        """The connection of a pair is gone, or cannot be had."""
        for checking, own in self._with(pair.path):
            checking.unreachable(own, now)

    def move_selection(self, valid: CandidatePair) -> None:
        """The selected pair has got a new connection."""
        if (carrying := self._generations.carrying) is not None:
            carrying.checking.move_selection(valid)
