"""Nominating with the first check, where the last nomination wins: what it costs, and what comes of it when it is lost.

Of the two pairs that :func:`two_ways` has, the one with ``B`` is the best, and so it is nominated ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest

from ice.candidate import CandidateType, TcpType
from ice.config import IceConfig
from ice.events import PairSelected, State
from ice.life_config import UpgradeConfig
from ice.relay import RelayTarget
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.message import MessageClass, parse
from tests.ice.builders import remote
from tests.ice.relay_stage import CONFIG, OTHER, SERVER, Stage
from tests.ice.restarting_peer import PATH, RESTARTED, WEAKEST, before_restart, is_on_the_new_pair
from tests.ice.stepper import A, B, Side, Wire, connected, describe, exchange, sides, tell_candidates
from tests.ice.tcp_trip import is_connected, two_hosts
from tests.ice.test_moving import relayed
from tests.ice.trip import connect
from tests.simulation.world import World

B2 = TransportAddress("198.51.100.7", 2007)
"""A second base of the controlled side: the pair with it is the second best."""


def nominated(wire: Wire) -> list[tuple[TransportAddress, int | None]]:
    """Return where each nomination went, and its number, in their order; sent again it counts once."""
    found: dict[bytes, tuple[TransportAddress, int | None]] = {}
    for _, message, path in wire.log:
        if message.message_class is MessageClass.REQUEST and att.USE_CANDIDATE in message:
            found[message.transaction_id] = (path.remote, message.get(att.NOMINATION))
    return list(found.values())


def selected(side: Side) -> list[TransportAddress]:
    """Return what the side has used, in its order: the peer's addresses at the controlling one, ours at the other."""
    paths = [event.pair.path for event in side.of_type(PairSelected)]
    return [path.remote if side.agent.role is Role.CONTROLLING else path.local for path in paths]


def two_ways(*, delay: float = 0.01) -> tuple[Side, Side, Wire]:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, B2, seed=2)
    return a, b, Wire(a, b, delay=delay)


def towards(end: TransportAddress, *others: TransportAddress) -> Callable[[bytes, FiveTuple], bool]:
    """Return a filter of a wire that has none of these ends."""
    return lambda data, path: not {path.local, path.remote} & {end, *others}


# -- what it costs --


def test_with_renomination_four_messages_and_one_round_trip_connect_two_hosts() -> None:
    a, b, wire = sides()
    wire.delay = 0.02
    exchange(a, b)
    wire.run(until=0.04)
    connected(a, b)
    assert [
        (round(at, 3), message.message_class.name, message.get(att.NOMINATION), path.local)
        for at, message, path in wire.log
    ] == [(0.0, "REQUEST", 1, A), (0.0, "REQUEST", None, B), (0.02, "SUCCESS", None, B), (0.02, "SUCCESS", None, A)]
    wire.run(until=3.0)
    assert len(wire.log) == 4


@pytest.mark.parametrize("says_it", [(True, False), (False, True), (False, False)])
def test_where_one_side_does_not_know_it_nomination_is_regular(says_it: tuple[bool, bool]) -> None:
    configs = [IceConfig(upgrade=UpgradeConfig(renomination=each)) for each in says_it]
    a, b = Side(Role.CONTROLLING, A, config=configs[0]), Side(Role.CONTROLLED, B, seed=2, config=configs[1])
    wire = Wire(a, b, delay=0.02)
    exchange(a, b)
    wire.run(until=0.08)
    connected(a, b)
    assert len(wire.log) == 6
    assert nominated(wire) == [(B, None)]


def test_a_round_trip_longer_than_the_pace_costs_one_repetition_on_each_side() -> None:
    # RFC 8445 section 7.3.1.4: the check that was triggered goes out before the first is answered.
    a, b, wire = sides()
    wire.delay = 0.06
    exchange(a, b)
    wire.run(until=3.0)
    connected(a, b)
    assert nominated(wire) == [(B, 1), (B, 2)]
    assert len(wire.log) == 8


def test_over_tcp_nomination_is_regular() -> None:
    # RFC 6544 section 8
    world = World()
    a, b = two_hosts(world, (TcpType.ACTIVE,), (TcpType.PASSIVE,))
    connect(a, b)
    world.run(until=world.now + 3.0)
    assert is_connected(a, b)
    assert (a.sent, b.sent) == (3, 3)


@pytest.mark.parametrize("ends", [True, False])
def test_by_a_relay_only_when_the_peer_has_no_other_way_to_tell_of(ends: bool) -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b, delay=0.01)
    describe(a, b)
    tell_candidates(b, a)
    a.agent.add_remote_candidate(relayed(b.candidates[0]), 0.0)
    if ends:
        a.agent.end_of_remote_candidates(0.0)
    wire.run(until=1.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    asked = [message for _, message, path in wire.log if path == FiveTuple(A, B) and message.message_class == 0]
    assert (att.USE_CANDIDATE in asked[0]) is ends
    assert att.USE_CANDIDATE in asked[-1]


def test_a_lesser_relay_of_ours_does_not_though_it_lets_the_peer_in_first() -> None:
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    for server in (SERVER, OTHER):
        stage.server.families = {4: TransportAddress(server.host, 50000)}
        stage.agent.relays.add_server(CONFIG, RelayTarget(server, TransportProtocol.UDP), 0.0)
        stage.pump()
    stage.agent.end_of_stun_servers(0.0)
    best = max(stage.candidates, key=lambda candidate: candidate.priority)
    ways = {base.address: relay.path for base, relay in stage.agent.relays.by_base.items()}
    assert len(ways) == 2
    stage.silent = {path.local for address, path in ways.items() if path is not None and address == best.address}
    stage.describe()
    stage.agent.add_remote_candidate(remote(1), 0.0)
    stage.agent.end_of_remote_candidates(0.0)
    stage.pump()
    [plain] = stage.sent_to_peer()
    assert att.USE_CANDIDATE not in plain
    stage.silent = set()
    stage.wait(1.0)
    nominating = [message for message in stage.sent_to_peer() if att.USE_CANDIDATE in message]
    assert {message.get(att.NOMINATION) for message in nominating} == {1}


def test_a_relay_of_another_family_than_the_peers_is_not_waited_for() -> None:
    stage = Stage()
    stage.ask(replace(CONFIG, families=(4, 6)))
    assert max(stage.candidates, key=lambda candidate: candidate.priority).address.family == 4
    stage.describe()
    stage.agent.add_remote_candidate(replace(remote(1), address=TransportAddress("2001:db8::5", 5000)), 0.0)
    stage.agent.end_of_remote_candidates(0.0)
    stage.pump()
    assert [att.USE_CANDIDATE in message for message in stage.sent_to_peer()] == [True]


def test_a_relay_that_only_its_checks_have_told_of_is_moved_off_when_the_peer_tells_what_it_is() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, B2, seed=2)
    wire = Wire(a, b, delay=0.01)
    wire.passes = towards(B)
    describe(a, b)
    tell_candidates(b, a)
    wire.run(until=0.2)
    assert a.agent.selected_pair is not None
    assert a.agent.selected_pair.remote.type is CandidateType.PEER_REFLEXIVE
    assert nominated(wire) == [(B2, 1)]
    wire.passes = lambda data, path: True
    a.agent.add_remote_candidate(relayed(b.candidates[1]), wire.now)
    a.agent.add_remote_candidate(b.candidates[0], wire.now)
    a.agent.end_of_remote_candidates(wire.now)
    wire.run(until=1.0)
    assert selected(a) == selected(b) == [B2, B]
    assert nominated(wire) == [(B2, 1), (B, 2)]


# -- what it comes to --


def test_if_that_pair_is_dead_another_is_nominated_and_both_sides_use_it() -> None:
    a, b, wire = two_ways()
    wire.passes = towards(B)
    exchange(a, b)
    wire.run(until=60.0)
    assert nominated(wire) == [(B, 1), (B2, 2)]
    assert selected(a) == selected(b) == [B2]
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)


def test_if_its_answers_alone_are_lost_the_controlled_side_comes_along() -> None:
    a, b, wire = two_ways()
    numbered: set[bytes] = set()

    def no_answer(data: bytes, path: FiveTuple) -> bool:
        message = parse(data)
        if path == FiveTuple(A, B) and att.NOMINATION in message:
            numbered.add(message.transaction_id)
        return message.message_class is MessageClass.REQUEST or message.transaction_id not in numbered

    wire.passes = no_answer
    exchange(a, b)
    wire.run(until=0.05)
    assert selected(b) == [B], "it cannot know"
    wire.run(until=1.0)
    assert selected(a) == [B2]
    assert selected(b) == [B, B2]
    wire.run(until=30.0)
    assert selected(b) == [B, B2]
    numbers = [number for _, number in nominated(wire)]
    assert numbers == sorted(set(numbers))


def hold_back(wire: Wire, answers_from: TransportAddress) -> list[tuple[bytes, FiveTuple]]:
    """Let answers from there wait; return those that do."""
    held: list[tuple[bytes, FiveTuple]] = []

    def passes(data: bytes, path: FiveTuple) -> bool:
        if parse(data).message_class is MessageClass.SUCCESS and path.local == answers_from:
            held.append((data, FiveTuple(path.remote, path.local)))
            return False
        return True

    wire.passes = passes
    return held


def deliver(to: Side, held: Iterable[tuple[bytes, FiveTuple]], now: float) -> None:
    for data, path in held:
        to.agent.receive_datagram(data, path, now)


def run_until_nominated(wire: Wire, remote: TransportAddress) -> None:
    while remote not in [where for where, _ in nominated(wire)]:
        assert wire.step()


def test_an_answer_that_comes_when_another_pair_has_been_nominated_does_not_count() -> None:
    a, b, wire = two_ways()
    held = hold_back(wire, B)
    exchange(a, b)
    run_until_nominated(wire, B2)
    assert selected(b) == [B]
    deliver(a, held, wire.now)
    wire.flush()
    assert selected(a) == [], "the answer to the last nomination is on its way"
    wire.run(until=5.0)
    assert selected(a) == [B2]
    assert selected(b) == [B, B2]


def test_it_counts_again_when_the_other_pair_does_not_answer_any_more() -> None:
    a, b, wire = two_ways()
    held = hold_back(wire, B)
    exchange(a, b)
    run_until_nominated(wire, B2)
    deliver(a, held, wire.now)
    wire.passes = towards(B2)
    wire.run(until=45.0)
    assert selected(a) == selected(b) == [B]
    numbers = [number for _, number in nominated(wire)]
    assert numbers == sorted(set(numbers))


def test_an_answer_later_than_that_makes_it_a_spare_pair() -> None:
    a, b, wire = two_ways()
    held = hold_back(wire, B)
    exchange(a, b)
    wire.run(until=1.0)
    assert selected(a) == [B2]
    deliver(a, held, wire.now)
    wire.passes = lambda data, path: True
    wire.run(until=30.0)
    assert selected(a) == [B2]
    assert selected(b) == [B, B2]


def test_a_better_pair_that_is_told_of_while_the_first_is_open_is_nominated_regularly() -> None:
    a, b, wire = two_ways()
    best, second = b.candidates
    wire.passes = towards(B2)
    describe(a, b)
    tell_candidates(b, a)
    a.agent.add_remote_candidate(second, 0.0)
    wire.run(until=0.1)
    a.agent.add_remote_candidate(best, wire.now)
    wire.run(until=1.0)
    assert nominated(wire)[0] == (B2, 1)
    assert selected(a) == selected(b) == [B]
    asked = [message for _, message, path in wire.log if path == FiveTuple(A, B) and message.message_class == 0]
    assert [att.USE_CANDIDATE in message for message in asked] == [False, True]


def test_a_signalled_candidate_takes_the_place_of_the_learned_one_meanwhile() -> None:
    # RFC 8838 section 11
    a, b, wire = sides()
    wire.delay = 0.02
    describe(a, b)
    tell_candidates(b, a)
    a.agent.end_of_remote_candidates(0.0)
    wire.run(until=0.03)
    assert nominated(wire) == [(B, 1)]
    a.agent.add_remote_candidate(replace(b.candidates[0], extensions=()), wire.now)
    wire.run(until=1.0)
    assert selected(a) == selected(b) == [B]
    assert len(wire.log) == 4


# -- roles --


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("delay", [0.0, 0.02, 0.06])
@pytest.mark.parametrize("role", list(Role))
def test_a_conflict_of_roles_ends_with_one_nomination_in_force(role: Role, seed: int, delay: float) -> None:
    a, b = Side(role, A, seed=seed), Side(role, B, seed=seed + 100)
    wire = Wire(a, b, delay=delay)
    exchange(a, b)
    wire.run(until=1.0)
    connected(a, b)
    assert a.agent.role is b.agent.role.other
    assert [len(side.of_type(PairSelected)) for side in (a, b)] == [1, 1]
    wire.run(until=3.0)
    first, second = (side.agent._generations.current.checking.moving for side in (a, b))
    assert first.number == second.number


def test_of_two_that_control_the_one_that_yields_nominates_no_more() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLING, B, seed=2)
    wire = Wire(a, b)
    exchange(a, b)
    wire.run(until=1.0)
    connected(a, b)
    winner = A if a.agent.role is Role.CONTROLLING else B
    last = [path.local for _, message, path in wire.log if att.USE_CANDIDATE in message][2:]
    assert set(last) <= {winner}
    assert len(wire.log) <= 8


# -- restarts --


@pytest.mark.parametrize("steps", range(8))
@pytest.mark.parametrize("first", [True, False])
def test_a_restart_at_any_step_ends_on_the_new_pair(first: bool, steps: int) -> None:
    a, b, wire = sides()
    wire.delay = 0.02
    exchange(a, b)
    for _ in range(steps):
        wire.step()
    one, other = (a, b) if first else (b, a)
    one.agent.restart(wire.now)
    wire.flush()
    other.agent.set_remote_description(one.agent.local_description, wire.now)
    wire.flush()
    one.agent.set_remote_description(other.agent.local_description, wire.now)
    for to, of in ((a, b), (b, a)):
        for candidate in of.candidates:
            to.agent.add_remote_candidate(candidate, wire.now)
        to.agent.end_of_remote_candidates(wire.now)
    wire.run(until=wire.now + 3.0)
    connected(a, b)
    for side in (a, b):
        assert side.agent._generations.current.checking.selected is side.agent.selected_pair
        assert side.agent._generations.current.checking.moving.number >= 1


def test_what_was_nominated_ahead_under_the_old_description_does_not_count_under_the_new() -> None:
    peer = before_restart(Role.CONTROLLING, WEAKEST)
    knows = replace(RESTARTED, options=("renomination",))
    peer.side.agent.set_remote_description(knows, peer.now)
    peer.side.agent.end_of_remote_candidates(peer.now)
    answered, held = peer._answer, []

    def hold(asked):  # type: ignore[no-untyped-def]
        held.append(answered(asked))
        return b""

    peer._answer = hold  # type: ignore[method-assign]
    peer.check()
    peer.wait(0.1)
    assert all(att.USE_CANDIDATE in message for message in peer.asked)
    assert set(map(id, peer.nominated)) == {id(peer.old)}
    peer.go_by_the_new()
    peer.check()
    peer._answer = answered  # type: ignore[method-assign]
    for data in held:
        peer.side.agent.receive_datagram(data, PATH, peer.now)
    peer.drain()
    assert not is_on_the_new_pair(peer)
    peer.wait(0.1)
    assert is_on_the_new_pair(peer)
    assert peer.nominated[-1] == peer.side.agent.local_description
