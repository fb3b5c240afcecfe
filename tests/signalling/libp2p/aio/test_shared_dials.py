"""Dials that several callers share: nobody is cancelled because somebody else was."""

from __future__ import annotations

import asyncio

import pytest

from signalling.errors import ConnectionClosed
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.dialer import SharedDials
from signalling.libp2p.multiaddr import Multiaddr
from tests.signalling.libp2p.memory import Network
from tests.simulation.loop import virtual_time

PLACE = Multiaddr("/ip4/192.0.2.1/tcp/4001")


async def slow_to_stop() -> Connection:
    """A dial that takes a while to clean up behind itself."""
    try:
        await asyncio.Event().wait()
    finally:
        await asyncio.sleep(1)
    raise AssertionError("it waits for ever")


async def answer() -> Connection:
    await asyncio.sleep(0.1)
    return CONNECTION


CONNECTION = object.__new__(Connection)


@virtual_time
async def test_who_comes_while_an_abandoned_dial_stops_gets_a_dial_of_its_own() -> None:
    dials = SharedDials()
    first = asyncio.create_task(dials.join("there", slow_to_stop()))
    await asyncio.sleep(0.5)
    first.cancel()
    await asyncio.sleep(0)
    second = asyncio.create_task(dials.join("there", answer()))

    assert await second is CONNECTION
    with pytest.raises(asyncio.CancelledError):
        await first
    await dials.close()


@virtual_time
async def test_the_end_is_told_as_an_error_and_waits_for_what_still_stops() -> None:
    dials = SharedDials()
    before = asyncio.all_tasks()
    abandoned = asyncio.create_task(dials.join("there", slow_to_stop()))
    waiting = [asyncio.create_task(dials.join("elsewhere", slow_to_stop())) for _ in range(2)]
    await asyncio.sleep(0.5)
    abandoned.cancel()
    await asyncio.sleep(0)
    await dials.close()

    for caller in waiting:
        with pytest.raises(ConnectionClosed):
            await caller
    await asyncio.gather(abandoned, return_exceptions=True)
    assert asyncio.all_tasks() == before


@virtual_time
async def test_a_host_that_closes_tells_those_who_still_dial() -> None:
    network = Network()
    hole = Multiaddr("/ip4/192.0.2.50/tcp/1")
    network.black_holes.add(hole)
    host = network.host()
    dial = asyncio.create_task(host.connect(hole))
    await asyncio.sleep(0.01)
    await host.close()

    with pytest.raises(ConnectionClosed):
        await dial
