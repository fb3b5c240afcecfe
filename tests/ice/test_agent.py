"""Two agents on an instant wire: who sends what, how often, and what they end on."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ice.agent import Agent
from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason, IceError
from ice.events import PairSelected, State, StateChanged
from ice.life_config import UpgradeConfig
from ice.responder import Responder
from ice.roles import Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import parse
from tests.ice.builders import request
from tests.ice.stepper import (
    A6,
    B6,
    A,
    B,
    Side,
    Wire,
    connected,
    describe,
    exchange,
    pair_of_sides,
    sides,
    tell_candidates,
)

STRANGER = TransportAddress("203.0.113.66", 666)
THEIRS = Description("theirs", "their-password-their-password")


# -- the whole trip --


def test_two_hosts_connect_with_four_messages_and_no_waiting() -> None:
    a, b, wire = sides()
    exchange(a, b)
    wire.run(until=0.0)
    connected(a, b)
    assert [
        (message.message_class.name, att.USE_CANDIDATE in message, path.local) for _, message, path in wire.log
    ] == [
        ("REQUEST", True, A),
        ("REQUEST", False, B),
        ("SUCCESS", False, B),
        ("SUCCESS", False, A),
    ]


def test_towards_a_peer_that_does_not_know_renomination_it_takes_six() -> None:
    a, b, wire = pair_of_sides(upgrade=UpgradeConfig(renomination=False))
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
    assert len(wire.log) == 4


def test_the_other_family_is_used_when_the_better_one_is_dead() -> None:
    a, b = Side(Role.CONTROLLING, A, A6), Side(Role.CONTROLLED, B, B6, seed=2)
    wire = Wire(a, b)
    wire.passes = lambda data, path: path.remote.family == 4
    exchange(a, b)
    wire.run(until=1.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)
    nominations = [(at, path.local) for at, message, path in wire.log if att.USE_CANDIDATE in message]
    assert [local for _, local in nominations[:2]] == [A6, A]
    assert nominations[1][0] == pytest.approx(IceConfig().answer_patience)


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
    assert len(wire.log) == 4


# -- checks that come first --


def test_a_check_before_the_description_is_answered_and_processed_later() -> None:
    # RFC 8445 section 7.3; the whole trip still takes four messages.
    a, b, wire = sides()
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b)
    wire.run(until=0.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.state is State.NEW
    assert b.agent.selected_pair is None
    assert [message.message_class.name for _, message, _ in wire.log] == ["REQUEST", "SUCCESS"]
    b.agent.set_remote_description(a.agent.local_description, 3.0)
    wire.now = 3.0
    wire.run(until=3.0)
    assert b.agent.selected_path == FiveTuple(B, A)
    assert b.agent.selected_pair is not None
    assert b.agent.selected_pair.remote.type is CandidateType.PEER_REFLEXIVE
    assert len(wire.log) == 4


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


# -- roles --


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


# -- misuse and the end --


def test_misuse_raises() -> None:
    a, _, _ = sides()
    with pytest.raises(IceError):
        a.agent.add_local_base(A, 0.0)
    a.agent.close(0.0)
    with pytest.raises(IceError):
        a.agent.restart(0.0)
    crowded = Agent(IceConfig(max_local_bases=1), Role.CONTROLLING, rng=random.Random(1))
    crowded.add_local_base(A, 0.0)
    with pytest.raises(IceError):
        crowded.add_local_base(B, 0.0)


def test_closing_is_final_and_quiet() -> None:
    a, b, wire = sides()
    exchange(a, b)
    a.agent.close(0.0)
    a.agent.close(0.0)
    a.drain_events()
    assert a.events[-1] == StateChanged(State.CHECKING, State.CLOSED, FailureReason.CLOSED)
    assert a.agent.next_effect() is None
    assert a.agent.next_timeout() is None
    a.agent.set_remote_description(THEIRS, 1.0)
    a.agent.add_remote_candidate(b.candidates[0], 1.0)
    a.agent.end_of_remote_candidates(1.0)
    a.agent.gather([], 1.0)
    a.agent.handle_timeout(1.0)
    a.agent.revoke_consent(1.0)
    a.agent.receive_datagram(request("x:y", "p" * 22), FiveTuple(A, B), 1.0)
    assert a.agent.next_effect() is None
    assert a.agent.next_event() is None
    assert a.agent.failure_reason is FailureReason.CLOSED
    wire.run(until=70.0)
    assert b.agent.failure_reason is FailureReason.CHECKS_FAILED


def test_an_agent_that_never_gathered_can_be_closed() -> None:
    agent = Agent(IceConfig(), Role.CONTROLLING, rng=random.Random(1))
    agent.close(0.0)
    assert agent.next_event() == StateChanged(State.NEW, State.CLOSED, FailureReason.CLOSED)
