"""Candidates that come one by one (RFC 8838)."""

from __future__ import annotations

import time

import pytest

from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.description import Description
from ice.events import GatheringCompleted, State
from ice.life_config import UpgradeConfig
from ice.pair import PairState
from ice.roles import Role
from stun.address import FiveTuple, TransportAddress
from tests.ice.stepper import A6, B6, A, B, Side, Wire, describe, tell_candidates
from tests.ice.trip import Peer, add_stun_server, connect, mirrored
from tests.simulation import LinkProfile, NatBehaviour, World


def bogus(number: int) -> Candidate:
    return Candidate.from_sdp(
        f"f{number} 1 udp {2_000_000_000 - number} 198.51.100.{number % 250} {1 + number} typ host"
    )


def test_the_checklist_runs_while_candidates_may_come() -> None:
    # RFC 8838 section 8
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    wire.run(until=38.0)
    assert a.agent.state is State.CHECKING
    assert wire.log == []
    a.agent.add_remote_candidate(b.candidates[0], 38.0)
    wire.run(until=38.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)


def test_a_late_base_is_paired_and_announced() -> None:
    a, b = Side(Role.CONTROLLING), Side(Role.CONTROLLED, B6, seed=2)
    wire = Wire(a, b)
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b, end=False)
    assert not a.candidates
    a.agent.add_local_base(A6, 1.0)
    wire.now = 1.0
    b.agent.set_remote_description(a.agent.local_description, 1.0)
    wire.run(until=1.0)
    assert a.agent.selected_path == FiveTuple(A6, B6)


def test_a_candidate_of_a_family_that_we_lack_is_counted_and_kept_for_a_later_base() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B6, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    tell_candidates(a, b)
    assert a.agent.stats().pairs == ()
    assert a.agent.stats().dropped == {"remote candidate: no base of ours can reach its kind of address": 1}
    a.agent.add_local_base(A6, 0.0)
    wire.run(until=0.0)
    assert a.agent.selected_path == FiveTuple(A6, B6)


def test_no_candidate_is_announced_after_the_end() -> None:
    # RFC 8838 section 13
    a = Side(Role.CONTROLLING, A)
    [end] = a.of_type(GatheringCompleted)
    assert end.ufrag == a.agent.local_description.ufrag
    a.agent.add_local_base(A6, 1.0)
    a.drain_events()
    assert [candidate.address for candidate in a.candidates] == [A]
    assert len(a.agent.local_candidates) == 1


def test_candidates_after_the_end_or_the_selection_are_ignored() -> None:
    # RFC 8838 sections 13 and 14; a session that looks for better paths takes candidates until their end.
    config = IceConfig(upgrade=UpgradeConfig(enabled=False))
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2, config=config)
    wire = Wire(a, b)
    describe(a, b)
    tell_candidates(a, b)
    a.agent.add_remote_candidate(bogus(1), 0.0)
    assert a.agent.stats().dropped == {"remote candidate: after the end of candidates": 1}
    tell_candidates(b, a, end=False)
    wire.run(until=0.0)
    b.agent.add_remote_candidate(bogus(1), 0.0)
    assert b.agent.stats().dropped == {"remote candidate: after a pair was selected": 1}
    assert len(b.agent.stats().pairs) == 1


def test_the_end_of_another_generation_ends_nothing() -> None:
    # RFC 8838 sections 13 and 14
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    a.agent.end_of_remote_candidates(0.0, "another")
    tell_candidates(a, b, end=False)
    wire.run(until=1.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert a.agent.state is State.CONNECTED
    a.agent.end_of_remote_candidates(1.0, b.agent.local_description.ufrag)
    wire.flush()
    assert a.agent.state is State.COMPLETED


def test_candidates_of_another_generation_are_ignored() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    describe(a, b)
    text = f"1 1 udp 5 198.51.100.7 7 typ host ufrag {b.agent.local_description.ufrag}"
    a.agent.add_remote_candidate(Candidate.from_sdp(text), 0.0)
    a.agent.add_remote_candidate(Candidate.from_sdp(text.replace("ufrag ", "ufrag x").replace(".7 7", ".8 8")), 0.0)
    assert [candidate.address.port for candidate in a.agent.remote_candidates] == [7]


def test_a_hundred_pairs_are_the_limit_and_a_thousand_candidates_cost_little() -> None:
    a = Side(Role.CONTROLLING, A, config=IceConfig(max_remote_candidates=1000))
    b = Side(Role.CONTROLLED, B, seed=2)
    describe(a, b)
    started = time.process_time()
    for number in range(1000):
        a.agent.add_remote_candidate(bogus(number), 0.0)
    assert time.process_time() - started < 0.5  # About 20 ms; a quadratic list would take seconds.
    stats = a.agent.stats()
    assert len(stats.pairs) == 100
    assert stats.trimmed_pairs == 900
    sent = 0
    while a.agent.next_effect() is not None:
        sent += 1
    assert sent == 1  # The pace holds.


def test_the_true_candidate_wins_though_a_thousand_bogus_ones_came_first() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    for number in range(1000):
        a.agent.add_remote_candidate(bogus(number), 0.0)
    tell_candidates(b, a)
    wire.run(until=1.0)
    # Its own candidate was one too many, but its check reveals it.
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)
    assert a.agent.stats().dropped["remote candidate: too many"] == 800


def test_the_pace_of_checks_in_a_full_list() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    wire.passes = lambda data, path: False
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    for number in range(100):
        a.agent.add_remote_candidate(bogus(number), 0.0)
    wire.run(until=6.0)
    first_sends: dict[bytes, float] = {}
    for at, message, _ in wire.log:
        first_sends.setdefault(message.transaction_id, at)
    assert list(first_sends.values()) == pytest.approx([number * 0.05 for number in range(100)])
    # RFC 8445 section 14.3: of the last one the first retransmission comes after Ta times the pairs then running.
    wire.run(until=11.0)
    last = [at for at, message, _ in wire.log if message.transaction_id == list(first_sends)[-1]]
    assert last == pytest.approx([4.95, 4.95 + 100 * 0.05])


def test_the_peer_can_slow_the_pace_down_and_the_timeouts_with_it() -> None:
    # RFC 8445 sections 14.2 and 14.3
    a = Side(Role.CONTROLLING, A)
    wire = Wire(a)
    wire.passes = lambda data, path: False
    a.agent.set_remote_description(Description("abcd", "p" * 24, pacing=0.2), 0.0)
    for number in range(4):
        a.agent.add_remote_candidate(bogus(number), 0.0)
    wire.run(until=2.0)
    sends: dict[bytes, list[float]] = {}
    for at, message, _ in wire.log:
        sends.setdefault(message.transaction_id, []).append(at)
    assert [times[0] for times in sends.values()] == pytest.approx([0.0, 0.2, 0.4, 0.6])
    assert next(iter(sends.values()))[1] == pytest.approx(4 * 0.2)


def test_only_one_pair_of_a_foundation_is_checked_at_first() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    for number in (3, 1, 2):
        text = f"same 1 udp {1000 - number} 198.51.100.{number} 5 typ host"
        a.agent.add_remote_candidate(Candidate.from_sdp(text), 0.0)
    Wire(a).flush()
    states = [pair.state for pair in a.agent.stats().pairs]
    assert states.count(PairState.FROZEN) == 2
    assert states.count(PairState.IN_PROGRESS) == 1


def test_a_trip_through_two_home_routers_with_a_dead_stun_server_first() -> None:
    world = World(seed=5)
    server = add_stun_server(world)
    dead = TransportAddress("203.0.113.54", 3478)
    link = LinkProfile.broadband()
    home = world.nat(NatBehaviour.port_restricted_cone(), "198.51.100.1", name="home").inside
    work = world.nat(NatBehaviour.port_restricted_cone(), "198.51.100.2", name="work").inside
    alice = Peer(world.host("alice", home, "192.168.1.2", link=link), Role.CONTROLLING, seed=1)
    bob = Peer(world.host("bob", work, "10.0.0.2", link=link), Role.CONTROLLED, seed=2)
    connect(alice, bob, dead, server)
    assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
    assert alice.machine.selected_pair.local.type is CandidateType.SERVER_REFLEXIVE
    assert bob.machine.selected_pair.local.type is CandidateType.SERVER_REFLEXIVE
    assert world.now < 0.6
