"""Lite agents in virtual time: what they send, which is little, and what they end on (RFC 8445 section 2.5)."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from ice.candidate import CandidateType, TcpType
from ice.config import IceConfig, IceTransportPolicy
from ice.description import Description
from ice.errors import FailureReason, IceError
from ice.events import PairSelected, RoleChanged, State, StateChanged
from ice.life_config import UpgradeConfig
from ice.lite import LiteRoles, narrowed, role_towards
from ice.lite_config import LiteConfig
from ice.pair import PairState
from ice.portmap.config import PortmapConfig
from ice.roles import Conflict, Role
from ice.tcp import Connect
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.message import Message, MessageClass, parse
from tests.ice.builders import request
from tests.ice.stepper import A6, B6, A, B, Side, Wire, describe, exchange, tell_candidates
from turn.config import TurnServerConfig

LITE = IceConfig(lite=LiteConfig(enabled=True))
BOTH_LITE = IceConfig(lite=LiteConfig(enabled=True, unchecked_peers=True))
PRIVATE = TransportAddress("10.0.0.1", 1010)
FULL = Description("full", "full-password-full-password")


def of_requests(wire: Wire) -> list[Message]:
    return [message for _, message, _ in wire.log if message.message_class is MessageClass.REQUEST]


def full_and_lite(full: Role, lite: Role, config: IceConfig | None = None) -> tuple[Side, Side, Wire]:
    a, b = Side(full, A, config=config), Side(lite, B, seed=2, config=LITE)
    return a, b, Wire(a, b)


def check(lite: Side, source: TransportAddress, now: float, *extra: tuple[att.Attribute, object]) -> list[Message]:
    """A check of a full peer from any address; returns what the lite agent sends because of it."""
    local = lite.agent.local_description
    data = request(f"{local.ufrag}:{FULL.ufrag}", local.pwd, *extra, transaction_id=random.Random(now).randbytes(12))
    lite.agent.receive_datagram(data, FiveTuple(B, source), now)
    return sent(lite)


def sent(side: Side) -> list[Message]:
    messages = []
    while (effect := side.agent.next_effect()) is not None:
        messages.append(parse(effect.data))
    side.drain_events()
    return messages


NOMINATED = (att.USE_CANDIDATE, True)


# -- a full peer --


@pytest.mark.parametrize("lite_role", list(Role))
@pytest.mark.parametrize("full_role", list(Role))
@pytest.mark.parametrize("renominates", [True, False])
def test_two_messages_connect_a_full_and_a_lite_agent_or_four_and_the_full_one_controls(
    renominates: bool, full_role: Role, lite_role: Role
) -> None:
    config = IceConfig(upgrade=UpgradeConfig(renomination=renominates))
    a, b, wire = full_and_lite(full_role, lite_role, config)
    exchange(a, b)
    wire.run(until=0.0)
    assert (a.agent.role, b.agent.role) == (Role.CONTROLLING, Role.CONTROLLED)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert (a.agent.selected_path, b.agent.selected_path) == (FiveTuple(A, B), FiveTuple(B, A))
    check, nomination = [[("REQUEST", nominates, A), ("SUCCESS", False, B)] for nominates in (False, True)]
    assert [(m.message_class.name, att.USE_CANDIDATE in m, path.local) for _, m, path in wire.log] == (
        nomination if renominates else check + nomination
    )


def test_the_description_says_lite_and_candidates_are_hosts() -> None:
    b = Side(Role.CONTROLLED, B, B6, config=LITE)
    assert b.agent.local_description.lite
    assert {"ice2", "trickle"} <= set(b.agent.local_description.options)
    assert [(each.type, each.component) for each in b.candidates] == [(CandidateType.HOST, 1)] * 2
    assert b.has_gathered


def test_a_lite_agent_has_one_candidate_on_an_address_and_no_servers() -> None:
    b = Side(Role.CONTROLLED, B, config=LITE)
    with pytest.raises(IceError, match="one candidate"):
        b.agent.add_local_base(TransportAddress(B.host, B.port + 1), 0.0)
    turn = TurnServerConfig(url="turn:192.0.2.9", username="u", password="p")
    for wrong in (
        {"stun_servers": ["192.0.2.9"]},
        {"turn_servers": [turn]},
        {"portmap": PortmapConfig(enabled=True)},
        {"turn_servers": [turn], "transport_policy": IceTransportPolicy.RELAY},
    ):
        with pytest.raises(ValueError, match="lite"):
            IceConfig(lite=LiteConfig(enabled=True), **wrong)
    with pytest.raises(ValueError, match="settle_time"):
        LiteConfig(settle_time=-1)


def test_over_tcp_it_is_passive() -> None:
    config = narrowed(LITE)
    assert config.tcp.candidates == {TcpType.PASSIVE}
    assert not config.tcp.reflexive
    assert not config.upgrade.enabled
    assert narrowed(IceConfig()).tcp.candidates == frozenset(TcpType)


def test_a_check_before_the_description_makes_it_controlled() -> None:
    a, b, wire = full_and_lite(Role.CONTROLLING, Role.CONTROLLING)
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b)
    wire.run(until=0.0)
    assert b.agent.role is Role.CONTROLLED
    assert b.agent.state is State.NEW
    assert a.agent.selected_path == FiveTuple(A, B)
    assert [event.role for event in b.of_type(RoleChanged)] == [Role.CONTROLLED]
    b.agent.set_remote_description(a.agent.local_description, 1.0)
    assert b.agent.selected_path == FiveTuple(B, A)
    assert len(wire.log) == 2


def test_a_full_peer_that_says_controlled_is_told_that_it_is_not() -> None:
    roles = LiteRoles(Role.CONTROLLED, random.Random(1))
    for tiebreaker in (0, roles.tiebreaker, 2**64 - 1):
        assert roles.judge(Role.CONTROLLED, tiebreaker) is Conflict.REFUSE
        assert roles.judge(Role.CONTROLLING, tiebreaker) is Conflict.NONE
    roles.role = Role.CONTROLLING
    assert roles.judge(Role.CONTROLLED, 0) is Conflict.REFUSE
    assert roles.judge(Role.CONTROLLING, 2**64 - 1) is Conflict.YIELD


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [(False, True, Role.CONTROLLING), (True, False, Role.CONTROLLED), (True, True, None), (False, False, None)],
)
def test_the_role_that_descriptions_leave(role: Role, ours: bool, theirs: bool, expected: Role | None) -> None:
    assert role_towards(replace(FULL, lite=ours), replace(FULL, lite=theirs), role) is (expected or role)


def test_a_plain_check_is_answered_and_selects_nothing() -> None:
    b = Side(Role.CONTROLLED, B, config=LITE)
    b.agent.set_remote_description(FULL, 0.0)
    assert [message.message_class for message in check(b, A, 0.0)] == [MessageClass.SUCCESS]
    assert b.agent.selected_pair is None
    assert b.agent.is_valid_path(B, A)
    assert b.agent.stats().pairs[0].state is PairState.SUCCEEDED
    assert [message.message_class for message in check(b, A, 0.1, NOMINATED)] == [MessageClass.SUCCESS]
    assert b.agent.selected_path == FiveTuple(B, A)


def test_an_aggressive_peer_is_followed_to_its_best_pair() -> None:
    # RFC 5245 section 8.1.1.2: all of its checks nominate, and they arrive in any order.
    b = Side(Role.CONTROLLED, B, config=LITE)
    b.agent.set_remote_description(FULL, 0.0)
    middle, best, worst = (TransportAddress("192.0.2.1", port) for port in (1, 2, 3))
    for now, source, priority in ((0.0, middle, 200), (0.1, best, 300), (0.2, worst, 100)):
        local = b.agent.local_description
        data = request(f"{local.ufrag}:full", local.pwd, NOMINATED, priority=priority)
        b.agent.receive_datagram(data, FiveTuple(B, source), now)
    assert sent(b)
    assert [event.pair.path.remote for event in b.of_type(PairSelected)] == [middle, best]


def test_a_later_nomination_of_any_priority_moves_the_session() -> None:
    b = Side(Role.CONTROLLED, B, config=LITE)
    b.agent.set_remote_description(FULL, 0.0)
    local = b.agent.local_description

    def nominate(source: TransportAddress, priority: int, now: float) -> None:
        data = request(f"{local.ufrag}:full", local.pwd, NOMINATED, priority=priority)
        b.agent.receive_datagram(data, FiveTuple(B, source), now)

    nominate(A, 300, 0.0)
    nominate(A, 300, 2.5)  # As libwebrtc does: every check on the pair in use nominates it again.
    nominate(TransportAddress("192.0.2.1", 9), 200, 3.0)
    assert b.agent.selected_path == FiveTuple(B, A)
    nominate(TransportAddress("192.0.2.1", 9), 200, 3.5)
    assert b.agent.selected_path == FiveTuple(B, TransportAddress("192.0.2.1", 9))


def test_numbered_nominations_win_at_once_and_old_ones_never() -> None:
    b = Side(Role.CONTROLLED, B, config=LITE)
    b.agent.set_remote_description(replace(FULL, options=("ice2", "renomination")), 0.0)
    other = TransportAddress("192.0.2.1", 9)
    check(b, A, 0.0, (att.NOMINATION, 2))
    check(b, other, 0.1, (att.NOMINATION, 1))
    assert b.agent.selected_path == FiveTuple(B, A)
    check(b, other, 0.2, (att.NOMINATION, 3))
    assert b.agent.selected_path == FiveTuple(B, other)


# -- how long it lasts --


def test_the_peer_s_checks_keep_it_alive_and_it_sends_none() -> None:
    a, b, wire = full_and_lite(Role.CONTROLLING, Role.CONTROLLED)
    exchange(a, b)
    wire.run(until=300.0)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert {path.local for _, message, path in wire.log if message.message_class is MessageClass.REQUEST} == {A}
    assert wire.count(MessageClass.REQUEST) == wire.count(MessageClass.SUCCESS)


def test_silence_of_the_peer_ends_it() -> None:
    a, b, wire = full_and_lite(Role.CONTROLLING, Role.CONTROLLED)
    exchange(a, b)
    wire.run(until=0.0)
    wire.passes = lambda data, path: False
    wire.run(until=100.0)
    changes = [(change.new, change.reason) for change in b.of_type(StateChanged)]
    assert changes[-2:] == [(State.DISCONNECTED, None), (State.FAILED, FailureReason.CONSENT_EXPIRED)]


def test_a_peer_that_is_heard_again_heals_it() -> None:
    b = Side(Role.CONTROLLED, B, config=LITE)
    b.agent.set_remote_description(FULL, 0.0)
    check(b, A, 0.0, NOMINATED)
    b.agent.handle_timeout(10.0)
    assert b.agent.state is State.DISCONNECTED
    check(b, A, 29.0)
    assert b.agent.state is State.CONNECTED
    b.agent.handle_timeout(58.9)
    assert b.agent.state is State.DISCONNECTED
    b.agent.handle_timeout(59.0)
    assert b.agent.failure_reason is FailureReason.CONSENT_EXPIRED


def test_nobody_who_comes_is_a_failure_after_patience() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2, config=LITE)
    b.agent.set_remote_description(a.agent.local_description, 0.0)
    tell_candidates(b, a)
    wire = Wire(b)
    wire.run(until=59.0)
    assert b.agent.state is State.CHECKING
    wire.run(until=61.0)
    assert b.agent.failure_reason is FailureReason.CHECKS_TIMED_OUT
    assert wire.log == []


def test_checks_without_a_nomination_are_no_session() -> None:
    b = Side(Role.CONTROLLED, B, config=LITE)
    b.agent.set_remote_description(FULL, 0.0)
    check(b, A, 0.0)
    Wire(b).run(until=61.0)
    assert b.agent.failure_reason is FailureReason.NOT_NOMINATED


# -- restart, addresses --


@pytest.mark.parametrize("by_lite", [False, True])
def test_either_side_restarts(by_lite: bool) -> None:
    a, b, wire = full_and_lite(Role.CONTROLLING, Role.CONTROLLED)
    exchange(a, b)
    wire.run(until=1.0)
    first, second = (b, a) if by_lite else (a, b)
    old = b.agent.local_description
    description = first.agent.restart(1.0)
    assert b.agent.selected_path == FiveTuple(B, A)  # The old pair carries data.
    second.agent.set_remote_description(description, 1.0)
    first.agent.set_remote_description(second.agent.local_description, 1.0)
    for side, other in ((a, b), (b, a)):
        side.drain_events()
        for candidate in other.agent.local_candidates:
            side.agent.add_remote_candidate(candidate, 1.0)
        side.agent.end_of_remote_candidates(1.0)
    before = len(wire.log)
    wire.run(until=1.0)
    assert len(wire.log) - before == 2
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert b.agent.local_description != old
    assert b.agent.local_description.lite
    assert len(b.of_type(PairSelected)) == 2
    wire.run(until=120.0)
    assert b.agent.state is State.COMPLETED


def test_the_full_peer_moves_it_to_another_address() -> None:
    a, b = Side(Role.CONTROLLING, A, A6), Side(Role.CONTROLLED, B, B6, seed=2, config=LITE)
    wire = Wire(a, b)
    exchange(a, b)
    wire.run(until=5.0)
    assert b.agent.selected_path == FiveTuple(B6, A6)
    wire.passes = lambda data, path: path.remote.family == 4
    wire.run(until=60.0)
    assert (a.agent.selected_path, b.agent.selected_path) == (FiveTuple(A, B), FiveTuple(B, A))
    assert b.agent.state is State.COMPLETED


def test_a_passive_connection_is_all_it_needs() -> None:
    listening = TransportAddress(B.host, 4444)
    b = Side(Role.CONTROLLED, config=LITE)
    b.agent.add_tcp_base(listening, TcpType.PASSIVE, 0.0)
    b.agent.set_remote_description(FULL, 0.0)
    path = FiveTuple(listening, TransportAddress(A.host, 50000), TransportProtocol.TCP)
    b.agent.path_opened(path, 0.0)
    local = b.agent.local_description
    b.agent.receive_datagram(request(f"{local.ufrag}:full", local.pwd, NOMINATED), path, 0.0)
    assert b.agent.selected_path == path
    assert b.agent.selected_pair is not None
    assert b.agent.selected_pair.remote.tcp_type is TcpType.ACTIVE
    assert [message.message_class for message in sent(b)] == [MessageClass.SUCCESS]
    b.agent.handle_timeout(5.0)
    assert not any(isinstance(effect, Connect) for effect in b.wishes)


# -- two lite agents --


def two_lite(a: Side, b: Side) -> Wire:
    exchange(a, b)
    wire = Wire(a, b)
    wire.run(until=0.0)
    return wire


def test_two_lite_agents_choose_one_pair_without_a_message() -> None:
    a, b = Side(Role.CONTROLLING, A, A6, config=BOTH_LITE), Side(Role.CONTROLLED, B, B6, seed=2, config=BOTH_LITE)
    wire = two_lite(a, b)
    assert wire.log == []
    assert (a.agent.role, b.agent.role) == (Role.CONTROLLING, Role.CONTROLLED)
    assert (a.agent.selected_path, b.agent.selected_path) == (FiveTuple(A6, B6), FiveTuple(B6, A6))
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert a.agent.is_valid_path(A, B)
    assert b.agent.is_valid_path(B6, A6)


def test_two_lite_agents_keep_the_path_open_with_indications() -> None:
    a, b = Side(Role.CONTROLLING, A, config=BOTH_LITE), Side(Role.CONTROLLED, B, seed=2, config=BOTH_LITE)
    wire = two_lite(a, b)
    wire.run(until=61.0)
    assert wire.count(MessageClass.INDICATION) == len(wire.log) == 2 * 4
    assert a.agent.state is State.COMPLETED


def test_what_is_global_goes_with_what_is_global() -> None:
    a = Side(Role.CONTROLLING, PRIVATE, TransportAddress("8.8.8.8", 1), config=BOTH_LITE)
    b = Side(Role.CONTROLLED, TransportAddress("1.1.1.1", 2), seed=2, config=BOTH_LITE)
    two_lite(a, b)
    path = FiveTuple(TransportAddress("8.8.8.8", 1), TransportAddress("1.1.1.1", 2))
    assert a.agent.selected_path == path
    assert b.agent.selected_path == FiveTuple(path.remote, path.local)


def test_a_better_pair_that_comes_later_is_chosen_by_both() -> None:
    a, b = Side(Role.CONTROLLING, A, A6, config=BOTH_LITE), Side(Role.CONTROLLED, B, B6, seed=2, config=BOTH_LITE)
    describe(a, b)
    for side, other in ((a, b), (b, a)):
        for candidate in sorted(other.candidates, key=lambda each: each.priority):
            side.agent.add_remote_candidate(candidate, 0.0)
            side.drain_events()
    assert [event.pair.path for event in a.of_type(PairSelected)] == [FiveTuple(A, B), FiveTuple(A6, B6)]
    assert b.agent.selected_path == FiveTuple(B6, A6)


def test_a_lite_agent_whose_address_goes_uses_another_pair() -> None:
    a, b = Side(Role.CONTROLLING, A, A6, config=BOTH_LITE), Side(Role.CONTROLLED, B, B6, seed=2, config=BOTH_LITE)
    two_lite(a, b)
    a.agent.remove_local_base(A6, 1.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert a.agent.state is State.COMPLETED
    assert b.agent.is_valid_path(B, A)


def test_without_trust_in_the_signalling_two_lite_agents_have_no_pair() -> None:
    a, b = Side(Role.CONTROLLING, A, config=LITE), Side(Role.CONTROLLED, B, seed=2, config=LITE)
    wire = two_lite(a, b)
    wire.run(until=61.0)
    assert wire.log == []
    assert a.agent.selected_pair is None
    assert a.agent.failure_reason is b.agent.failure_reason is FailureReason.NO_CANDIDATE_PAIRS


def test_a_restart_of_two_lite_agents() -> None:
    a, b = Side(Role.CONTROLLING, A, config=BOTH_LITE), Side(Role.CONTROLLED, B, seed=2, config=BOTH_LITE)
    wire = two_lite(a, b)
    b.agent.set_remote_description(a.agent.restart(1.0), 1.0)
    a.agent.set_remote_description(b.agent.local_description, 1.0)
    for side, other in ((a, b), (b, a)):
        for candidate in other.agent.local_candidates:
            side.agent.add_remote_candidate(candidate, 1.0)
    wire.run(until=2.0)
    assert wire.log == []
    for side in (a, b):
        assert len(side.of_type(PairSelected)) == 2
        assert side.agent.state is State.CONNECTED
