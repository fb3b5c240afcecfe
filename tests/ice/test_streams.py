"""Several streams and components on an instant wire: what is checked when, and what holds for all of them."""

from __future__ import annotations

import random
from itertools import product

import pytest

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason, IceError
from ice.events import PairSelected, RoleChanged, State
from ice.lite_config import LiteConfig
from ice.priority import candidate_priority
from ice.roles import Role
from ice.streams import Streams, overall_state
from stun import attributes as att
from stun.message import MessageClass
from tests.ice.builders import local
from tests.ice.stepper import A6, B6, A, B, Wire
from tests.ice.streams_stage import Party, meet, two_parties

PLACES = [("audio", 1), ("audio", 2), ("video", 1), ("video", 2)]
TA = IceConfig().ta


def sends(wire: Wire, party: Party) -> list[tuple[float, tuple[str, int], str, bool]]:
    """What one end has sent: when, from which component, what, and whether it nominates."""
    return [
        (round(at / TA, 6), place, message.message_class.name, att.USE_CANDIDATE in message)
        for at, message, path in wire.log
        for place, member in party.members.items()
        if path.local in [base.address for base in member.agent._local.bases]
    ]


# -- checks --


def test_one_pair_of_a_foundation_goes_first_and_the_others_follow_one_each_ta() -> None:
    a, b, wire = two_parties(PLACES)
    meet(a, b)
    assert [member.agent.stats().pairs[0].state.value for member in a.members.values()] == [
        "in-progress",
        *["frozen"] * 3,
    ]
    wire.run(until=1.0)
    assert a.streams.state is b.streams.state is State.COMPLETED
    # Four messages a component, as if it were alone; each component in a slot of its own.
    assert sends(wire, a) == [
        (slot, place, kind, nominates)
        for slot, place in enumerate(PLACES)
        for kind, nominates in (("REQUEST", True), ("SUCCESS", False))
    ]
    assert len(wire.log) == 16
    for place, member in a.members.items():
        path = member.agent.selected_path
        assert path is not None
        other = b.members[place].agent.selected_path
        assert other is not None
        assert (path.local, path.remote) == (other.remote, other.local)


def test_two_foundations_are_two_pairs_at_once_and_slots_go_round() -> None:
    a, b, wire = two_parties(PLACES[:2], hosts=((A, A6), (B, B6)))
    wire.passes = lambda data, path: False
    meet(a, b)
    wire.run(until=3 * TA)
    requests = [(slot, place) for slot, place, kind, _ in sends(wire, a) if kind == "REQUEST"]
    assert requests[:2] == [(0, ("audio", 1)), (1, ("audio", 1))]  # One pair of each foundation, of component 1.
    states = [pair.state.value for member in a.members.values() for pair in member.agent.stats().pairs]
    assert sorted(states) == ["frozen", "frozen", "in-progress", "in-progress"]


def test_a_foundation_that_fails_is_tried_in_the_next_component() -> None:
    a, b, wire = two_parties(PLACES[:2])
    first = b.members["audio", 1].agent.mappable_bases[0].address
    wire.passes = lambda data, path: first not in (path.local, path.remote)
    meet(a, b)
    wire.run(until=200.0)
    assert a.members["audio", 1].agent.state is State.FAILED
    assert a.members["audio", 2].of_type(PairSelected)
    assert a.streams.state is State.FAILED
    assert a.streams.failure_reason is FailureReason.CHECKS_FAILED


def test_the_retransmission_timeout_is_that_of_the_whole_set() -> None:
    places = [(str(number), 1) for number in range(12)]
    a, b, wire = two_parties(places, hosts=((A, A6), (B, B6)))
    wire.passes = lambda data, path: False
    meet(a, b)
    wire.run(until=5.0)
    times = [at for at, message, path in wire.log if path.local == A6]
    assert times[1] - times[0] == pytest.approx(TA * 12 * 2)  # Ta * N * (Waiting + In-Progress), over 500 ms.


# -- candidates --


def test_candidates_carry_their_component_and_share_foundation_and_credentials() -> None:
    a, _, _ = two_parties(PLACES)
    told = {place: member.candidates[0] for place, member in a.members.items()}
    assert {each.foundation for each in told.values()} == {"1"}
    for (_, component), candidate in told.items():
        assert candidate.component == component
        assert candidate.priority & 0xFF == 256 - component
    descriptions = a.streams.local_descriptions
    assert told["audio", 1].ufrag == told["audio", 2].ufrag == descriptions["audio"].ufrag
    assert descriptions["audio"] != descriptions["video"]
    for (stream, _), member in a.members.items():
        assert member.agent.local_description == descriptions[stream]


def test_a_candidate_of_a_component_that_there_is_not_is_counted() -> None:
    a, b, _ = two_parties([("audio", 1)])
    a.describe(b)
    stray = Candidate.from_sdp("candidate:1 2 udp 2130706430 198.51.100.2 2003 typ host")
    a.streams.add_remote_candidate("audio", stray, 0.0)
    a.streams.add_remote_candidate("nothing", stray, 0.0)
    [member] = a.members.values()
    assert member.agent.stats().dropped == {"remote candidate: another component": 1}
    assert candidate_priority(local(1).type, 65535, 2) == stray.priority


def test_what_the_peer_reveals_by_its_checks_is_of_the_component_it_came_to() -> None:
    a, b, wire = two_parties(PLACES[:2])
    a.describe(b)
    b.describe(a)
    a.hear(b)
    wire.run(until=1.0)
    assert b.streams.state is State.CONNECTED
    for (_, component), member in b.members.items():
        [learned] = member.agent.remote_candidates
        assert learned.component == component


# -- the role --


@pytest.mark.parametrize("role", list(Role))
def test_a_role_conflict_is_repaired_once_for_all(role: Role) -> None:
    a, b, wire = two_parties(PLACES, (role, role))
    meet(a, b)
    wire.run(until=2.0)
    assert {a.streams.role, b.streams.role} == set(Role)
    assert a.streams.state is b.streams.state is State.COMPLETED
    switches = [next(iter(party.members.values())).agent.stats().role_switches for party in (a, b)]
    assert sum(switches) == 1
    for party, count in zip((a, b), switches, strict=True):
        for member in party.members.values():
            assert member.agent.role is party.streams.role
            assert len(member.of_type(RoleChanged)) == count
    assert wire.count(MessageClass.ERROR) <= 1
    tiebreakers = {member.agent._roles.tiebreaker for member in a.members.values()}
    assert len(tiebreakers) == 1


def test_the_role_can_be_set_until_the_peer_has_described_a_stream() -> None:
    a, b, _ = two_parties(PLACES)
    a.streams.role = Role.CONTROLLED
    assert all(member.agent.role is Role.CONTROLLED for member in a.members.values())
    a.streams.role = Role.CONTROLLING
    a.streams.set_remote_description("audio", b.streams.local_descriptions["audio"], 0.0)
    a.streams.role = Role.CONTROLLING
    with pytest.raises(IceError, match="fixed"):
        a.streams.role = Role.CONTROLLED


def test_full_and_lite_sessions_of_several_components() -> None:
    config = IceConfig(lite=LiteConfig(enabled=True))
    a, b, wire = two_parties(PLACES)
    b = Party(Role.CONTROLLING, (B,), PLACES, seed=2, config=config)
    wire = Wire(*a.members.values(), *b.members.values())
    meet(a, b)
    wire.run(until=1.0)
    assert a.streams.state is b.streams.state is State.COMPLETED
    assert (a.streams.role, b.streams.role) == (Role.CONTROLLING, Role.CONTROLLED)
    assert len(wire.log) == 4 * 2
    assert all(len(member.of_type(RoleChanged)) == 1 for member in b.members.values())


# -- restart --


@pytest.mark.parametrize("by_b", [False, True])
def test_all_restart_together(by_b: bool) -> None:
    a, b, wire = two_parties(PLACES)
    meet(a, b)
    wire.run(until=1.0)
    before = a.streams.local_descriptions
    first, second = (b, a) if by_b else (a, b)
    descriptions = first.streams.restart(1.0)
    assert descriptions == first.streams.local_descriptions
    second.describe(first, 1.0)
    first.describe(second, 1.0)
    for stream, description in a.streams.local_descriptions.items():
        assert description != before[stream]
        assert all(agent.local_description == description for agent in a.streams.of(stream))
    a.hear(b, 1.0)
    b.hear(a, 1.0)
    sent = len(wire.log)
    wire.run(until=2.0)
    assert len(wire.log) - sent == 16
    for party in (a, b):
        assert party.streams.state is State.COMPLETED
        assert all(len(member.of_type(PairSelected)) == 2 for member in party.members.values())


def test_one_stream_restarts_alone() -> None:
    a, b, wire = two_parties(PLACES)
    meet(a, b)
    wire.run(until=1.0)
    for agent in list(a.streams.of("video")):
        agent.restart(1.0)
    b.describe(a, 1.0)
    a.describe(b, 1.0)
    a.hear(b, 1.0)
    b.hear(a, 1.0)
    wire.run(until=2.0)
    selections = {place: len(member.of_type(PairSelected)) for place, member in b.members.items()}
    assert selections == {("audio", 1): 1, ("audio", 2): 1, ("video", 1): 2, ("video", 2): 2}
    assert b.streams.state is State.COMPLETED


def test_many_restarts_keep_little() -> None:
    a, b, wire = two_parties(PLACES[:2])
    meet(a, b)
    for now in range(1, 30):
        a.streams.restart(now)
        b.describe(a, now)
        a.describe(b, now)
        a.hear(b, now)
        b.hear(a, now)
        wire.run(until=now + 0.5)
        assert b.streams.state is State.COMPLETED
    assert len(a.streams._shared._sets) <= 4
    assert len(a.streams._credentials["audio"]._descriptions) <= 4


# -- the state --


def test_the_session_is_in_the_worst_state_of_its_components() -> None:
    s = State
    assert overall_state([]) is s.NEW
    assert overall_state([s.NEW, s.NEW]) is s.NEW
    assert overall_state([s.NEW, s.COMPLETED]) is s.CHECKING
    assert overall_state([s.CONNECTED, s.CHECKING]) is s.CHECKING
    assert overall_state([s.CONNECTED, s.COMPLETED]) is s.CONNECTED
    assert overall_state([s.COMPLETED, s.CLOSED]) is s.COMPLETED
    assert overall_state([s.COMPLETED, s.DISCONNECTED, s.CHECKING]) is s.DISCONNECTED
    assert overall_state([s.CLOSED, s.CLOSED]) is s.CLOSED
    for state in s:
        assert overall_state([state, s.FAILED]) is s.FAILED
    assert overall_state([s.COMPLETED], [s.FAILED]) is s.COMPLETED
    assert overall_state([s.COMPLETED], [s.CHECKING]) is s.CHECKING
    for one, other in product(s, s):
        assert overall_state([one, other]) is overall_state([other, one])


def test_a_component_that_is_not_required_may_fail() -> None:
    streams = Streams(IceConfig(), Role.CONTROLLED, rng=random.Random(1))
    main, extra = streams.add("audio", 1), streams.add("audio", 2, required=False)
    streams.set_remote_description("audio", Description("peer", "p" * 22), 0.0)
    extra.revoke_consent(0.0)
    assert streams.state is State.CHECKING
    assert streams.failure_reason is None
    assert streams.restart(0.0)["audio"] == main.local_description
    main.revoke_consent(0.0)
    assert streams.state is State.FAILED
    assert streams.failure_reason is FailureReason.CONSENT_REVOKED
    with pytest.raises(IceError, match="over"):
        streams.restart(0.0)


def test_components_are_added_once_and_before_the_peer_s_description() -> None:
    streams = Streams(IceConfig(), Role.CONTROLLED, rng=random.Random(1))
    streams.add("audio")
    for component in (0, 1, 257):
        with pytest.raises(IceError, match="component"):
            streams.add("audio", component)
    streams.set_remote_description("audio", Description("peer", "p" * 22), 0.0)
    with pytest.raises(IceError, match="described"):
        streams.add("audio", 2)
    streams.add("video", 2)
    assert list(streams.agents) == [("audio", 1), ("video", 2)]


def test_the_end_ends_all() -> None:
    a, b, wire = two_parties(PLACES)
    meet(a, b)
    wire.run(until=1.0)
    a.streams.close(1.0)
    a.streams.close(1.0)
    assert a.streams.state is State.CLOSED
    wire.log.clear()
    wire.run(until=2.0)
    assert wire.log == []
