"""Sessions on machines whose addresses come and go."""

from __future__ import annotations

import asyncio

import pytest

import ice
from ice.aio import Session
from ice.aio.roaming import Roaming
from ice.events import RestartReason, State
from ice.life_config import RoamingConfig, UpgradeConfig
from stun.address import TransportAddress
from tests.ice.sessions import WIRE, Pair, pair
from tests.ice.test_aio_restart import both_ends
from tests.simulation import World, virtual_time

NEW = "198.51.100.7"
QUICK = RoamingConfig(poll_interval=1.0)
CONFIG = ice.IceConfig(roaming=QUICK)


def plug(both: Pair, side: int, address: str = NEW) -> None:
    both.hosts[side].add_interface(both.world.internet, address, link=WIRE)


def unplug(both: Pair, side: int) -> None:
    both.hosts[side].remove_address(both.hosts[side].addresses[0])


class Chatter:
    """A side that sends numbered datagrams all the time, and what of them arrived."""

    def __init__(self, source: Session, sink: Session) -> None:
        self.heard: list[int] = []
        self.sent = 0
        self._source = source
        self._sink = sink
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._hear())]

    async def _send(self) -> None:
        while True:
            self._source.send(self.sent.to_bytes(4, "big"))
            self.sent += 1
            await asyncio.sleep(0.01)

    async def _hear(self) -> None:
        while True:
            self.heard.append(int.from_bytes(await self._sink.receive(), "big"))

    async def stop(self) -> None:
        self._tasks[0].cancel()
        await asyncio.sleep(0.2)
        self._tasks[1].cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def local_host(session: Session) -> str:
    assert session.selected_pair is not None
    return session.selected_pair.path.local.host


@pytest.mark.parametrize("side", [0, 1])
@virtual_time
async def test_a_session_moves_to_a_new_address_when_the_old_one_goes(side: int) -> None:
    async with pair(config=CONFIG) as both:
        await both.connect()
        moving = (both.controlling, both.controlled)[side]
        chatters = [Chatter(both.controlling, both.controlled), Chatter(both.controlled, both.controlling)]
        plug(both, side)
        await asyncio.sleep(8)
        unplug(both, side)
        await asyncio.sleep(8)
        for chatter in chatters:
            await chatter.stop()
        assert local_host(moving) == NEW
        assert both.controlling.state is both.controlled.state is State.COMPLETED
        lost = max(chatter.sent - len(set(chatter.heard)) for chatter in chatters)
        # The side that controls leaves at once when it looks; the other one has the controlling side notice first.
        assert lost / 100 < (1.5 if side == 0 else 5.0), "seconds without a path"
        assert both.controlling.stats().agent.dropped.get("response: unknown or not authentic", 0) < 5


@virtual_time
async def test_an_address_that_changes_in_one_go_is_moved_to() -> None:
    async with pair(config=CONFIG) as both:
        await both.connect()
        plug(both, 0)
        unplug(both, 0)
        await asyncio.sleep(10)
        assert local_host(both.controlling) == NEW
        assert both.controlled.selected_pair is not None
        assert both.controlled.selected_pair.path.remote.host == NEW
        both.controlling.send(b"still here")
        assert await both.controlled.receive() == b"still here"


@virtual_time
async def test_without_renomination_it_takes_a_restart_which_an_exchange_does_by_itself() -> None:
    world = World(6)
    config = ice.IceConfig(roaming=QUICK, upgrade=UpgradeConfig(renomination=False))

    async def act(first: ice.Path, second: ice.Path) -> None:
        [host] = {socket._host for socket in first.session._driver.sockets}  # type: ignore[union-attr]
        host.add_interface(world.internet, NEW, link=WIRE)
        host.remove_address(host.addresses[0])
        wanted: list[RestartReason] = []
        first.session.on("restartwanted", wanted.append)
        await asyncio.sleep(20)
        assert wanted
        assert local_host(first.session) == NEW
        first.session.send(b"still here")
        assert await second.receive() == b"still here"

    await both_ends(world, None, config, act)


@virtual_time
async def test_a_new_address_is_told_while_gathering_lasts_and_after_that_in_the_next_generation() -> None:
    async with pair(config=CONFIG) as both:
        await both.connect()
        told: list[str] = []
        both.controlling.on("candidate", lambda found: told.append(found.address.host if found else "end"))
        plug(both, 0)
        await asyncio.sleep(3)
        assert told == [], "RFC 8838 section 13: the candidates have ended"
        both.controlling.restart()
        await asyncio.sleep(0.1)
        assert NEW in told
        assert told[-1] == "end"


@virtual_time
async def test_without_any_address_left_the_session_waits_and_then_ends() -> None:
    async with pair(config=CONFIG) as both:
        await both.connect()
        unplug(both, 0)
        await asyncio.sleep(5)
        assert both.controlling.state is State.DISCONNECTED
        both.controlling.send(b"lost")
        await asyncio.sleep(30)
        assert both.controlling.state is State.FAILED


@virtual_time
async def test_switched_off_new_addresses_are_not_used() -> None:
    async with pair(config=ice.IceConfig(roaming=RoamingConfig(enabled=False))) as both:
        await both.connect()
        plug(both, 0)
        await asyncio.sleep(30)
        assert NEW not in [base.host for base in both.controlling._driver.bases()]  # type: ignore[union-attr]


class Machine:
    """What Roaming sees of a session, and of a network that tells of changes."""

    def __init__(self, *hosts: str) -> None:
        self.listed = list(hosts)
        self.bases = {TransportAddress(host, 1) for host in hosts}
        self.refuses = 0
        self.looks = 0
        self.ended = 0
        self.changed = lambda: None

    async def hosts(self) -> list[str]:
        self.looks += 1
        return self.listed

    def bound(self) -> list[TransportAddress]:
        return list(self.bases)

    async def add_host(self, host: str) -> None:
        if self.refuses:
            self.refuses -= 1
            raise OSError("not yet")
        self.bases.add(TransportAddress(host, 1))

    def drop(self, base: TransportAddress) -> None:
        self.bases.discard(base)

    def watch_interfaces(self, changed: object) -> object:
        self.changed = changed  # type: ignore[assignment]
        return self.end

    def end(self) -> None:
        self.ended += 1

    def roaming(self, config: RoamingConfig) -> Roaming:
        return Roaming(config, self, self)  # type: ignore[arg-type]


@virtual_time
async def test_where_the_system_tells_nothing_is_polled_and_a_crowd_of_changes_is_one_look() -> None:
    machine = Machine("192.0.2.1")
    roaming = machine.roaming(RoamingConfig())
    roaming.start()
    roaming.start()
    await asyncio.sleep(3600)
    assert machine.looks == 0
    machine.listed = ["192.0.2.2"]
    for _ in range(100):
        machine.changed()
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    assert machine.looks == 1
    assert {base.host for base in machine.bases} == {"192.0.2.2"}
    roaming.stop()
    roaming.stop()
    await asyncio.sleep(0)
    assert machine.ended == 1


@virtual_time
async def test_an_address_that_cannot_be_bound_yet_is_tried_again_and_not_for_ever() -> None:
    for refuses, works in ((3, True), (1000, False)):
        machine = Machine("192.0.2.1")
        roaming = machine.roaming(RoamingConfig())
        roaming.start()
        await asyncio.sleep(0)
        machine.listed.append("2001:db8::1")
        machine.refuses = refuses
        machine.changed()
        await asyncio.sleep(60)
        assert ("2001:db8::1" in {base.host for base in machine.bases}) is works
        assert machine.looks <= RoamingConfig().attempts + 1
        roaming.stop()
        await asyncio.sleep(0)
