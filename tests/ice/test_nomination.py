from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ice.candidate import Base, CandidateType, TcpType
from ice.checklist import CheckList
from ice.config import IceConfig
from ice.local import LocalCandidates
from ice.nomination import Nomination
from ice.pair import CandidatePair, PairState
from ice.relay import RelayTarget
from ice.roles import Role
from stun.address import TransportAddress, TransportProtocol
from tests.ice.builders import address, local, remote


def nominates(config: IceConfig) -> Nomination:
    return Nomination(config, LocalCandidates(config))


def setup(*preferences: int) -> tuple[Nomination, CheckList, list[CandidatePair]]:
    checklist = CheckList(100)
    pairs = [
        checklist.form(local(1), remote(number, str(number), preference), Role.CONTROLLING)
        for number, preference in enumerate(preferences)
    ]
    return nominates(IceConfig(nomination_patience=0.2)), checklist, [one for one in pairs if one is not None]


def succeed(nomination: Nomination, checklist: CheckList, one: CandidatePair, now: float) -> None:
    checklist.succeed(one)
    checklist.add_valid(one)
    nomination.note_valid(now)


def test_nothing_is_chosen_without_a_valid_pair() -> None:
    nomination, checklist, _ = setup(1, 2)
    assert nomination.choose(checklist, 100.0) is None
    assert nomination.next_timeout() is None


def test_the_best_pair_is_nominated_at_once() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    succeed(nomination, checklist, high, 0.0)
    assert nomination.choose(checklist, 0.0) is high
    assert low.state.is_open


def test_a_better_open_pair_is_waited_for_but_not_for_ever() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    succeed(nomination, checklist, low, 1.0)
    assert nomination.choose(checklist, 1.0) is None
    assert nomination.next_timeout() == 1.2
    assert nomination.choose(checklist, 1.19) is None
    assert nomination.choose(checklist, 1.2) is low
    assert high.state.is_open


def in_progress(checklist: CheckList, one: CandidatePair, now: float) -> None:
    checklist.set_state(one, PairState.IN_PROGRESS)
    one.last_check_at = now


def test_a_better_pair_whose_turn_comes_after_the_patience_is_not_waited_for() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    succeed(nomination, checklist, low, 1.0)
    high.recheck_at = 1.19
    assert nomination.choose(checklist, 1.0) is None
    high.recheck_at = 1.21
    assert nomination.choose(checklist, 1.0) is low


def test_a_better_pair_whose_answer_is_overdue_is_waited_for_no_longer() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    in_progress(checklist, high, 1.0)
    low.round_trip_time = 0.01
    succeed(nomination, checklist, low, 1.06)
    assert nomination.choose(checklist, 1.06) is None
    assert nomination.next_timeout() == 1.1  # answer_patience
    assert nomination.choose(checklist, 1.1) is low


def test_by_a_relay_only_when_direct_pairs_have_had_their_time() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    low.remote = replace(low.remote, type=CandidateType.RELAYED)
    in_progress(checklist, high, 1.0)
    low.round_trip_time = 0.01
    succeed(nomination, checklist, low, 1.06)
    assert nomination.choose(checklist, 1.5) is None
    assert nomination.next_timeout() == pytest.approx(1.56)  # relay_patience
    assert nomination.choose(checklist, 1.57) is low


def by_the_lesser_of_two_relays() -> tuple[Nomination, CheckList, CandidatePair, Callable[[], None]]:
    """Return also what answers for the better relay, which has been asked to let the peer in."""
    candidates, checklist, there = LocalCandidates(IceConfig()), CheckList(100), remote(1)
    target = RelayTarget(TransportAddress("192.0.2.9", 3478), TransportProtocol.UDP)
    better, lesser = (
        candidates.add_relayed(TransportAddress("192.0.2.9", port), address(1), target)[0] for port in (5000, 6000)
    )
    candidates.ask(Base(better.address), there.address.host)
    only = checklist.form(lesser, there, Role.CONTROLLING)
    assert only is not None
    nomination = Nomination(IceConfig(nomination_patience=0.2), candidates)
    return nomination, checklist, only, lambda: candidates.forbid(Base(better.address), there.address.host)


def test_a_better_relay_that_has_yet_to_let_the_peer_in_is_waited_for_but_not_for_ever() -> None:
    nomination, checklist, only, _ = by_the_lesser_of_two_relays()
    succeed(nomination, checklist, only, 1.0)
    assert nomination.choose(checklist, 1.0) is None
    assert nomination.next_timeout() == 1.2
    assert nomination.choose(checklist, 1.2) is only


def test_its_answer_ends_the_waiting() -> None:
    nomination, checklist, only, answer = by_the_lesser_of_two_relays()
    succeed(nomination, checklist, only, 1.0)
    assert nomination.choose(checklist, 1.0) is None
    answer()
    assert nomination.choose(checklist, 1.05) is only


def test_one_relay_waits_for_another_no_longer_than_usual() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    for one in (low, high):
        one.remote = replace(one.remote, type=CandidateType.RELAYED)
    in_progress(checklist, high, 1.0)
    low.round_trip_time = 0.01
    succeed(nomination, checklist, low, 1.06)
    assert nomination.choose(checklist, 1.1) is low


def test_a_slow_round_trip_gives_the_better_pair_twice_its_time() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    in_progress(checklist, high, 1.0)
    low.round_trip_time = 0.08
    succeed(nomination, checklist, low, 1.08)
    assert nomination.choose(checklist, 1.15) is None
    assert nomination.next_timeout() == 1.16


def test_an_unknown_round_trip_and_an_unchecked_pair_have_the_whole_patience() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    in_progress(checklist, high, 1.0)
    succeed(nomination, checklist, low, 1.0)
    assert nomination.choose(checklist, 1.19) is None
    nomination, checklist, (low, middle, high) = setup(1, 5, 9)
    in_progress(checklist, middle, 0.0)
    low.round_trip_time = 0.01
    succeed(nomination, checklist, low, 1.0)
    assert nomination.choose(checklist, 1.0) is None
    assert nomination.next_timeout() == 1.2
    assert high.state is PairState.WAITING


def test_a_pair_is_not_held_up_because_a_nat_lowered_its_priority() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    reflexive = replace(high.local, type=CandidateType.SERVER_REFLEXIVE, priority=100)
    valid = CandidatePair(reflexive, high.remote, Role.CONTROLLING)
    assert valid.priority < low.priority
    checklist.succeed(high)
    checklist.add_valid(valid)
    nomination.note_valid(0.0)
    assert nomination.choose(checklist, 0.0) is valid


def test_a_better_pair_that_succeeds_meanwhile_is_taken() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    succeed(nomination, checklist, low, 1.0)
    succeed(nomination, checklist, high, 1.1)
    assert nomination.choose(checklist, 1.1) is high


def test_a_better_pair_that_fails_is_waited_for_no_longer() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    succeed(nomination, checklist, low, 1.0)
    checklist.fail(high)
    assert nomination.choose(checklist, 1.0) is low


def test_there_is_one_nomination_only() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    succeed(nomination, checklist, low, 0.0)
    assert nomination.choose(checklist, 5.0) is low
    succeed(nomination, checklist, high, 6.0)
    assert nomination.choose(checklist, 6.0) is None
    assert nomination.next_timeout() is None
    nomination.reset()
    assert nomination.choose(checklist, 6.0) is high


# -- with the first check --


def set_relayed(one: CandidatePair) -> None:
    one.remote = replace(one.remote, type=CandidateType.RELAYED)


def test_the_best_pair_goes_ahead_and_no_other() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    assert not nomination.goes_ahead(low, checklist, True)
    assert nomination.goes_ahead(high, checklist, True)
    assert nomination.ahead is high
    assert nomination.goes_ahead(high, checklist, True), "also when it is checked again"
    assert not nomination.goes_ahead(low, checklist, True)


def test_a_better_pair_does_not_as_long_as_the_first_may_succeed() -> None:
    for state in (PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS):
        nomination, checklist, (first,) = setup(1)
        assert nomination.goes_ahead(first, checklist, True)
        checklist.set_state(first, state)
        better = checklist.form(local(1), remote(9, "9", 9), Role.CONTROLLING)
        assert better is not None
        assert not nomination.goes_ahead(better, checklist, True)
        assert nomination.ahead is first


def test_when_the_first_has_failed_a_better_one_does_and_a_worse_one_does_not() -> None:
    nomination, checklist, (low, middle) = setup(1, 5)
    assert nomination.goes_ahead(middle, checklist, True)
    checklist.fail(middle)
    assert not nomination.goes_ahead(low, checklist, True)
    better = checklist.form(local(1), remote(9, "9", 9), Role.CONTROLLING)
    assert better is not None
    assert nomination.goes_ahead(better, checklist, True)


def test_a_pair_that_was_dropped_holds_up_no_other() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    assert nomination.goes_ahead(high, checklist, True)
    checklist.set_state(high, PairState.IN_PROGRESS)
    checklist.drop(high)
    assert nomination.goes_ahead(low, checklist, True)


def test_by_a_lesser_relay_of_ours_it_goes_ahead_when_the_better_one_has_answered() -> None:
    nomination, checklist, only, answer = by_the_lesser_of_two_relays()
    assert not nomination.goes_ahead(only, checklist, True)
    answer()
    assert nomination.goes_ahead(only, checklist, True)


def test_by_a_relay_it_goes_ahead_when_no_candidates_are_to_come() -> None:
    nomination, checklist, (only,) = setup(1)
    set_relayed(only)
    assert not nomination.goes_ahead(only, checklist, False)
    assert nomination.ahead is None
    assert nomination.goes_ahead(only, checklist, True)
    nomination, checklist, (direct,) = setup(1)
    assert nomination.goes_ahead(direct, checklist, False)


def test_over_tcp_it_does_not() -> None:
    # RFC 6544 section 8
    checklist = CheckList(100)
    ours = replace(local(1), transport="tcp", tcp_type=TcpType.ACTIVE)
    theirs = replace(remote(1), transport="tcp", tcp_type=TcpType.PASSIVE)
    over_tcp = checklist.form(ours, theirs, Role.CONTROLLING)
    assert over_tcp is not None
    assert checklist.best is over_tcp
    assert not nominates(IceConfig()).goes_ahead(over_tcp, checklist, True)


def test_a_pair_that_has_answered_does_not() -> None:
    nomination, checklist, (only,) = setup(1)
    succeed(nomination, checklist, only, 0.0)
    only.valid = only
    assert not nomination.goes_ahead(only, checklist, True)
    assert nomination.choose(checklist, 0.0) is only


def test_when_a_valid_pair_was_chosen_nothing_goes_ahead_and_what_did_is_overtaken() -> None:
    nomination, checklist, (low, high) = setup(1, 9)
    assert nomination.goes_ahead(high, checklist, True)
    succeed(nomination, checklist, low, 1.0)
    assert not nomination.is_overtaken(high)
    assert nomination.choose(checklist, 1.2) is low
    assert nomination.is_overtaken(high)
    assert not nomination.is_overtaken(low)
    assert not nomination.goes_ahead(high, checklist, True)
    nomination.reset()
    assert not nomination.is_overtaken(high)
    assert nomination.goes_ahead(high, checklist, True)


def test_in_another_role_nothing_is_ahead() -> None:
    nomination, checklist, (only,) = setup(1)
    assert nomination.goes_ahead(only, checklist, True)
    nomination.reset()
    assert nomination.ahead is None


def test_another_try_waits_for_its_time_unless_all_is_begun_anew() -> None:
    nomination, checklist, (only,) = setup(1)
    succeed(nomination, checklist, only, 1.0)
    assert nomination.choose(checklist, 1.0) is only
    nomination.try_again(3.0)
    assert nomination.choose(checklist, 2.9) is None
    assert nomination.next_timeout() == 3.0
    nomination.reset()
    assert nomination.choose(checklist, 2.9) is only
