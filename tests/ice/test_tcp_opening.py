"""When TCP connections are opened, how often and how many at once, in the simulated world (RFC 6544 7.1 and 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.events import State
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import FiveTuple, TransportProtocol
from tests.ice.tcp_trip import ACTIVE, ALL, LINK, SO, TcpPeer, add_tcp_stun_server, is_connected, two_hosts
from tests.ice.trip import connect
from tests.simulation.nat_behaviour import NatBehaviour, StraySyn
from tests.simulation.world import World


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


def test_udp_has_a_head_start_and_needs_no_connection() -> None:
    world = World()
    a, b = two_hosts(world, ALL, ALL, udp=True)
    connect(a, b)
    world.run(until=world.now + 3.0)
    assert is_connected(a, b)
    assert a.machine.selected_path is not None
    assert a.machine.selected_path.protocol is TransportProtocol.UDP
    assert a.dialled == b.dialled == []
    assert a.sent + b.sent == 4


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
