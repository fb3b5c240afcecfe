"""Gathering on asyncio: servers and their names, none of which may hold up the others."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from ice.aio import Session
from ice.aio.gathering import stun_servers
from ice.candidate import Candidate, CandidateType, TcpType
from ice.config import IceConfig
from ice.errors import SessionClosedError
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress
from stun.aio.server import serve
from stun.errors import StunUriError
from stun.uri import Scheme, ServerUri
from tests.ice.sessions import STUN, WIRE, session
from tests.simulation import Host, NatBehaviour, World, virtual_time
from tests.simulation.stun_server import stun_server

NAME = "stun.example:3478"


def home(world: World) -> Host:
    router = world.nat(NatBehaviour.port_restricted_cone(), "198.51.100.1")
    return world.host("alice", router.inside, "192.168.1.2", link=WIRE)


def asking(*servers: str) -> IceConfig:
    return IceConfig(stun_servers=servers)


async def timed(alone: Session) -> tuple[float, dict[CandidateType, float]]:
    """Gather; return how long that took, and when the first candidate of each type was told."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    seen: dict[CandidateType, float] = {}

    def found(candidate: Candidate | None) -> None:
        if candidate is not None:
            seen.setdefault(candidate.type, loop.time() - began)

    alone.on("candidate", found)
    await alone.gather()
    took = loop.time() - began
    await alone.close()
    return took, seen


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("stun:stun.example", "stun.example", None),
        ("stun:stun.example:3479", "stun.example", 3479),
        ("STUN:203.0.113.1", "203.0.113.1", None),
        ("stun.example", "stun.example", None),
        ("stun.example:3479", "stun.example", 3479),
        ("203.0.113.1:3479", "203.0.113.1", 3479),
        ("[2001:db8::1]:3479", "2001:db8::1", 3479),
        ("stun:3479", "stun", 3479),
    ],
)
def test_servers_are_uris_or_host_and_port(text: str, host: str, port: int | None) -> None:
    assert stun_servers(asking(text, text)) == [ServerUri(Scheme.STUN, host, port)]


@pytest.mark.parametrize("text", ["", "stun:", "turn:turn.example", "stuns:stun.example", "a b", "stun:x:99999"])
def test_what_is_no_stun_server_is_refused_at_once(text: str) -> None:
    with pytest.raises(StunUriError):
        Session(config=asking(text))


@virtual_time
async def test_a_server_tells_the_outer_address() -> None:
    world = World()
    stun_server(world, STUN)
    alone = session(home(world), Role.CONTROLLING, asking(STUN))
    took, seen = await timed(alone)
    host, reflexive = alone.local_candidates
    assert (host.type, reflexive.type) == (CandidateType.HOST, CandidateType.SERVER_REFLEXIVE)
    assert reflexive.address == ("198.51.100.1", host.address.port)
    assert reflexive.related_address == host.address
    assert seen[CandidateType.HOST] == 0.0, "host candidates wait for nobody"
    assert took == pytest.approx(0.01)


@virtual_time
async def test_a_name_is_resolved() -> None:
    world = World()
    world.names["stun.example"] = [STUN]
    world.dns_delay = 0.3
    stun_server(world, STUN)
    took, seen = await timed(session(home(world), Role.CONTROLLING, asking(NAME)))
    assert seen[CandidateType.HOST] == 0.0
    assert seen[CandidateType.SERVER_REFLEXIVE] == took == pytest.approx(0.31)


@virtual_time
async def test_dead_servers_and_dead_names_do_not_delay_the_answer() -> None:
    world = World()
    stun_server(world, STUN)
    dead = ["203.0.113.201", "203.0.113.202:9", "nobody.example:3478"]
    took, seen = await timed(session(home(world), Role.CONTROLLING, asking(*dead, STUN)))
    assert seen[CandidateType.SERVER_REFLEXIVE] < 0.2
    assert took < 1.0, "once one has answered, the others get half a second"


@virtual_time
async def test_a_name_that_hangs_does_not_delay_the_answer() -> None:
    world = World()
    world.names["stun.example"] = [STUN]
    world.dns_delay = 3600.0
    stun_server(world, STUN)
    took, seen = await timed(session(home(world), Role.CONTROLLING, asking(NAME, STUN)))
    assert seen[CandidateType.SERVER_REFLEXIVE] == pytest.approx(0.01)
    assert took < 1.0


@virtual_time
async def test_without_any_answer_gathering_still_ends() -> None:
    world = World()
    took, seen = await timed(session(home(world), Role.CONTROLLING, asking("203.0.113.201", "203.0.113.202")))
    assert set(seen) == {CandidateType.HOST}
    assert took <= 5.1
    world = World()
    world.names["stun.example"] = [STUN]
    world.dns_delay = 3600.0
    took, seen = await timed(session(home(world), Role.CONTROLLING, asking(NAME)))
    assert set(seen) == {CandidateType.HOST}
    assert took <= 5.1


@virtual_time
async def test_a_server_with_many_addresses_is_asked_once_per_family() -> None:
    world = World()
    addresses = [f"203.0.113.{last}" for last in range(60, 80)]
    server = stun_server(world, *addresses, "2001:db8::53")
    world.names["stun.example"] = [*addresses, "2001:db8::53"]
    host = world.host("alice", world.internet, "203.0.113.1", "2001:db8::1")
    await timed(session(host, Role.CONTROLLING, asking(NAME)))
    assert server.received == 2


@virtual_time
async def test_closing_while_gathering_leaves_nothing_behind() -> None:
    world = World()
    world.names["stun.example"] = [STUN]
    world.dns_delay = 3600.0
    host = home(world)
    alone = session(host, Role.CONTROLLING, asking(NAME, "203.0.113.201"))
    gathering = asyncio.create_task(alone.gather())
    await asyncio.sleep(0.1)
    assert host.sockets
    await alone.close()
    with pytest.raises(SessionClosedError):
        await gathering
    assert not host.sockets


@virtual_time
async def test_cancelling_the_caller_does_not_stop_the_gathering() -> None:
    world = World()
    stun_server(world, STUN)
    alone = session(home(world), Role.CONTROLLING, asking(STUN))
    caller = asyncio.create_task(alone.gather())
    await asyncio.sleep(0)
    caller.cancel()
    await alone.gather()
    assert len(alone.local_candidates) == 2
    await alone.close()


class DeafTcp:
    """A network's TCP on which no connection ever opens."""

    def __init__(self) -> None:
        self.cancelled = 0

    def listen(self, wanted: TransportAddress, *_: object) -> SimpleNamespace:
        return SimpleNamespace(local=wanted._replace(port=6000), close=lambda: None)

    def dial(self, *_: object) -> SimpleNamespace:
        return SimpleNamespace(cancel=self._cancel)

    def _cancel(self) -> None:
        self.cancelled += 1


@virtual_time
async def test_a_caller_waits_for_tcp_only_if_it_wants_to_and_the_end_is_told_later() -> None:
    world, tcp = World(), DeafTcp()
    stun_server(world, STUN)
    network = home(world).network()
    network.tcp = tcp  # type: ignore[attr-defined]
    config = IceConfig(stun_servers=[STUN], tcp=TcpConfig(candidates={TcpType.PASSIVE}))
    alone = Session(config=config, network=network)
    told: list[str] = []
    alone.on("gathered", lambda _: told.append("gathered"))
    alone.on("candidate", lambda candidate: told.append("the end" if candidate is None else candidate.type))
    loop = asyncio.get_running_loop()
    began = loop.time()
    await alone.gather()
    assert loop.time() - began == pytest.approx(0.5, abs=0.1)
    assert not alone.gathering_complete
    await alone.gather(late=True)
    assert loop.time() - began == pytest.approx(5.0, abs=0.01)
    await asyncio.sleep(0)
    assert told == ["host", "host", "srflx", "gathered", "the end"]
    assert tcp.cancelled == 1
    await alone.close()


async def test_on_real_sockets_a_server_that_sees_the_host_address_adds_nothing() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        config = IceConfig(
            stun_servers=[f"stun:127.0.0.1:{server.udp[0].port}"],
            include_loopback=True,
            interfaces=["lo"],
            tcp=TcpConfig(reflexive=False),
        )
        alone = Session(config=config)
        await alone.gather()
        assert {candidate.type for candidate in alone.local_candidates} == {CandidateType.HOST}
        assert server.stats.responses == 1
        await alone.close()
