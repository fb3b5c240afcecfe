from __future__ import annotations

import pytest

from ice.checklist import CheckList
from ice.config import IceConfig
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from ice.scheduler import Scheduler
from tests.ice.builders import local, remote


def setup(count: int) -> tuple[Scheduler, CheckList, list[CandidatePair]]:
    checklist = CheckList(100)
    pairs = [checklist.form(local(1), remote(n, str(n), 100 - n), Role.CONTROLLING) for n in range(count)]
    return Scheduler(IceConfig(), checklist), checklist, [pair for pair in pairs if pair is not None]


def take(scheduler: Scheduler, checklist: CheckList, now: float) -> CandidatePair | None:
    pair = scheduler.next_pair(now)
    if pair is not None:
        checklist.set_state(pair, PairState.IN_PROGRESS)
        pair.last_check_at = now
    return pair


def test_the_first_check_goes_at_once_and_the_others_one_each_ta() -> None:
    scheduler, checklist, pairs = setup(3)
    assert take(scheduler, checklist, 7.0) is pairs[0]
    assert take(scheduler, checklist, 7.0) is None
    assert scheduler.next_timeout() == pytest.approx(7.05)
    assert take(scheduler, checklist, 7.04) is None
    assert take(scheduler, checklist, 7.05) is pairs[1]
    assert take(scheduler, checklist, 7.10) is pairs[2]
    assert scheduler.next_timeout() is None
    assert take(scheduler, checklist, 8.0) is None


def test_triggered_checks_go_first_and_promptly() -> None:
    scheduler, checklist, pairs = setup(3)
    assert take(scheduler, checklist, 0.0) is pairs[0]
    checklist.trigger(pairs[2])
    checklist.trigger(pairs[1])
    assert scheduler.next_timeout() == pytest.approx(0.005)
    assert take(scheduler, checklist, 0.005) is pairs[2]
    assert take(scheduler, checklist, 0.005) is None
    assert take(scheduler, checklist, 0.010) is pairs[1]
    assert not checklist.triggered


def test_an_ordinary_check_keeps_its_distance_from_a_triggered_one() -> None:
    scheduler, checklist, pairs = setup(3)
    checklist.trigger(pairs[2])
    assert take(scheduler, checklist, 0.0) is pairs[2]
    assert take(scheduler, checklist, 0.049) is None
    assert take(scheduler, checklist, 0.05) is pairs[0]


def test_a_pair_just_checked_waits_for_its_answer_before_it_is_checked_again() -> None:
    scheduler, checklist, pairs = setup(1)
    assert take(scheduler, checklist, 0.0) is pairs[0]
    checklist.trigger(pairs[0])
    assert take(scheduler, checklist, 0.01) is None
    assert scheduler.next_timeout() == pytest.approx(0.05)
    assert take(scheduler, checklist, 0.05) is pairs[0]


def test_a_waiting_retry_does_not_hold_up_another_triggered_pair() -> None:
    scheduler, checklist, pairs = setup(2)
    assert take(scheduler, checklist, 0.0) is pairs[0]
    checklist.trigger(pairs[0])
    checklist.trigger(pairs[1])
    assert take(scheduler, checklist, 0.005) is pairs[1]
