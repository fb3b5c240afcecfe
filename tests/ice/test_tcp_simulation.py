"""TCP candidates in the simulated world: who connects to whom, in how many connections and messages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.candidate import Candidate, TcpType
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import LocalCandidateFound, RestartWanted, State
from ice.pair import PairState
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from tests.ice.tcp_trip import ALL, TcpPeer, add_tcp_stun_server
from tests.ice.trip import connect, mirrored
from tests.simulation.link import LinkProfile
from tests.simulation.nat_behaviour import NatBehaviour, StraySyn
from tests.simulation.world import World

ACTIVE, PASSIVE, SO = TcpType.ACTIVE, TcpType.PASSIVE, TcpType.SIMULTANEOUS_OPEN
USABLE = (State.CONNECTED, State.COMPLETED)
Kinds = tuple[TcpType, ...]
LINK = LinkProfile(latency=0.01)


def is_connected(*peers: TcpPeer) -> bool:
    return all(peer.state in USABLE for peer in peers) and mirrored(
        peers[0].machine.selected_pair, peers[1].machine.selected_pair
    )


def two_hosts(
    world: World, kinds_a: Kinds, kinds_b: Kinds, config: IceConfig | None = None, *, udp: bool = False
) -> tuple[TcpPeer, TcpPeer]:
    a = world.host("a", world.internet, "192.0.2.1", link=LINK)
    b = world.host("b", world.internet, "198.51.100.2", link=LINK)
    return (
        TcpPeer(a, Role.CONTROLLING, kinds_a, config, udp=udp),
        TcpPeer(b, Role.CONTROLLED, kinds_b, config, udp=udp, seed=2),
    )


def lose_connections(*peers: TcpPeer) -> None:
    for peer in peers:
        for path, connection in list(peer.connections.items()):
            del peer.host.tcp.connections[connection.local, connection.remote]
            del peer.connections[path]
            peer.machine.path_closed(path, peer.host.world.now)
    for peer in peers:
        peer.pump()


def nat_pair(
    world: World, behaviour: NatBehaviour, config: IceConfig | None = None, *, signalling: float = 0.05
) -> tuple[TcpPeer, TcpPeer]:
    peers = []
    for number, role in ((1, Role.CONTROLLING), (2, Role.CONTROLLED)):
        home = world.nat(behaviour, f"203.0.113.{number}", name=f"home {number}")
        host = world.host(f"host {number}", home.inside, f"192.168.{number}.2", link=LINK)
        peers.append(TcpPeer(host, role, ALL, config, seed=number, signalling=signalling))
    return peers[0], peers[1]


def between_nats(*peers: TcpPeer) -> list[tuple[float, FiveTuple]]:
    """What was dialled from NAT to NAT."""
    return [dial for peer in peers for dial in peer.dialled if dial[1].remote.host in ("203.0.113.1", "203.0.113.2")]


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


def test_udp_has_a_head_start_and_needs_no_connection() -> None:
    world = World()
    a, b = two_hosts(world, ALL, ALL, udp=True)
    connect(a, b)
    world.run(until=world.now + 3.0)
    assert is_connected(a, b)
    assert a.machine.selected_path is not None
    assert a.machine.selected_path.protocol is TransportProtocol.UDP
    assert a.dialled == b.dialled == []
    assert a.sent + b.sent == 6


def test_blocked_udp_is_made_up_for_by_tcp_right_after_the_head_start() -> None:
    world = World()
    behaviour = replace(NatBehaviour.port_restricted_cone(), udp_blocked=True)
    home = world.nat(behaviour, "203.0.113.1")
    a = TcpPeer(world.host("a", home.inside, "192.168.1.2", link=LINK), Role.CONTROLLING, udp=True)
    b = TcpPeer(world.host("b", world.internet, "198.51.100.2", link=LINK), Role.CONTROLLED, udp=True, seed=2)
    connect(a, b)
    assert is_connected(a, b)
    assert world.now < 1.0
    assert a.machine.selected_pair is not None
    assert a.machine.selected_pair.local.tcp_type is ACTIVE
    world.run(until=world.now + 10.0)
    assert len(a.host.tcp.connections) == len(b.host.tcp.connections) == 1, "the others are closed"


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


@pytest.mark.parametrize("stray_syn", list(StraySyn))
@pytest.mark.parametrize("reset_ends_session", [False, True])
@pytest.mark.parametrize("signalling", [0.01, 0.3])
def test_two_nats_are_crossed_by_simultaneous_open(
    stray_syn: StraySyn, reset_ends_session: bool, signalling: float
) -> None:
    world = World(seed=3)
    behaviour = replace(
        NatBehaviour.port_restricted_cone(),
        udp_blocked=True,
        stray_syn=stray_syn,
        reset_ends_session=reset_ends_session,
    )
    server = add_tcp_stun_server(world)
    a, b = nat_pair(world, behaviour, signalling=signalling)
    connect(a, b, server)
    assert is_connected(a, b)
    pair = a.machine.selected_pair
    assert pair is not None
    assert pair.local.tcp_type is SO
    assert pair.local.address.host == "203.0.113.1"
    assert world.now < 12.0
    assert len(between_nats(a, b)) < 100


def test_a_low_ttl_opener_makes_the_first_syn_end_between_the_nats() -> None:
    world = World(seed=3)
    behaviour = replace(
        NatBehaviour.port_restricted_cone(), udp_blocked=True, stray_syn=StraySyn.RESET, reset_ends_session=True
    )
    server = add_tcp_stun_server(world)
    config = IceConfig(tcp=TcpConfig(opener_ttl=2))  # Dies at the second router: the peer's NAT.
    a, b = nat_pair(world, behaviour, config=config)
    connect(a, b, server)
    assert is_connected(a, b)
    assert len(between_nats(a, b)) <= 6, "no NAT was provoked, so nothing had to be tried often"


def test_address_dependent_nats_are_not_crossed_and_the_attempts_end() -> None:
    world = World(seed=5)
    behaviour = replace(NatBehaviour.symmetric(), udp_blocked=True, stray_syn=StraySyn.RESET)
    server = add_tcp_stun_server(world)
    a, b = nat_pair(world, behaviour)
    connect(a, b, server)
    assert a.state is b.state is State.FAILED
    assert max(at for at, _ in between_nats(a, b)) < 15.0
    assert not a.host.tcp.connections, "and nothing is left behind"


def test_no_more_than_five_connections_to_one_address_are_being_opened() -> None:
    world = World()
    a, b = two_hosts(world, (ACTIVE,), ())
    world.hosts["b"].tcp.receive = lambda packet: None  # type: ignore[method-assign]
    a.start(b, ())
    a.machine.set_remote_description(b.machine.local_description, 0.0)
    for port in range(1, 13):
        text = f"{port} 1 tcp {1000 - port} 198.51.100.2 {5000 + port} typ host tcptype passive"
        a.machine.add_remote_candidate(Candidate.from_sdp(text), 0.0)
    a.pump()
    peak = 0
    while (due := world.next_at()) is not None and due < 9.0:
        world.step()
        peak = max(peak, len(a.connections))
    assert peak == 5
    assert len(a.dialled) == 5
    world.run(until=25.0)
    assert len(a.dialled) == 12, "those that time out make room"


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
