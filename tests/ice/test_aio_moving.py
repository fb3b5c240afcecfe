"""Sessions that move while data flows: off a relay, off a dead path, and by a restart that nobody had to ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import ice
from ice.aio import Session
from ice.events import State
from ice.life_config import UpgradeConfig
from ice.relay import RelayState
from tests.ice.sessions import Pair
from tests.ice.test_aio_restart import Stream, both_ends
from tests.ice.test_relay_sessions import BOTH, relayed_pair, server
from tests.simulation import World, virtual_time
from tests.simulation.nat import Packet
from tests.simulation.realm import Attachment
from tests.simulation.turn_server import turn_server


class Firewall:
    """Stands in a world's internet and drops what it is told to."""

    def __init__(self, world: World) -> None:
        self.drops: Callable[[Packet], bool] = lambda packet: False
        switch = world.internet.switch

        def check(packet: Packet, sender: Attachment) -> None:
            if not self.drops(packet):
                switch(packet, sender)

        world.internet.switch = check  # type: ignore[method-assign]

    def between(self, *hosts: str) -> None:
        """Drop what goes between two hosts directly."""
        self.drops = lambda packet: {packet.source.host, packet.destination.host} == set(hosts)

    def open(self) -> None:
        """Drop nothing."""
        self.drops = lambda packet: False


def hosts(both: Pair) -> tuple[str, str]:
    first, second = (host.addresses[0] for host in both.hosts)
    return first, second


def is_relayed(session: Session) -> bool:
    assert session.selected_pair is not None
    return session.selected_pair.is_relayed


@virtual_time
async def test_a_session_climbs_off_its_relay_without_losing_a_datagram() -> None:
    async with relayed_pair(BOTH) as both:
        firewall = Firewall(both.world)
        firewall.between(*hosts(both))
        await both.connect()
        assert is_relayed(both.controlling)
        streams = Stream(both.controlling, both.controlled), Stream(both.controlled, both.controlling)
        running = asyncio.gather(*(stream.run(30.0) for stream in streams))
        await asyncio.sleep(5)
        firewall.open()
        await running
        for side in (both.controlling, both.controlled):
            assert not is_relayed(side)
            assert side.stats().selected_pair_changes == 2
            assert side.state is State.COMPLETED
            assert {relay.state for relay in side.stats().agent.relays} == {RelayState.RELEASED}


@virtual_time
async def test_a_dead_path_under_load_is_replaced_by_the_relay_s_long_before_consent_ends() -> None:
    # The allocation is still there while it may be needed: the session began on it.
    async with relayed_pair(BOTH) as both:
        firewall = Firewall(both.world)
        both.controlled.on("restart", both.controlling.set_remote_description)
        both.controlling.on("restart", both.controlled.set_remote_description)
        both.controlled.on("candidate", both.controlling.add_remote_candidate)
        both.controlling.on("candidate", both.controlled.add_remote_candidate)
        both.controlling.on("restartwanted", lambda reason: both.controlling.restart())
        await both.connect()
        await asyncio.sleep(10)
        assert not is_relayed(both.controlling)
        firewall.between(*hosts(both))
        began = asyncio.get_running_loop().time()
        talking = asyncio.create_task(talk(both.controlling))
        selected = asyncio.Event()
        both.controlling.on("selectedpair", lambda pair: selected.set())
        await selected.wait()
        assert is_relayed(both.controlling)
        assert asyncio.get_running_loop().time() - began < 20.0
        await asyncio.sleep(1)
        assert is_relayed(both.controlled)
        talking.cancel()
        await asyncio.gather(talking, return_exceptions=True)


async def talk(session: Session) -> None:
    while True:
        session.send(b"x")
        await asyncio.sleep(0.02)


@virtual_time
async def test_over_an_exchange_a_peer_without_renomination_is_moved_by_a_restart() -> None:
    world = World(5)
    turn_server(world)
    firewall = Firewall(world)
    firewall.between("198.51.100.1", "198.51.100.2")
    upgrade = UpgradeConfig(renomination=False)

    async def act(first: ice.Path, second: ice.Path) -> None:
        assert is_relayed(first.session)
        streams = Stream(first.session, second.session), Stream(second.session, first.session)
        running = asyncio.gather(*(stream.run(30.0) for stream in streams))
        await asyncio.sleep(3)
        firewall.open()
        await running
        assert not is_relayed(first.session)
        assert not is_relayed(second.session)
        assert first.session.remote_description == second.session.local_description

    config = ice.IceConfig(turn_servers=[server()], upgrade=upgrade)
    await both_ends(world, None, config, act)
