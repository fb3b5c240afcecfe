"""Identify and push on hosts, with peers that say too much, too little or the wrong thing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from signalling.errors import IdentifyError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.protocols import Handler
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import HostConfig, IdentifyConfig
from signalling.libp2p.identify import IDENTIFY_PROTOCOL, PUSH_PROTOCOL, IdentifyMessage
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from tests.signalling.libp2p.memory import Network
from tests.simulation.loop import virtual_time

PLACE = "/ip4/192.0.2.1/tcp/4001"
CONFIG = HostConfig(identify=IdentifyConfig(push_delay=0.05, timeout=5.0))


@dataclass
class Pair:
    network: Network
    alice: Host
    bob: Host

    async def connect(self) -> Connection:
        return await self.alice.connect(self.bob.addresses()[-1])

    @property
    def inbound(self) -> Connection:
        (connection,) = self.bob.connections(self.alice.peer_id)
        return connection


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    network = Network()
    async with network.host(CONFIG) as alice, network.host(CONFIG) as bob:
        await bob.listen(PLACE)
        yield Pair(network, alice, bob)


@virtual_time
async def test_changes_are_gathered_and_pushed_once() -> None:
    async with pair() as p:
        connection = await p.alice.identified(await p.connect())
        told: list[Connection] = []
        p.alice.on("identified", told.append)
        await asyncio.sleep(0.001)

        async def nothing(stream: Stream) -> None:
            return

        for number in range(50):
            p.bob.handle(f"/new/{number}", nothing)
        p.bob.announce(["/ip4/8.8.8.8/tcp/4001"])
        p.bob.unhandle("/new/0")
        await asyncio.sleep(1)
        assert told == [connection]
        assert connection.peer_info is not None
        assert "/new/49" in connection.peer_info.protocols
        assert "/new/0" not in connection.peer_info.protocols
        assert connection.peer_info.addresses == (Multiaddr("/ip4/8.8.8.8/tcp/4001"), Multiaddr(PLACE))
        assert p.alice.address_book.get(p.bob.peer_id)[0] == Multiaddr(f"/ip4/8.8.8.8/tcp/4001/p2p/{p.bob.peer_id}")


@virtual_time
async def test_a_peer_with_many_addresses_and_protocols_is_learnt_whole() -> None:
    async with pair() as p:

        async def nothing(stream: Stream) -> None:
            return

        for number in range(300):
            p.bob.handle(f"/a/rather/long/name/of/a/protocol/{number}", nothing)
        p.bob.announce(f"/ip4/8.8.8.8/tcp/{port}" for port in range(1, 51))
        connection = await p.alice.identified(await p.connect())
        assert connection.peer_info is not None
        assert connection.peer_info.protocols == set(p.bob.protocols())
        assert len(connection.peer_info.addresses) == 51


def _says(*messages: bytes) -> Handler:
    async def handler(stream: Stream) -> None:
        for message in messages:
            await stream.write_delimited(message)

    return handler


async def _silent(stream: Stream) -> None:
    await asyncio.sleep(3600)


async def _resets(stream: Stream) -> None:
    await stream.reset()


async def _talks_for_ever(stream: Stream) -> None:
    while True:
        await stream.write_delimited(IdentifyMessage(agent_version="x" * 4000).serialize())


async def _announces_a_gigabyte(stream: Stream) -> None:
    await stream.write(b"\x80\x80\x80\x80\x04" + bytes(1000))
    await asyncio.sleep(3600)


async def _stops_in_the_middle(stream: Stream) -> None:
    await stream.write(b"\x20\x0a")
    await asyncio.sleep(3600)


OTHER = PrivateKey.generate().public_key.serialize()

BAD: dict[str, Handler] = {
    "silent": _silent,
    "resets": _resets,
    "nothing": _says(),
    "nonsense": _says(b"\xff\xff\xff\xff"),
    "another key": _says(IdentifyMessage(public_key=OTHER).serialize()),
    "a gigabyte": _announces_a_gigabyte,
    "half a message": _stops_in_the_middle,
    "not text": _says(b"\x1a\x02\xff\xfe"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_peer_that_identifies_badly_stays_unknown_and_usable(name: str) -> None:
    @virtual_time
    async def run() -> None:
        async with pair() as p:
            p.bob.handle(IDENTIFY_PROTOCOL, BAD[name])
            connection = await p.connect()
            with pytest.raises(IdentifyError):
                await p.alice.identified(connection)
            assert asyncio.get_running_loop().time() <= 5.1
            assert connection.peer_info is None
            assert not connection.closed
            assert await p.alice.ping(connection) >= 0

    run()


@virtual_time
async def test_of_endless_parts_the_first_few_count() -> None:
    async with pair() as p:
        p.bob.handle(IDENTIFY_PROTOCOL, _talks_for_ever)
        connection = await p.alice.identified(await p.connect())
        assert connection.peer_info is not None
        assert connection.peer_info.agent_version == "x" * 256


@virtual_time
async def test_a_bad_push_changes_nothing() -> None:
    async with pair() as p:
        connection = await p.alice.identified(await p.connect())
        before = connection.peer_info
        for message in (b"\xff\xff\xff", IdentifyMessage(public_key=OTHER, protocols=("/x",)).serialize()):
            stream = await p.bob.new_stream(p.inbound, [PUSH_PROTOCOL])
            await stream.write_delimited(message)
            await stream.close_write()
            await asyncio.sleep(0.1)
        assert connection.peer_info == before
        stream = await p.bob.new_stream(p.inbound, [PUSH_PROTOCOL])
        await asyncio.sleep(6)
        with pytest.raises(ConnectionError):
            await stream.read()


@virtual_time
async def test_our_address_is_believed_when_enough_peers_in_different_networks_see_it() -> None:
    network = Network()
    public = "/ip4/8.8.8.8/tcp/4001"
    async with network.host(CONFIG) as host:
        await host.listen(public)
        friends = [network.host(CONFIG) for _ in range(4)]
        for number, friend in enumerate(friends):
            connection = await friend.connect(host.addresses()[0])
            connection.local_address = Multiaddr(f"/ip4/9.9.9.{number}/tcp/1")
            await friend.identified(connection)
        await asyncio.sleep(0.1)
        observed = host._identify._observed
        assert set(observed._observers) == {Multiaddr(public)}
        assert host.addresses() == [Multiaddr(f"{public}/p2p/{host.peer_id}")]
        for friend in friends:
            await friend.close()
        await asyncio.sleep(0.1)
        assert observed._observers == {}
