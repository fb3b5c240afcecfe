from __future__ import annotations

from dataclasses import replace

import pytest

from stun.address import TransportAddress
from tests.simulation.host import Host
from tests.simulation.link import LinkProfile
from tests.simulation.nat_behaviour import NatBehaviour, StraySyn
from tests.simulation.tcp import SimulatedConnection, TcpState
from tests.simulation.world import World

LINK = LinkProfile(latency=0.01)
A, B = TransportAddress("192.0.2.1", 5000), TransportAddress("198.51.100.2", 6000)


class Log:
    """What became of a connection."""

    def __init__(self, connection: SimulatedConnection) -> None:
        self.said: list[str] = []
        self.data: list[bytes] = []
        connection.on_open = lambda: self.said.append("open")
        connection.on_fail = lambda: self.said.append("failed")
        connection.on_closed = lambda: self.said.append("closed")
        connection.on_data = self.data.append


def hosts(world: World) -> tuple[Host, Host]:
    return (
        world.host("a", world.internet, A.host, link=LINK),
        world.host("b", world.internet, B.host, link=LINK),
    )


def test_a_listener_takes_a_connection_and_bytes_go_both_ways() -> None:
    world = World()
    a, b = hosts(world)
    accepted: list[tuple[SimulatedConnection, Log]] = []
    b.tcp.listen(B, lambda connection: accepted.append((connection, Log(connection))))
    ours = a.tcp.connect(A, B)
    log = Log(ours)
    world.run(until=0.5)
    assert log.said == ["open"]
    [(theirs, their_log)] = accepted
    ours.send(b"there")
    theirs.send(b"back")
    world.run(until=0.6)
    assert (their_log.data, log.data) == ([b"there"], [b"back"])
    ours.close()
    world.run(until=0.7)
    assert their_log.said == ["closed"]
    assert log.said == ["open"]
    assert not a.tcp.connections
    assert not b.tcp.connections


def test_two_syns_that_cross_make_one_connection() -> None:
    world = World()
    a, b = hosts(world)
    ours, theirs = a.tcp.connect(A, B), b.tcp.connect(B, A)
    logs = Log(ours), Log(theirs)
    world.run(until=0.5)
    assert [log.said for log in logs] == [["open"], ["open"]]
    assert ours.state is theirs.state is TcpState.ESTABLISHED


def test_nobody_there_is_a_reset_at_once_and_silence_is_silence() -> None:
    world = World()
    a, b = hosts(world)
    refused = Log(a.tcp.connect(A, B))
    world.run(until=0.5)
    assert refused.said == ["failed"]
    b.vanish()
    sent = len(a.tcp.connections)
    silent = a.tcp.connect(A, B)
    log = Log(silent)
    world.run(until=30.0)
    assert log.said == []
    assert sent == 0
    assert silent.state is TcpState.SYN_SENT


def behind_nat(world: World, behaviour: NatBehaviour) -> tuple[Host, Host, TransportAddress]:
    home = world.nat(behaviour, "203.0.113.1")
    inside = world.host("inside", home.inside, "192.168.1.2", link=LINK)
    outside = world.host("outside", world.internet, B.host, link=LINK)
    inside.tcp.listen(TransportAddress("192.168.1.2", 5000), lambda connection: None)
    return inside, outside, TransportAddress("203.0.113.1", 5000)


@pytest.mark.parametrize(("policy", "outcome"), [(StraySyn.DROP, []), (StraySyn.RESET, ["failed"])])
def test_a_syn_that_nobody_asked_for(policy: StraySyn, outcome: list[str]) -> None:
    world = World()
    behaviour = replace(NatBehaviour.port_restricted_cone(), stray_syn=policy)
    _, outside, mapped = behind_nat(world, behaviour)
    log = Log(outside.tcp.connect(B, mapped))
    world.run(until=0.5)
    assert log.said == outcome


@pytest.mark.parametrize(("forgets", "outcome"), [(False, ["open"]), (True, ["failed"])])
def test_a_reset_from_outside_may_close_the_door_again(forgets: bool, outcome: list[str]) -> None:
    world = World()
    behaviour = replace(NatBehaviour.port_restricted_cone(), stray_syn=StraySyn.RESET, reset_ends_session=forgets)
    inside, outside, mapped = behind_nat(world, behaviour)
    first = Log(inside.tcp.connect(TransportAddress("192.168.1.2", 5000), B))
    world.run(until=0.5)
    assert first.said == ["failed"], "nobody listens outside"
    log = Log(outside.tcp.connect(B, mapped))
    world.run(until=1.0)
    assert log.said == outcome


def test_a_low_ttl_opens_the_own_nat_and_reaches_nobody() -> None:
    world = World()
    inside, outside, mapped = behind_nat(world, NatBehaviour.port_restricted_cone())
    far = world.nat(NatBehaviour.port_restricted_cone(), "203.0.113.2", name="far")
    other = world.host("other", far.inside, "192.168.2.2", link=LINK)
    other.tcp.listen(TransportAddress("192.168.2.2", 6000), lambda connection: None)
    opener = inside.tcp.connect(TransportAddress("192.168.1.2", 5000), TransportAddress("203.0.113.2", 6000), ttl=2)
    world.run(until=0.2)
    opener.close()
    log = Log(other.tcp.connect(TransportAddress("192.168.2.2", 6000), mapped))
    world.run(until=0.9)
    assert log.said == ["open"]
    del outside


def test_tcp_and_udp_have_tables_of_their_own() -> None:
    world = World()
    behaviour = replace(NatBehaviour.full_cone(), tcp_blocked=True)
    inside, outside, _ = behind_nat(world, behaviour)
    log = Log(inside.tcp.connect(TransportAddress("192.168.1.2", 5000), B))
    outside.tcp.listen(B, lambda connection: None)
    heard: list[bytes] = []
    outside.bind(B, lambda data, remote: heard.append(data))
    inside.bind(TransportAddress("192.168.1.2", 5000), lambda data, remote: None).send(b"udp", B)
    world.run(until=0.5)
    assert (log.said, heard) == ([], [b"udp"])
