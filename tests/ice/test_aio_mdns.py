"""Sessions with names on a simulated network, and the shared responder on loopback."""

from __future__ import annotations

import asyncio
import gc
import random
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import ifaddr
import pytest

from ice.aio import Session
from ice.aio.mdns import NameService, ZeroconfNames
from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description
from ice.mdns import Names, PublishName, ResolveName
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.remote import Rejection
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


class Loopback(UdpNetwork):
    """A machine that has nothing but loopback, and an address that nothing can be bound to."""

    def interfaces(self) -> Sequence[Interface]:
        return [Interface("lo", "127.0.0.1", 8), Interface("lo", "2001:db8::dead", 64)]


@pytest.mark.parametrize("mode", [MdnsMode.PUBLISH, MdnsMode.RESOLVE])
async def test_without_its_library_multicast_dns_is_off_and_the_log_says_so_once(
    mode: MdnsMode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "zeroconf"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "zeroconf", None)
    monkeypatch.setitem(sys.modules, "zeroconf.asyncio", None)
    config = IceConfig(
        include_loopback=True, mdns=MdnsConfig(mode=mode, hidden_networks=("127.0.0.0/8",), resolve_interval=0.0)
    )
    alone = Session(config=config, network=Loopback())
    await alone.gather()
    alone.set_remote_description(Description("ufrag", "p" * 24))
    for number in (1, 2):
        alone.add_remote_candidate(Candidate.from_sdp(f"1 1 udp {number} x{number}.local 9000 typ host"))
    await asyncio.sleep(0)
    await asyncio.wait([task for task in asyncio.all_tasks() if task.get_name().endswith(".local")])
    assert alone.stats().agent.dropped[Rejection.UNRESOLVED.value] == 2
    assert [candidate.address.host for candidate in alone.local_candidates if candidate.transport == "udp"] == (
        [] if mode is MdnsMode.PUBLISH else ["127.0.0.1"]
    ), "what is to be hidden stays hidden"
    await alone.close()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert warnings[0].startswith(f"multicast DNS is off (MdnsConfig.mode is {mode}): the library zeroconf")


async def test_an_address_that_cannot_be_bound_leaves_no_socket_open(monkeypatch: pytest.MonkeyPatch) -> None:
    # As an IPv6 address that is still checked for duplicates. A socket that is left open is a warning, so a failure.
    address = ifaddr.IP(("2001:db8::dead", 0, 0), 64, "lo")
    broken = ifaddr.Adapter("lo", "lo", [address], index=socket.if_nametoindex("lo"))
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: [broken])
    names = ZeroconfNames(Loopback())
    await names.publish("lastresort-x.local", "127.0.0.1")
    await names.close()
    gc.collect()


async def test_a_session_may_end_at_any_moment_of_publishing_and_resolving() -> None:
    nothing = Names(IceConfig(), random.Random(1), lambda now: None)
    for turns in range(16):
        service = NameService(nothing, MdnsConfig(), Loopback(), lambda: None)
        service.perform(PublishName(f"lastresort-{turns}.local", "127.0.0.1"))
        service.perform(ResolveName(f"lastresort-{turns + 1}.local"))
        for _ in range(turns):
            await asyncio.sleep(0)
        service.end()
        await service.ended()
        gc.collect()  # A socket that was left open is a warning, and so a failure.
