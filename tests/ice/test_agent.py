"""Two agents on an instant wire: who sends what, how often, and what they end on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.description import Description
from ice.errors import IceError
from ice.events import PairSelected, RoleChanged, State, StateChanged
from ice.pair import PairState
from ice.responder import Responder
from ice.roles import Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import parse
from tests.ice.builders import request
from tests.ice.stepper import A6, B6, A, B, Side, Wire, describe, exchange, tell_candidates

STRANGER = TransportAddress("203.0.113.66", 666)
THEIRS = Description("theirs", "their-password-their-password")


def sides(a_role: Role = Role.CONTROLLING, b_role: Role = Role.CONTROLLED) -> tuple[Side, Side, Wire]:
    a, b = Side(a_role, A), Side(b_role, B, seed=2)
    return a, b, Wire(a, b)


def connected(a: Side, b: Side) -> None:
    assert a.agent.state is State.COMPLETED
    assert b.agent.state is State.COMPLETED
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)


# -- the whole trip --


def test_two_hosts_connect_with_six_messages_and_no_waiting() -> None:
    a, b, wire = sides()
    exchange(a, b)
    wire.run(until=0.0)
    connected(a, b)
    assert [
        (message.message_class.name, att.USE_CANDIDATE in message, path.local) for _, message, path in wire.log
    ] == [
        ("REQUEST", False, A),
        ("REQUEST", False, B),
        ("SUCCESS", False, B),
        ("SUCCESS", False, A),
        ("REQUEST", True, A),
        ("SUCCESS", False, B),
    ]


def test_what_the_application_is_told() -> None:
    a, b, wire = sides()
    exchange(a, b)
    wire.run(until=0.0)
    for side in (a, b):
        changes = side.of_type(StateChanged)
        assert [change.new for change in changes] == [State.CHECKING, State.COMPLETED]
        [selected] = side.of_type(PairSelected)
        assert selected.pair is side.agent.selected_pair
        assert selected.pair.nominated
        assert side.has_gathered


def test_two_families_are_raced_and_the_better_one_is_used() -> None:
    a, b = Side(Role.CONTROLLING, A, A6), Side(Role.CONTROLLED, B, B6, seed=2)
    wire = Wire(a, b)
    exchange(a, b)
    wire.run(until=0.0)
    assert a.agent.selected_path == FiveTuple(A6, B6)
    assert len(wire.log) == 6


def test_the_other_family_is_used_when_the_better_one_is_dead() -> None:
    a, b = Side(Role.CONTROLLING, A, A6), Side(Role.CONTROLLED, B, B6, seed=2)
    wire = Wire(a, b)
    wire.passes = lambda data, path: path.remote.family == 4
    exchange(a, b)
    wire.run(until=1.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)
    nomination = next(at for at, message, _ in wire.log if att.USE_CANDIDATE in message)
    assert nomination == pytest.approx(IceConfig().answer_patience)


def test_connected_becomes_completed_with_the_end_of_candidates() -> None:
    a, b, wire = sides()
    describe(a, b)
    tell_candidates(a, b, end=False)
    tell_candidates(b, a, end=False)
    wire.run(until=0.0)
    assert (a.agent.state, b.agent.state) == (State.CONNECTED, State.CONNECTED)
    a.agent.end_of_remote_candidates(0.0)
    wire.flush()
    assert a.agent.state is State.COMPLETED


def test_nothing_is_sent_before_the_description() -> None:
    a, b, wire = sides()
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=5.0)
    assert wire.log == []
    assert a.agent.state is State.NEW
    describe(a, b, 5.0)
    wire.run(until=5.0)
    connected(a, b)
    assert len(wire.log) == 6


# -- checks that come first --


def test_a_check_before_the_description_is_answered_and_processed_later() -> None:
    # RFC 8445 section 7.3; the whole trip still takes six messages.
    a, b, wire = sides()
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b)
    wire.run(until=0.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.state is State.NEW
    assert b.agent.selected_pair is None
    assert [message.message_class.name for _, message, _ in wire.log] == ["REQUEST", "SUCCESS"] * 2
    b.agent.set_remote_description(a.agent.local_description, 3.0)
    wire.now = 3.0
    wire.run(until=3.0)
    assert b.agent.selected_path == FiveTuple(B, A)
    assert b.agent.selected_pair is not None
    assert b.agent.selected_pair.remote.type is CandidateType.PEER_REFLEXIVE
    assert len(wire.log) == 6


def test_a_signalled_candidate_takes_over_from_the_learned_one() -> None:
    # RFC 8838 section 11, even when the pair is in use already
    a, b, wire = sides()
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b)
    wire.run(until=0.0)
    b.agent.set_remote_description(a.agent.local_description, 0.0)
    wire.run(until=0.0)
    tell_candidates(b, a)
    pair = b.agent.selected_pair
    assert pair is not None
    assert pair.remote.type is CandidateType.HOST
    assert pair.remote.priority == a.candidates[0].priority
    assert a.agent.selected_pair is not None
    assert pair.priority == a.agent.selected_pair.priority


def test_early_checks_of_a_stranger_are_refused_and_bounded() -> None:
    b = Side(Role.CONTROLLED, B, config=IceConfig(max_early_checks=4))
    local = b.agent.local_description
    for port in range(1, 50):
        data = request(f"{local.ufrag}:theirs", local.pwd)
        b.agent.receive_datagram(data, FiveTuple(B, TransportAddress("192.0.2.1", port)), 0.0)
    b.agent.set_remote_description(THEIRS, 1.0)
    assert len(b.agent.remote_candidates) == 4
    assert b.agent.stats().dropped["check: early, too many or of another generation"] == 45


def test_an_in_progress_pair_is_checked_again_when_the_peer_checks_it() -> None:
    # RFC 8445 section 7.3.1.4: cancelled and queued again, long before the retransmission is due.
    a, b, wire = sides()
    lost: list[bytes] = []

    def first_of_a_is_lost(data: bytes, path: FiveTuple) -> bool:
        if path.local == A and not lost:
            lost.append(data)
            return False
        return True

    wire.passes = first_of_a_is_lost
    wire.delay = 0.001
    exchange(a, b)
    wire.run(until=0.2)
    connected(a, b)
    requests = [(at, message) for at, message, path in wire.log if path.local == A and message.message_class == 0]
    assert [at for at, _ in requests] == pytest.approx([0.0, 0.05, 0.052])
    assert len({message.transaction_id for _, message in requests}) == 3
    assert lost[0] not in [message.wire for _, message, _ in wire.log[2:]]


def test_a_late_answer_to_a_cancelled_check_still_counts() -> None:
    a, b, wire = sides()
    wire.delay = 0.04  # The peer's check comes at 40 ms, the answer at 80 ms; the repeated check went at 50 ms.
    exchange(a, b)
    wire.run(until=0.081)
    pair = next(iter(a.agent.stats().pairs))
    assert pair.state is PairState.SUCCEEDED
    assert pair.current_round_trip_time == pytest.approx(0.08)


def test_a_failed_pair_comes_back_when_the_peer_checks_it() -> None:
    a, b, wire = sides()
    wire.passes = lambda data, path: False
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b, end=False)
    wire.run(until=50.0)
    assert [pair.state for pair in a.agent.stats().pairs] == [PairState.FAILED]
    assert a.agent.state is State.CHECKING  # The peer may still have candidates.
    wire.passes = lambda data, path: True
    b.agent.set_remote_description(a.agent.local_description, 50.0)
    tell_candidates(b, a, 50.0)
    wire.run(until=50.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)


# -- roles --


@pytest.mark.parametrize("role", [Role.CONTROLLING, Role.CONTROLLED])
@pytest.mark.parametrize(("tie_a", "tie_b"), [(5, 5), (9, 5), (5, 9)])
def test_a_role_conflict_is_repaired(role: Role, tie_a: int, tie_b: int) -> None:
    a, b, wire = sides(role, role)
    a.agent._roles.tiebreaker, b.agent._roles.tiebreaker = tie_a, tie_b
    exchange(a, b)
    wire.run(until=2.0)
    connected(a, b)
    assert a.agent.role is b.agent.role.other
    if tie_a != tie_b:
        winner = a if tie_a > tie_b else b
        assert winner.agent.role is Role.CONTROLLING
    for side in (a, b):
        assert len(side.of_type(RoleChanged)) == side.agent.stats().role_switches


def test_a_lite_peer_makes_us_controlling() -> None:
    # RFC 8445 section 6.1.1
    b = Side(Role.CONTROLLED, B)
    b.agent.set_remote_description(Description("lite", "p" * 22, lite=True), 0.0)
    assert b.agent.role is Role.CONTROLLING


def test_a_lite_peer_that_only_answers_is_enough() -> None:
    a = Side(Role.CONTROLLED, A)
    lite = Description("lite", "lite-password-lite-password", lite=True, options=("ice2",))
    peer = Responder(lite, RoleKeeper(Role.CONTROLLED, random.Random(9)))
    a.agent.set_remote_description(lite, 0.0)
    a.agent.add_remote_candidate(replace(Side(Role.CONTROLLED, B, seed=2).candidates[0], extensions=()), 0.0)
    a.agent.end_of_remote_candidates(0.0)
    answered: list[bool] = []
    while (sent := a.agent.next_effect()) is not None:
        answer = peer.answer(parse(sent.data), FiveTuple(B, A))
        assert answer.check is not None
        answered.append(answer.check.use_candidate)
        a.agent.receive_datagram(answer.data, sent.path, 0.0)
    assert answered == [False, True]
    assert a.agent.state is State.COMPLETED


def test_the_role_can_be_set_until_the_description_is_known() -> None:
    a, b, _ = sides()
    tell_candidates(a, b)
    a.agent.role = Role.CONTROLLED
    a.agent.role = Role.CONTROLLING
    a.agent.set_remote_description(THEIRS, 0.0)
    a.agent.role = Role.CONTROLLING
    with pytest.raises(IceError):
        a.agent.role = Role.CONTROLLED


# -- addresses --


def test_an_answer_from_elsewhere_fails_the_pair() -> None:
    # RFC 8445 section 7.2.5.2.1
    a, b, wire = sides()
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b)
    wire.flush()
    [(_, check, path)] = wire.log
    b.agent.receive_datagram(check.wire, FiveTuple(B, A), 0.0)
    answer = b.agent.next_effect()
    assert answer is not None
    a.agent.receive_datagram(answer.data, FiveTuple(A, STRANGER), 0.0)
    assert [pair.state for pair in a.agent.stats().pairs] == [PairState.FAILED]
    assert not a.agent.is_valid_path(A, STRANGER)
    assert not a.agent.is_valid_path(path.local, path.remote)


def test_both_sides_learn_addresses_that_nobody_told() -> None:
    # A sits behind an address translator that nobody asked.
    outside = TransportAddress("203.0.113.9", 9999)
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    describe(a, b)
    tell_candidates(a, b)
    for _ in range(20):
        while (sent := a.agent.next_effect()) is not None:
            b.agent.receive_datagram(sent.data, FiveTuple(B, outside), 0.0)
        while (sent := b.agent.next_effect()) is not None:
            assert sent.path.remote == outside
            a.agent.receive_datagram(sent.data, FiveTuple(A, B), 0.0)
    ours, theirs = a.agent.selected_pair, b.agent.selected_pair
    assert ours is not None
    assert theirs is not None
    assert (ours.local.type, ours.local.address) == (CandidateType.PEER_REFLEXIVE, outside)
    assert (theirs.remote.type, theirs.remote.address) == (CandidateType.PEER_REFLEXIVE, outside)
    assert ours.path == FiveTuple(A, B)
    assert ours.priority == theirs.priority
    assert ours.local.priority == theirs.remote.priority


def test_data_is_accepted_from_authenticated_addresses_only() -> None:
    a, b, wire = sides()
    sources = b.agent.accepted_sources(B)
    exchange(a, b)
    assert tuple(A) not in sources
    wire.run(until=0.0)
    assert tuple(A) in sources
    assert ("192.0.2.1", 1001) in sources
    assert tuple(STRANGER) not in sources
    assert b.agent.is_valid_path(B, A)
    assert not b.agent.is_valid_path(A, B)
    b.agent.close(1.0)
    assert not sources
