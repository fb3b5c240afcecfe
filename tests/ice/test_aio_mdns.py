"""Sessions with names on a simulated network, and the shared responder on loopback."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ice.aio import Session
from ice.aio.mdns import ZeroconfNames
from ice.config import IceConfig
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.roles import Role
from stun.aio import UdpNetwork
from stun.network import Interface
from tests.ice.sessions import WIRE, trickle
from tests.simulation import World, virtual_time
from tests.simulation.host import Host, SimulatedNetwork

PUBLISH = IceConfig(mdns=MdnsConfig(mode=MdnsMode.PUBLISH))


class Air:
    """What multicast reaches: names and their hosts."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.published: list[str] = []
        self.asked: list[str] = []
        self.broken = False


class FakeNames:
    """One session's multicast DNS, 50 ms away."""

    def __init__(self, air: Air) -> None:
        self.air = air

    async def resolve(self, name: str, timeout: float) -> Sequence[str]:
        self.air.asked.append(name)
        await asyncio.sleep(0.05 if name in self.air.names else timeout)
        return [self.air.names[name]] if name in self.air.names else []

    async def publish(self, name: str, host: str) -> None:
        if self.air.broken:
            raise OSError("no multicast here")
        await asyncio.sleep(0.05)
        self.air.names[name] = host
        self.air.published.append(name)

    def withdraw(self, name: str) -> None:
        self.air.names.pop(name, None)

    async def close(self) -> None:
        await asyncio.sleep(0)


class NamingSimulation(SimulatedNetwork):
    def __init__(self, host: Host, air: Air) -> None:
        super().__init__(host)
        self.air = air

    def multicast_names(self) -> FakeNames:
        return FakeNames(self.air)


@asynccontextmanager
async def two(air: Air, config: IceConfig) -> AsyncIterator[tuple[Session, Session]]:
    world = World(1)
    router = world.realm("lan")
    hosts = [world.host(f"h{index}", router, f"192.168.7.{index}", link=WIRE) for index in (1, 2)]
    roles = (Role.CONTROLLING, Role.CONTROLLED)
    sessions = [
        Session(role, config, NamingSimulation(host, air), random.Random(host.name))
        for role, host in zip(roles, hosts, strict=True)
    ]
    try:
        yield sessions[0], sessions[1]
    finally:
        for session in sessions:
            await session.close()


@virtual_time
async def test_hidden_on_both_sides_they_connect_and_take_their_names_away() -> None:
    air = Air()
    async with two(air, PUBLISH) as (one, other):
        trickle(one, other)
        trickle(other, one)
        await asyncio.gather(one.connect(), other.connect())
        assert len(air.published) == len(air.asked) == 2
        assert set(air.names.values()) == {"192.168.7.1", "192.168.7.2"}
        for session in (one, other):
            shown = repr(session.stats()) + repr(session.selected_pair) + repr(session.remote_candidates)
            assert "192.168" not in shown
            assert all(".local" in candidate.to_sdp() for candidate in session.local_candidates)
    assert air.names == {}


@virtual_time
async def test_where_nothing_can_be_published_the_address_stays_hidden() -> None:
    air = Air()
    air.broken = True
    async with two(air, PUBLISH) as (one, _):
        await one.gather()
        assert one.local_candidates == []
        assert one.stats().agent.dropped == {"own candidate: its name could not be published": 1}


@virtual_time
async def test_a_session_may_end_while_its_names_are_on_their_way() -> None:
    air = Air()
    async with two(air, PUBLISH) as (one, other):
        trickle(one, other)
        trickle(other, one)
        await asyncio.gather(one.gather(), other.gather())
        await asyncio.sleep(0.01)
        assert len(air.asked) == 2
    assert air.names == {}


async def test_one_responder_serves_all_sessions_of_a_loop() -> None:
    class Loopback(UdpNetwork):
        def interfaces(self) -> Sequence[Interface]:
            return [Interface("lo", "127.0.0.1", 8)]

    one, other = ZeroconfNames(Loopback()), ZeroconfNames(Loopback())
    name = f"lastresort-{random.SystemRandom().getrandbits(64):016x}.local"
    try:
        await one.publish(name, "127.0.0.1")
        assert list(await other.resolve(name, 3.0)) == ["127.0.0.1"]
        await one.close()
        assert list(await other.resolve(f"x{name}", 0.05)) == []
    finally:
        await one.close()
        await other.close()
    again = ZeroconfNames(Loopback())  # The first two are gone, and so is their responder.
    await again.publish(name, "127.0.0.1")
    await again.close()
