"""The host's limits: dials, connections, streams, and readers that do not read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from signalling.errors import ConnectionClosed, LimitExceeded, NegotiationError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.multiaddr import Multiaddr
from tests.signalling.libp2p.memory import Network
from tests.simulation.loop import virtual_time

PLACE = "/ip4/192.0.2.1/tcp/4001"
ECHO = "/echo/1.0.0"


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def settle() -> None:
    """Let everything that is under way in memory happen."""
    await asyncio.sleep(0.001)


def clock() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_dials_have_a_limit() -> None:
    network = Network()
    holes = [Multiaddr(f"/ip4/192.0.2.{number}/tcp/1") for number in (50, 51, 52)]
    network.black_holes.update(holes)
    async with network.host(HostConfig(max_pending_dials=2)) as alice:
        dials = [asyncio.ensure_future(alice.connect(hole)) for hole in holes[:2]]
        await settle()
        with pytest.raises(LimitExceeded):
            await alice.connect(holes[2])
        for dial in dials:
            dial.cancel()
        await asyncio.gather(*dials, return_exceptions=True)


@virtual_time
async def test_connections_have_a_limit_on_both_sides() -> None:
    network = Network()
    async with network.host(HostConfig(max_connections=2)) as hub:
        await hub.listen(PLACE)
        guests = [network.host() for _ in range(4)]
        for guest in guests:
            await guest.connect(hub.addresses()[0])
        await settle()
        assert len(hub.connections()) == 2
        assert sum(len(guest.connections()) for guest in guests) == 2
        await guests[3].listen("/ip4/192.0.2.2/tcp/1")
        with pytest.raises(LimitExceeded):
            await hub.connect(guests[3].addresses()[0])
        await hub.connections()[0].close()
        await settle()
        await hub.connect(guests[3].addresses()[0])
        for guest in guests:
            await guest.close()


@virtual_time
async def test_a_peer_has_a_limited_number_of_connections() -> None:
    network = Network()
    async with network.host(HostConfig(max_connections_per_peer=3)) as hub, network.host() as guest:
        await hub.listen(PLACE)
        transport = guest._transports[0]
        address = hub.addresses()[0]
        for _ in range(5):
            await transport.dial(address, hub.peer_id)
        await settle()
        assert len(hub.connections(guest.peer_id)) == 3


async def _count_served(config: HostConfig, attack: Callable[[Host, Connection], Awaitable[None]]) -> int:
    """Return how many streams are served at a time when a peer does its worst."""
    network, served, most = Network(), 0, 0

    async def hold(stream: Stream) -> None:
        nonlocal served, most
        served += 1
        most = max(most, served)
        try:
            while await stream.read():
                pass
        finally:
            served -= 1

    async with network.host(config) as bob, network.host() as alice:
        await bob.listen(PLACE)
        bob.handle(ECHO, hold)
        bob.handle("/other", echo)
        connection = await alice.connect(bob.addresses()[0])
        await attack(alice, connection)
        stream = await alice.new_stream(bob.peer_id, ["/other"])
        await stream.write(b"still alive")
        assert await stream.read_exactly(11) == b"still alive"
    return most


async def _open_a_thousand(host: Host, connection: Connection) -> None:
    for _ in range(1000):
        try:
            await host.new_stream(connection, [ECHO])
        except (NegotiationError, ConnectionClosed, LimitExceeded):
            continue
    await settle()


@virtual_time
async def test_a_peer_that_opens_a_thousand_streams_gets_its_share_and_others_go_on() -> None:
    config = HostConfig(max_inbound_streams_per_protocol=20, max_inbound_streams=50)
    assert await _count_served(config, _open_a_thousand) == 20


@virtual_time
async def test_streams_that_never_negotiate_are_bounded_and_time_out() -> None:
    async def attack(host: Host, connection: Connection) -> None:
        for _ in range(500):
            try:
                await connection.muxer.open_stream()
            except (ConnectionClosed, LimitExceeded):
                break
        await asyncio.sleep(30)

    config = HostConfig(max_negotiating_streams=10)
    assert await _count_served(config, attack) == 0


@virtual_time
async def test_a_reader_that_does_not_read_holds_the_writer_and_nobody_else() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        bob.handle(ECHO, echo)
        sent = 0

        async def pour(stream: Stream) -> None:
            nonlocal sent
            while True:
                await stream.write(bytes(65536))
                sent += 65536

        bob.handle("/pour", pour)
        connection = await alice.connect(bob.addresses()[0])
        slow = await alice.new_stream(connection, ["/pour"])
        await asyncio.sleep(5)
        assert 0 < sent < 4 << 20
        quick = await alice.new_stream(connection, [ECHO])
        await quick.write(b"quick")
        assert await quick.read_exactly(5) == b"quick"
        held = sent
        await slow.read_exactly(2 << 20)
        await settle()
        assert sent > held
        await slow.reset()
