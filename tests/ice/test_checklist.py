from __future__ import annotations

import pytest

from ice.checklist import CheckList
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from stun.nothing import NO_ENTRIES
from tests.ice.builders import local, remote

C = Role.CONTROLLING


def states(checklist: CheckList) -> list[PairState]:
    return [pair.state for pair in checklist]


def test_pairs_are_kept_best_first() -> None:
    checklist = CheckList(100)
    for preference in (5, 9, 1, 7):
        checklist.form(local(1), remote(preference, f"R{preference}", preference), C)
    priorities = [pair.priority for pair in checklist]
    assert priorities == sorted(priorities, reverse=True)
    assert len(checklist) == 4


def test_one_pair_of_each_foundation_waits_and_the_best_one() -> None:
    # RFC 8445 section 6.1.2.6, with the better pair coming later as trickle has it.
    checklist = CheckList(100)
    low = checklist.form(local(1), remote(1, "same", 10), C)
    high = checklist.form(local(1), remote(2, "same", 20), C)
    other = checklist.form(local(1), remote(3, "other", 1), C)
    assert low is not None
    assert high is not None
    assert other is not None
    assert (low.state, high.state, other.state) == (PairState.FROZEN, PairState.WAITING, PairState.WAITING)


def test_a_redundant_pair_is_pruned() -> None:
    checklist = CheckList(100)
    assert checklist.form(local(1), remote(1), C) is not None
    assert checklist.form(local(1), remote(1), C) is None
    assert len(checklist) == 1
    assert checklist.trimmed == 0


def test_a_new_pair_stays_frozen_behind_a_running_one_of_its_foundation() -> None:
    checklist = CheckList(100)
    running = checklist.form(local(1), remote(1, "same", 10), C)
    assert running is not None
    checklist.set_state(running, PairState.IN_PROGRESS)
    later = checklist.form(local(1), remote(2, "same", 20), C)
    assert later is not None
    assert later.state is PairState.FROZEN
    assert checklist.next_ordinary() is None
    assert not checklist.has_ordinary


def test_success_thaws_the_foundation_and_later_pairs_of_it_wait_at_once() -> None:
    checklist = CheckList(100)
    first = checklist.form(local(1), remote(1, "same", 30), C)
    frozen = checklist.form(local(1), remote(2, "same", 20), C)
    foreign = checklist.form(local(2, "L2"), remote(2, "same", 20), C)
    assert first is not None
    assert frozen is not None
    assert foreign is not None
    checklist.set_state(first, PairState.IN_PROGRESS)
    checklist.succeed(first)
    assert frozen.state is PairState.WAITING
    late = checklist.form(local(1), remote(3, "same", 10), C)
    assert late is not None
    assert late.state is PairState.WAITING


def test_failure_lets_the_next_of_the_foundation_go() -> None:
    # RFC 8445 section 6.1.4.2: nothing waits, so the best frozen pair of each idle foundation is thawed.
    checklist = CheckList(100)
    pairs = [checklist.form(local(1), remote(number, "same", number), C) for number in (3, 2, 1)]
    assert None not in pairs
    leader = checklist.next_ordinary()
    assert leader is pairs[0]
    checklist.set_state(leader, PairState.IN_PROGRESS)
    checklist.fail(leader)
    assert checklist.has_ordinary
    assert checklist.next_ordinary() is pairs[1]
    assert states(checklist) == [PairState.FAILED, PairState.WAITING, PairState.FROZEN]


def test_the_limit_keeps_the_best() -> None:
    checklist = CheckList(10)
    for number in range(50):
        checklist.form(local(1), remote(number, f"R{number}", 1000 + number), C)
    assert len(checklist) == 10
    assert checklist.trimmed == 40
    assert sorted(pair.remote.foundation for pair in checklist) == [f"R{number}" for number in range(40, 50)]
    assert checklist.form(local(1), remote(99, "low", 1), C) is None
    assert checklist.trimmed == 41


def test_failed_pairs_make_room_first_and_running_ones_never() -> None:
    # RFC 8838 section 10
    checklist = CheckList(3)
    top = checklist.form(local(1), remote(1, "1", 100), C)
    middle = checklist.form(local(1), remote(2, "2", 90), C)
    lowest = checklist.form(local(1), remote(3, "3", 80), C)
    assert top is not None
    assert middle is not None
    assert lowest is not None
    checklist.set_state(lowest, PairState.IN_PROGRESS)
    checklist.fail(top)
    checklist.form(local(1), remote(4, "4", 85), C)
    assert [pair.remote.foundation for pair in checklist] == ["2", "4", "3"]
    checklist.form(local(1), remote(5, "5", 95), C)
    assert [pair.remote.foundation for pair in checklist] == ["5", "2", "3"]
    for pair in list(checklist):
        checklist.set_state(pair, PairState.IN_PROGRESS)
    assert checklist.form(local(1), remote(6, "6", 99), C) is None


def test_a_triggered_pair_is_not_trimmed() -> None:
    checklist = CheckList(1)
    pair = checklist.form(local(1), remote(1, "1", 10), C)
    assert pair is not None
    checklist.trigger(pair)
    assert checklist.form(local(1), remote(2, "2", 20), C) is None
    assert list(checklist) == [pair]


def test_a_pair_that_the_peer_reached_us_on_takes_the_place_of_an_untried_one() -> None:
    checklist = CheckList(2)
    high = checklist.form(local(1), remote(1, "1", 90), C)
    low = checklist.form(local(1), remote(2, "2", 80), C)
    assert high is not None
    assert low is not None
    checklist.set_state(low, PairState.IN_PROGRESS)
    reached = checklist.form_reached(local(1), remote(3, "3", 1), C)
    assert list(checklist) == [low, reached]
    checklist.trigger(low)
    assert reached is not None
    checklist.set_state(reached, PairState.IN_PROGRESS)
    assert checklist.form_reached(local(1), remote(4, "4", 99), C) is None


def test_the_triggered_queue_is_first_in_first_out_and_has_each_pair_once() -> None:
    checklist = CheckList(100)
    low = checklist.form(local(1), remote(1, "1", 10), C)
    high = checklist.form(local(1), remote(2, "2", 20), C)
    assert low is not None
    assert high is not None
    for pair in (low, high, low):
        checklist.trigger(pair)
    assert list(checklist.triggered.values()) == [low, high]
    assert not checklist.has_ordinary
    checklist.succeed(low)
    assert list(checklist.triggered.values()) == [high]


def test_a_signalled_candidate_takes_over_and_the_list_is_sorted_again() -> None:
    # RFC 8838 section 11
    checklist = CheckList(100)
    learned = remote(1, "prflx", 10)
    pair = checklist.form(local(1), learned, C)
    best = checklist.form(local(1), remote(2, "2", 20), C)
    assert pair is not None
    assert best is not None
    checklist.set_state(pair, PairState.IN_PROGRESS)
    signalled = remote(1, "signalled", 30)
    checklist.replace_remote(learned, signalled, C)
    assert list(checklist) == [pair, best]
    assert pair.remote is signalled
    assert pair.foundation == ("L", "signalled")
    assert pair.state is PairState.IN_PROGRESS
    assert checklist.count_running() == 2
    checklist.fail(pair)
    assert checklist.count_running() == 1


def test_a_role_change_recomputes_priorities() -> None:
    checklist = CheckList(100)
    pair = checklist.form(local(1, preference=5), remote(1, preference=9), C)
    assert pair is not None
    before = pair.priority
    checklist.reprioritise(Role.CONTROLLED)
    assert pair.priority == before + 1  # The bit for G > D.


def test_concluding_drops_what_is_open_but_for_what_is_kept() -> None:
    checklist = CheckList(100)
    done, open_, kept = (
        checklist.form(local(1), remote(number, str(number), preference), C)
        for number, preference in ((1, 50), (2, 60), (3, 70))
    )
    assert done is not None
    assert open_ is not None
    checklist.succeed(done)
    checklist.conclude(lambda pair: pair is kept)
    assert list(checklist) == [kept, done]
    assert checklist.find(open_.path) is None
    assert checklist.count_running() == 1
    checklist.drop(open_)
    checklist.drop(done)
    assert list(checklist) == [kept]


def test_exhausted_is_when_nothing_is_open_or_valid() -> None:
    checklist = CheckList(100)
    assert checklist.is_exhausted
    pair = checklist.form(local(1), remote(1), C)
    assert pair is not None
    assert not checklist.is_exhausted
    checklist.succeed(pair)
    checklist.add_valid(pair)
    assert not checklist.is_exhausted
    checklist.fail(pair)
    assert checklist.is_exhausted
    assert not checklist.valid


def test_the_books_stay_right_under_a_thousand_candidates() -> None:
    checklist = CheckList(100)
    for number in range(1000):
        checklist.form(local(1), remote(number % 250, f"R{number % 30}", number, port=1 + number), C)
        if number % 7 == 0 and (pair := checklist.next_ordinary()) is not None:
            checklist.set_state(pair, PairState.IN_PROGRESS)
        if number % 13 == 0:
            for pair in checklist:
                if pair.state is PairState.IN_PROGRESS:
                    checklist.fail(pair)
                    break
    running = [pair for pair in checklist if pair.state in (PairState.WAITING, PairState.IN_PROGRESS)]
    assert checklist.count_running() == len(running)
    assert len(checklist) == 100


def test_a_pair_needs_a_base_and_an_address() -> None:
    with pytest.raises(ValueError, match="base"):
        CandidatePair(remote(1), remote(2), C)


def test_the_valid_list_has_one_pair_for_each_path() -> None:
    checklist = CheckList(100)
    one, two = (checklist.form(local(1), remote(number), C) for number in (1, 2))
    assert one is not None
    assert two is not None
    for pair in (one, two, one):
        checklist.add_valid(pair)
    assert checklist.valid == (one, two)
    again = CandidatePair(local(1, preference=1), remote(1), C)
    checklist.add_valid(again)
    assert checklist.valid == (again, two)
    checklist.fail(one)
    assert checklist.valid == (two,)
    checklist.drop(two)
    assert checklist.valid == ()


def test_an_emptied_queue_of_triggered_checks_takes_no_room() -> None:
    checklist = CheckList(100)
    pair = checklist.form(local(1), remote(1), C)
    assert pair is not None
    checklist.trigger(pair)
    checklist.succeed(pair)
    checklist.conclude(lambda pair: False)
    assert checklist.triggered is NO_ENTRIES
    checklist.trigger(pair)
    assert list(checklist.triggered.values()) == [pair]
