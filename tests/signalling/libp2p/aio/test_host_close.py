"""Closing a host: nothing that was written is lost, whatever carries it."""

from __future__ import annotations

import asyncio

import pytest

from signalling.errors import ConnectionClosed
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.keys import PrivateKey
from tests.signalling.libp2p.aio.trio import trio
from tests.simulation.loop import virtual_time

SINK = "/sink/1.0.0"


@virtual_time
async def test_a_host_that_closes_loses_nothing_that_it_wrote_to_a_relayed_stream() -> None:
    async with trio() as t:
        received = bytearray()
        ended = asyncio.Event()

        async def sink(stream: Stream) -> None:
            while data := await stream.read():
                received.extend(data)
            ended.set()

        t.target.handle(SINK, sink, allow_limited=True)
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        stream = await t.source.new_stream(connection, [SINK], allow_limited=True)
        await stream.write(bytes(50_000))
        await stream.close_write()
        await t.source.close()
        async with asyncio.timeout(5):
            await ended.wait()
        assert len(received) == 50_000


async def test_a_listener_that_is_ready_after_the_end_is_closed_again() -> None:
    host = Host(PrivateKey.generate())
    listening = asyncio.create_task(host.listen("/ip4/127.0.0.1/tcp/0"))
    await asyncio.sleep(0)
    await host.close()
    with pytest.raises(ConnectionClosed):
        await listening
    assert host.addresses() == []
