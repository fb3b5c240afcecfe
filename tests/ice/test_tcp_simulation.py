"""TCP candidates in the simulated world: who connects to whom, in how many connections and messages."""

from __future__ import annotations

import pytest

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import LocalCandidateFound, RestartWanted, State
from ice.pair import PairState
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress, TransportProtocol
from tests.ice.tcp_trip import ACTIVE, ALL, LINK, PASSIVE, SO, Kinds, TcpPeer, is_connected, lose_connections, two_hosts
from tests.ice.trip import connect
from tests.simulation.link import LinkProfile
from tests.simulation.world import World


@pytest.mark.parametrize(
    ("kinds_a", "kinds_b"),
    [((ACTIVE,), (PASSIVE,)), ((PASSIVE,), (ACTIVE,)), ((SO,), (SO,))],
    ids=["active to passive", "passive from active", "simultaneous"],
)
def test_two_hosts_connect_by_one_kind_of_candidate_with_six_messages(kinds_a: Kinds, kinds_b: Kinds) -> None:
    world = World()
    a, b = two_hosts(world, kinds_a, kinds_b)
    connect(a, b)
    assert is_connected(a, b)
    # Check, answer; triggered check, answer; nomination, answer.
    assert (a.sent, b.sent) == (3, 3)
    assert len(a.host.tcp.connections) == len(b.host.tcp.connections) == 1
    pair = a.machine.selected_pair
    assert pair is not None
    assert pair.path.protocol is TransportProtocol.TCP


def test_kinds_that_do_not_meet_form_no_pair_and_fail_only_when_patience_ends() -> None:
    world = World()
    a, b = two_hosts(world, (ACTIVE,), (ACTIVE,))
    connect(a, b)
    assert a.machine.failure_reason is FailureReason.NO_CANDIDATE_PAIRS
    assert world.now == pytest.approx(39.5, abs=0.3)  # RFC 8863: no sooner.
    assert a.dialled == b.dialled == []


def test_a_peer_that_has_active_candidates_only_and_said_so_is_waited_for() -> None:
    # RFC 8863 section 5: end of candidates, an empty checklist, and still the peer's check comes.
    world = World()
    a, b = two_hosts(world, (PASSIVE,), (ACTIVE,))
    b.other, a.other = a, b
    a.start(b, ())
    world.run(until=30.0)
    b.machine.end_of_remote_candidates(world.now)
    a.machine.set_remote_description(b.machine.local_description, world.now)
    a.machine.gather((), world.now)
    a.machine.end_of_remote_candidates(world.now)
    a.pump()
    assert a.state is State.CHECKING
    b.start(a, ())
    world.run(until=world.now + 20.0, stop=lambda: is_connected(a, b))
    assert is_connected(a, b)


def test_the_priorities_of_the_kinds_are_those_of_the_rfc() -> None:
    world = World()
    a = TcpPeer(world.host("a", world.internet, "192.0.2.1", "192.0.2.2"), Role.CONTROLLING, udp=True)
    a.machine.gather((), 0.0)
    a.pump()
    found = [event.candidate for event in a.of_type(LocalCandidateFound)]
    assert [candidate.tcp_type for candidate in found] == [None, None, ACTIVE, ACTIVE, PASSIVE, PASSIVE, SO, SO]
    local = [candidate.priority >> 8 & 0xFFFF for candidate in found]
    directions = {ACTIVE: 6, PASSIVE: 4, SO: 2}
    expected = [65535, 65534]
    for kind in (ACTIVE, PASSIVE, SO):
        expected += [2**13 * directions[kind] + 8191, 2**13 * directions[kind] + 8190]
    assert local == expected
    assert len({candidate.priority for candidate in found}) == 8
    assert all(candidate.address.port == 9 for candidate in found if candidate.tcp_type is ACTIVE)
    assert "tcptype active" in found[2].to_sdp()


def test_pairs_whose_connections_are_closed_go_once_another_is_selected() -> None:
    # RFC 8445 section 8.1.2
    world = World()
    slow = LinkProfile(latency=0.3)
    a = TcpPeer(world.host("a", world.internet, "192.0.2.1", link=slow), Role.CONTROLLING, ALL, udp=True)
    b = TcpPeer(world.host("b", world.internet, "198.51.100.2", link=slow), Role.CONTROLLED, ALL, udp=True, seed=2)
    connect(a, b)
    assert a.dialled
    world.run(until=world.now + 10.0)
    assert is_connected(a, b)
    for peer in (a, b):
        assert not peer.connections
        paths = [pair.path for pair in peer.machine._generations.current.checking.checklist]
        assert paths == [peer.machine.selected_path], "nothing is kept that nobody could use"
    a.machine.restart(world.now)
    a.pump()
    world.run(until=world.now + 10.0)
    assert is_connected(a, b)


def test_a_crowd_of_strangers_does_not_keep_the_peer_out() -> None:
    world = World()
    config = IceConfig(tcp=TcpConfig(max_incoming=3, incoming_timeout=2.0))
    a, b = two_hosts(world, (PASSIVE,), (ACTIVE,), config=config)
    stranger = world.host("stranger", world.internet, "198.51.100.66", link=LINK)
    (listener,) = a.host.tcp.listeners
    a.machine.gather((), 0.0)
    for _ in range(10):
        stranger.tcp.connect(TransportAddress("198.51.100.66", 0), listener)
    world.run(until=1.0)
    stats = a.machine.stats().tcp
    assert (stats.accepted, stats.refused) == (3, 7)
    world.run(until=3.0)
    assert a.machine.stats().tcp.unauthenticated == 3
    assert not a.connections
    connect(a, b)
    assert is_connected(a, b)


def test_the_active_side_opens_a_lost_connection_again_and_both_go_on() -> None:
    # RFC 6544 section 11.1, in both roles.
    for kinds in (((ACTIVE,), (PASSIVE,)), ((PASSIVE,), (ACTIVE,))):
        world = World()
        a, b = two_hosts(world, *kinds)
        connect(a, b)
        before = {peer: peer.machine.selected_path for peer in (a, b)}
        lose_connections(a, b)
        world.run(until=world.now + 2.0)
        assert is_connected(a, b)
        active, passive = (a, b) if ACTIVE in kinds[0] else (b, a)
        assert active.machine.selected_path == before[active]
        assert passive.machine.selected_path != before[passive]
        assert len(active.dialled) == 2
        world.run(until=world.now + 60.0)
        assert is_connected(a, b), "consent goes on over the new connection"


def test_a_lost_connection_that_cannot_be_opened_again_ends_with_consent() -> None:
    world = World()
    a, b = two_hosts(world, (ACTIVE,), (PASSIVE,))
    connect(a, b)
    a.machine.path_closed(next(iter(a.connections)), world.now)
    b.host.tcp.listeners.clear()
    a.pump()
    started = world.now
    world.run(until=started + 60.0, stop=lambda: a.state is State.FAILED)
    assert a.machine.failure_reason is FailureReason.CONSENT_EXPIRED
    assert any(isinstance(event, RestartWanted) for event in a.events), "a restart is what may still help"
    assert 5 < len(a.dialled) < 20, "the pauses between attempts grow"


def test_a_connection_on_which_nobody_answers_is_closed_and_its_pair_fails() -> None:
    # RFC 6544 section 7.1
    world = World()
    a, b = two_hosts(world, (ACTIVE,), ())
    b.host.tcp.listen(TransportAddress("198.51.100.2", 5000), lambda connection: None)
    a.start(b, ())
    a.machine.set_remote_description(b.machine.local_description, 0.0)
    text = "1 1 tcp 1000 198.51.100.2 5000 typ host tcptype passive"
    a.machine.add_remote_candidate(Candidate.from_sdp(text), 0.0)
    a.pump()
    world.run(until=14.0)
    assert len(a.connections) == 1
    world.run(until=16.0)
    assert [path for _, path in a.dialled] == a.closed
    assert not a.connections
    assert [pair.state for pair in a.machine.stats().pairs] == [PairState.FAILED]


@pytest.mark.parametrize(
    ("kinds_a", "kinds_b"), [((ACTIVE,), (PASSIVE,)), ((SO,), (SO,))], ids=["active to passive", "simultaneous"]
)
def test_a_restart_keeps_the_selected_connection_and_opens_none(kinds_a: Kinds, kinds_b: Kinds) -> None:
    # RFC 6544 section 9.2
    world = World()
    a, b = two_hosts(world, kinds_a, kinds_b)
    connect(a, b)
    world.run(until=world.now + 5.0)
    dialled, connections = len(a.dialled) + len(b.dialled), list(a.connections.values())
    before = a.machine.selected_pair
    description = a.machine.restart(world.now)
    b.machine.set_remote_description(description, world.now)
    a.machine.set_remote_description(b.machine.local_description, world.now)
    for peer, other in ((a, b), (b, a)):
        for candidate in peer.machine.local_candidates:
            other.machine.add_remote_candidate(candidate, world.now)
        other.machine.end_of_remote_candidates(world.now)
    a.pump()
    b.pump()
    world.run(until=world.now + 20.0)
    assert is_connected(a, b)
    assert a.machine.selected_pair is not before, "the new generation has a pair of its own"
    assert list(a.connections.values()) == connections
    assert len(a.dialled) + len(b.dialled) == dialled
    assert not a.closed
    assert not b.closed
