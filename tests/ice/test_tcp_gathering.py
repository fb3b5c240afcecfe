"""Asking STUN servers over TCP, in the simulated world: what is found, and how long that may take."""

from __future__ import annotations

import pytest

from ice.candidate import CandidateType, TcpType
from ice.description import Description
from ice.events import GatheringCompleted, GatheringSettled, LocalCandidateFound
from ice.roles import Role
from tests.ice.tcp_trip import LINK, PASSIVE, SO, TcpPeer, add_tcp_stun_server
from tests.simulation.nat_behaviour import NatBehaviour
from tests.simulation.world import World


def test_server_reflexive_candidates_over_tcp_keep_their_connections_until_ice_ends() -> None:
    world = World()
    home = world.nat(NatBehaviour.port_restricted_cone(), "203.0.113.1")
    server = add_tcp_stun_server(world)
    a = TcpPeer(world.host("a", home.inside, "192.168.1.2"), Role.CONTROLLING)
    a.machine.gather((server,), 0.0)
    a.pump()
    world.run(until=1.0)
    reflexive = [
        event.candidate
        for event in a.of_type(LocalCandidateFound)
        if event.candidate.type is CandidateType.SERVER_REFLEXIVE
    ]
    assert [candidate.tcp_type for candidate in reflexive] == [SO, PASSIVE] or {
        candidate.tcp_type for candidate in reflexive
    } == {SO, PASSIVE}
    preferences = {candidate.tcp_type: candidate.priority >> 21 & 7 for candidate in reflexive}
    assert preferences == {SO: 6, PASSIVE: 2}
    assert len(a.host.tcp.connections) == 2
    a.machine.close(world.now)
    a.pump()
    world.run(until=2.0)
    assert not a.host.tcp.connections


def gather_where_syns_get_lost(lost: float) -> tuple[World, TcpPeer, dict[type, float]]:
    """Gather where the server's TCP hears nothing for so many seconds; return when each event of gathering came."""
    world = World()
    home = world.nat(NatBehaviour.port_restricted_cone(), "203.0.113.1")
    server = add_tcp_stun_server(world)
    tcp = world.hosts[f"stun {server.host}"].tcp
    hear = tcp.receive
    tcp.receive = lambda packet: hear(packet) if world.now >= lost else None  # type: ignore[method-assign]
    a = TcpPeer(world.host("a", home.inside, "192.168.1.2", link=LINK), Role.CONTROLLING, udp=True)
    a.machine.gather((server,), 0.0)
    a.pump()
    came: dict[type, float] = {}

    def note() -> bool:
        for event in a.events:
            came.setdefault(type(event), world.now)
        return GatheringCompleted in came

    world.run(until=60.0, stop=note)
    return world, a, came


def reflexive_over_tcp(peer: TcpPeer) -> set[TcpType | None]:
    found = [event.candidate for event in peer.of_type(LocalCandidateFound)]
    return {each.tcp_type for each in found if each.type is CandidateType.SERVER_REFLEXIVE and each.tcp_type}


def test_a_server_without_tcp_is_worth_the_grace_only_and_the_end_of_candidates_waits_its_timeout() -> None:
    _, a, came = gather_where_syns_get_lost(lost=60.0)
    assert came[GatheringSettled] == pytest.approx(0.02 + 0.5), "a round trip over UDP, and the grace"
    assert came[GatheringCompleted] == 5.0
    assert len(a.dialled) == 2
    assert not reflexive_over_tcp(a)
    assert not a.connections, "and nobody tries on"


@pytest.mark.parametrize(("lost", "again"), [(0.5, 1.0), (2.0, 3.0)], ids=["one SYN", "two SYNs"])
def test_lost_syns_cost_time_and_no_candidate(lost: float, again: float) -> None:
    # RFC 6298 section 2: the first is sent again after one second, the second after two more.
    _, a, came = gather_where_syns_get_lost(lost)
    assert came[GatheringSettled] == pytest.approx(0.52), "an application that tells all at one go does not wait"
    assert reflexive_over_tcp(a) == {SO, PASSIVE}
    second = 0.05  # Ta after the first connection; then a round trip for the SYN and one for the question.
    assert came[GatheringCompleted] == pytest.approx(again + second + 2 * 0.02)
    assert [type(event) for event in a.events].count(GatheringCompleted) == 1


def test_where_nothing_gets_lost_gathering_settles_with_its_end() -> None:
    _, a, came = gather_where_syns_get_lost(lost=0.0)
    assert came[GatheringSettled] == came[GatheringCompleted] == pytest.approx(0.05 + 2 * 0.02)
    assert [type(event) for event in a.events][-2:] == [GatheringSettled, GatheringCompleted]


def test_a_restart_waits_for_tcp_anew() -> None:
    world, a, _ = gather_where_syns_get_lost(lost=1.5)
    started = world.now
    a.machine.set_remote_description(Description("remote", "p" * 24), started)
    a.machine.restart(started)
    a.pump()
    for kind in (GatheringSettled, GatheringCompleted):
        world.run(until=started + 5.0, stop=lambda kind=kind: len(a.of_type(kind)) == 2)  # type: ignore[misc]
        assert world.now < started + 0.2
