from __future__ import annotations

import asyncio

import pytest

from signalling.errors import NegotiationError, ProtocolViolation, StreamClosed, StreamReset
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import HostConfig, PingConfig
from signalling.libp2p.ping import PING_PROTOCOL, PING_SIZE
from tests.signalling.libp2p.memory import Network
from tests.simulation.loop import virtual_time

PLACE = "/ip4/192.0.2.1/tcp/4001"


@virtual_time
async def test_a_stream_answers_as_many_pings_as_come_in_any_chunks() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        connection = await alice.connect(bob.addresses()[0])
        assert await alice.ping(connection) >= 0
        assert await alice.ping(bob.peer_id) >= 0
        stream = await alice.new_stream(connection, [PING_PROTOCOL])
        payload = bytes(range(PING_SIZE)) * 10
        for start in range(0, len(payload), 7):
            await stream.write(payload[start : start + 7])
        await stream.close_write()
        assert await stream.read_exactly(len(payload)) == payload
        assert await stream.read() == b""


@virtual_time
async def test_a_ping_that_comes_back_changed_late_or_not_at_all() -> None:
    network = Network()

    async def change(stream: Stream) -> None:
        data = await stream.read_exactly(PING_SIZE)
        await stream.write(bytes(byte ^ 1 for byte in data))

    async def stay_silent(stream: Stream) -> None:
        await asyncio.sleep(3600)

    async def leave(stream: Stream) -> None:
        await stream.read()

    async with network.host(HostConfig(ping=PingConfig(timeout=10.0))) as alice, network.host() as bob:
        await bob.listen(PLACE)
        connection = await alice.connect(bob.addresses()[0])
        for handler, error in ((change, ProtocolViolation), (stay_silent, TimeoutError), (leave, StreamClosed)):
            bob.handle(PING_PROTOCOL, handler)
            with pytest.raises(error):
                await alice.ping(connection)
        assert asyncio.get_running_loop().time() == pytest.approx(10.0, abs=0.1)
        bob.unhandle(PING_PROTOCOL)
        with pytest.raises((NegotiationError, StreamReset)):  # what follows a refused proposal may reset the stream
            await alice.ping(connection)


@virtual_time
async def test_a_stream_that_says_nothing_is_dropped_after_a_while() -> None:
    network = Network()
    async with network.host() as alice, network.host(HostConfig(ping=PingConfig(idle_timeout=60.0))) as bob:
        await bob.listen(PLACE)
        stream = await alice.new_stream(await alice.connect(bob.addresses()[0]), [PING_PROTOCOL])
        await asyncio.sleep(50)
        await stream.write(b"x")
        assert await stream.read() == b"x"
        with pytest.raises(ConnectionError):
            await stream.read()
        assert asyncio.get_running_loop().time() == pytest.approx(110.0, abs=0.1)
