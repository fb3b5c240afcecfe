"""The spare pairs of a session that has a path: checked slowly, and looked through for one that is better."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ice.candidate import Base, CandidateType
from ice.checklist import CheckList
from ice.life_config import UpgradeConfig
from ice.pair import CandidatePair, PairState
from stun.nothing import NO_ENTRIES

__all__ = ["Spares"]

_SUCCEEDED: Final = PairState.SUCCEEDED


class _Spare:
    """One pair and when it is checked."""

    __slots__ = ("clearly_better", "due_at", "failures", "pair")

    def __init__(self, pair: CandidatePair, due_at: float) -> None:
        self.pair = pair
        self.due_at = due_at
        self.failures = 0
        self.clearly_better = 0
        """How many round trips in a row were clearly shorter than those of the selected pair."""


class Spares:
    """The pairs beside the selected one that are worth a check now and then.

    Of a session on a relay those are all direct pairs; of any session the best few others, to fail over to. What lies
    idle is Failed in the checklist's books, so that nothing but this room has it checked; each check is two sends.
    """

    __slots__ = ("_by_pair", "_checklist", "_config", "moved_at")

    def __init__(self, config: UpgradeConfig, checklist: CheckList) -> None:
        self._config = config
        self._checklist = checklist
        self._by_pair: dict[CandidatePair, _Spare] = NO_ENTRIES
        self.moved_at = 0.0
        """When the selected pair was selected."""

    def __len__(self) -> int:
        return len(self._by_pair)

    def __contains__(self, pair: object) -> bool:
        return pair in self._by_pair

    def pairs(self) -> list[CandidatePair]:
        """Return the pairs, best first."""
        return sorted(self._by_pair, key=lambda pair: -pair.priority)

    # -- which --

    def is_better(self, pair: CandidatePair, selected: CandidatePair) -> bool:
        """Whether a pair, once valid, would be moved to at once: it is direct, and the selected one is not."""
        return self._config.enabled and selected.is_relayed and not pair.is_relayed

    def may_keep(self, pair: CandidatePair, selected: CandidatePair) -> bool:
        """Whether a pair is worth keeping at all beside ``selected``.

        Not by a relay of ours that the selected pair does not need: its allocation is given back.
        """
        if not self._config.enabled or pair.path == selected.path:
            return False
        return pair.local.type is not CandidateType.RELAYED or Base.of(pair.path) == Base.of(selected.path)

    def settle(self, selected: CandidatePair, now: float) -> list[CandidatePair]:
        """A pair is selected: take the best others as spares, and return those that are to lie idle.

        Of the pairs that are still being checked only those that are better go on being checked.
        """
        self.moved_at = now
        better: list[CandidatePair] = []
        rest: list[CandidatePair] = []
        for pair in self._checklist:
            if not self.may_keep(pair, selected):
                continue
            if self.is_better(pair, selected):
                better.append(pair)
            elif not pair.path.protocol.is_stream:
                rest.append(pair)
        # Those that have answered before come first: they are the ones to fail over to.
        rest.sort(key=lambda pair: (pair.state is not _SUCCEEDED, -pair.priority))
        wanted = [*better[: self._config.max_spares], *rest[: self._config.backups]][: self._config.max_spares]
        known = self._by_pair
        self._by_pair = {} if wanted else NO_ENTRIES
        idle = []
        for pair in wanted:
            spare = known.get(pair)
            if spare is None:
                answers = pair.state is _SUCCEEDED
                wait = self._config.backup_interval if answers else self._config.recheck_after
                spare = _Spare(pair, now + wait)
            spare.clearly_better = 0
            self._by_pair[pair] = spare
            if pair.state.is_open and pair not in better:
                idle.append(pair)
        return idle

    def add(self, pair: CandidatePair, selected: CandidatePair, now: float, soon: bool) -> bool:
        """Take a pair that came up after the selection; return whether there is room. ``soon``: it is promising."""
        if pair in self._by_pair:
            spare = self._by_pair[pair]
            if soon and spare.pair.state is not _SUCCEEDED:
                spare.due_at = min(spare.due_at, now + self._config.recheck_after / 8)
            return True
        if not self.may_keep(pair, selected) or not self._make_room(pair, selected):
            return False
        if self._by_pair is NO_ENTRIES:
            self._by_pair = {}
        self._by_pair[pair] = _Spare(pair, now + self._config.recheck_after / (8 if soon else 1))
        return True

    def _make_room(self, pair: CandidatePair, selected: CandidatePair) -> bool:
        if self.is_better(pair, selected):
            if len(self._by_pair) < self._config.max_spares:
                return True
        elif sum(not self.is_better(other, selected) for other in self._by_pair) < self._config.backups:
            return len(self._by_pair) < self._config.max_spares
        hopeless = [
            spare for spare in self._by_pair.values() if spare.failures and spare.pair.state is PairState.FAILED
        ]
        if not hopeless:
            return False
        self.drop(max(hopeless, key=lambda spare: spare.failures).pair)
        return True

    def hurry(self, now: float) -> None:
        """The selected pair is dead: find out at once which of the others are not."""
        for spare in self._by_pair.values():
            spare.due_at = now
            spare.failures = 0

    @property
    def has_hope(self) -> bool:
        """Whether a pair is yet to be found good or bad. An idle one will be checked, unless it is a TCP pair."""
        hopeful = [spare.pair for spare in self._by_pair.values() if spare.failures == 0]
        return any(
            pair.state.is_open or (pair.state is PairState.FAILED and not pair.path.protocol.is_stream)
            for pair in hopeful
        )

    def drop(self, pair: CandidatePair) -> None:
        """Check a pair no more."""
        self._by_pair.pop(pair, None)

    def clear(self) -> None:
        """Check none any more."""
        self._by_pair.clear()

    # -- when --

    def due(self, now: float) -> Iterable[CandidatePair]:
        """Return the pairs whose check is due; each is taken to be checked."""
        if not self._by_pair:
            return ()
        due = [spare for spare in self._by_pair.values() if now >= spare.due_at]
        for spare in due:
            spare.due_at = now + self._config.backup_interval
        # TCP pairs are moved to while their connections are open, and not opened again for a look.
        pairs = [spare.pair for spare in due if not spare.pair.path.protocol.is_stream]
        return [pair for pair in pairs if pair.state in (_SUCCEEDED, PairState.FAILED)]

    def succeeded(self, pair: CandidatePair, selected: CandidatePair, now: float) -> None:
        """A spare pair has answered."""
        spare = self._by_pair.get(pair)
        if spare is None:
            return
        spare.failures = 0
        spare.due_at = now + self._config.backup_interval
        clearly = self._is_clearly_faster(pair, selected)
        spare.clearly_better = spare.clearly_better + 1 if clearly else 0

    def failed(self, pair: CandidatePair, now: float) -> None:
        """A spare pair has not answered: the next check comes later, or never."""
        spare = self._by_pair.get(pair)
        if spare is None:
            return
        spare.failures += 1
        spare.clearly_better = 0
        if spare.failures >= self._config.rechecks:
            self.drop(pair)
            return
        wait = self._config.recheck_after * 2 ** (spare.failures - 1)
        spare.due_at = now + min(wait, self._config.recheck_at_most)

    def next_timeout(self) -> float | None:
        """Return when a check is due, or None."""
        return min([spare.due_at for spare in self._by_pair.values()]) if self._by_pair else None

    # -- whereto --

    def _is_clearly_faster(self, pair: CandidatePair, selected: CandidatePair) -> bool:
        ours, theirs = pair.round_trip_time, selected.round_trip_time
        if ours is None or theirs is None or pair.is_relayed is not selected.is_relayed:
            return False
        return ours < theirs * self._config.round_trip_ratio and ours < theirs - self._config.round_trip_gain

    def best(self, selected: CandidatePair, selected_is_dead: bool) -> CandidatePair | None:
        """Return the valid pair to move to, or None to stay.

        From a dead pair to any that answers, direct ones first; from a relay to a direct pair; else to one that has
        been clearly faster for a while.
        """
        if not self._by_pair:
            return None
        valid = [pair.valid for pair in self._by_pair if pair.valid is not None and pair.state is _SUCCEEDED]
        if selected_is_dead:
            return max(valid, key=lambda pair: (not pair.is_relayed, pair.priority), default=None)
        direct = [pair for pair in valid if self.is_better(pair, selected)]
        if direct:
            return max(direct, key=lambda pair: pair.priority)
        wanted = self._config.round_trip_samples
        fast = [spare for spare in self._by_pair.values() if wanted and spare.clearly_better >= wanted]
        best = min(fast, key=lambda spare: spare.pair.round_trip_time or 0.0, default=None)
        return None if best is None else best.pair.valid
