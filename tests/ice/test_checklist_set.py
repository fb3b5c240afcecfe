from __future__ import annotations

from dataclasses import replace

from ice.checklist import CheckList
from ice.checklist_set import ChecklistSet
from ice.config import IceConfig
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from ice.scheduler import Scheduler
from tests.ice.builders import local, remote

TA = 1 / 16


class Party:
    """One component: a checklist of a set with a scheduler of its own."""

    def __init__(self, together: ChecklistSet, base: int, *foundations: str, component: int = 1) -> None:
        self.checklist = CheckList(100, together)
        self.scheduler = Scheduler(IceConfig(ta=TA), self.checklist)
        self.local = replace(local(base), component=component)
        self.pairs: list[CandidatePair] = []
        self.form(*foundations)
        together.join(self.checklist)

    def form(self, *foundations: str) -> None:
        for foundation in foundations:
            n = len(self.pairs)
            theirs = remote(1 + n, foundation, 1000 - n, port=self.local.base.port + self.local.component)
            pair = self.checklist.form(self.local, theirs, Role.CONTROLLING)
            if pair is not None:
                self.pairs.append(pair)

    def take(self, now: float) -> CandidatePair | None:
        pair = self.scheduler.next_pair(now)
        if pair is not None:
            self.checklist.set_state(pair, PairState.IN_PROGRESS)
            pair.last_check_at = now
        return pair

    @property
    def states(self) -> list[PairState]:
        return [pair.state for pair in self.pairs]


def test_one_pair_of_a_foundation_waits_in_the_whole_set() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "f", "g"), Party(together, 2, "f", "h")
    assert first.states == [PairState.WAITING, PairState.WAITING]
    assert second.states == [PairState.FROZEN, PairState.WAITING]


def test_a_success_thaws_its_foundation_in_every_checklist() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "f"), Party(together, 2, "f")
    third = Party(together, 3, "f")
    first.checklist.succeed(first.pairs[0])
    assert second.states == third.states == [PairState.WAITING]
    late = Party(together, 4, "f")
    assert late.states == [PairState.WAITING]


def test_of_a_foundation_the_lowest_component_waits_whichever_came_first() -> None:
    together = ChecklistSet(TA)
    second, first = Party(together, 2, component=2), Party(together, 1)
    second.form("f")
    assert second.states == [PairState.WAITING]
    first.form("f")
    assert (first.states, second.states) == ([PairState.WAITING], [PairState.FROZEN])
    second.form("f")
    assert second.states == [PairState.FROZEN, PairState.FROZEN]


def test_a_pair_that_is_being_checked_stays_the_one_of_its_foundation() -> None:
    together = ChecklistSet(TA)
    second, first = Party(together, 2, "f", component=2), Party(together, 1)
    second.take(0.0)
    first.form("f")
    assert (first.states, second.states) == ([PairState.FROZEN], [PairState.IN_PROGRESS])


def test_the_limit_of_pairs_is_shared_evenly() -> None:
    together = ChecklistSet(TA)
    parties = [Party(together, base) for base in (1, 2, 3)]
    for party in parties:
        party.form(*(str(n) for n in range(50)))
    assert [len(party.checklist) for party in parties] == [33, 33, 33]


def test_the_slots_of_ta_go_round_the_checklists() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "a", "b", "c"), Party(together, 2, "d", "e")
    assert first.take(0.0) is first.pairs[0]
    assert second.take(0.0) is None
    assert first.take(TA) is None  # It is the other's turn.
    assert first.scheduler.next_timeout() == 2 * TA
    assert second.scheduler.next_timeout() == TA
    assert second.take(TA) is second.pairs[0]
    assert first.take(2 * TA) is first.pairs[1]
    assert second.take(3 * TA) is second.pairs[1]
    assert first.take(4 * TA) is first.pairs[2]


def test_a_checklist_with_nothing_to_check_gives_up_its_turn() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "a", "b"), Party(together, 2)
    assert first.take(0.0) is first.pairs[0]
    assert second.take(TA) is None
    assert first.take(TA) is first.pairs[1]


def test_what_fails_everywhere_lets_the_next_of_its_foundation_be_checked_elsewhere() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "f"), Party(together, 2, "f")
    first.take(0.0)
    assert second.scheduler.next_timeout() is None
    first.checklist.fail(first.pairs[0])
    assert second.take(TA) is second.pairs[0]


def test_the_retransmission_timeout_counts_the_whole_set() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "a", "b"), Party(together, 2, "c")
    assert first.checklist.count_running() == second.checklist.count_running() == 2 * 3


def test_the_slower_pace_of_both_is_kept_but_none_that_stops_us() -> None:
    together = ChecklistSet(0.05)
    for proposed, pace in ((0.02, 0.05), (0.2, 0.2), (0.05, 0.2), (1e7, 1.0)):
        together.agree(proposed, 1.0)
        assert together.ta == pace


def test_a_checklist_that_disbands_holds_nobody_up() -> None:
    together = ChecklistSet(TA)
    first, second = Party(together, 1, "f", "g"), Party(together, 2, "f")
    first.checklist.disband()
    assert len(together) == 1
    assert len(first.checklist) == 0
    assert second.take(0.0) is second.pairs[0]
    assert second.checklist.count_running() == 1
