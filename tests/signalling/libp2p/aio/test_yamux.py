from __future__ import annotations

import asyncio
import tracemalloc

import pytest

from signalling.errors import ConnectionClosed, LimitExceeded, StreamReset
from signalling.libp2p.aio.streams import Muxer
from signalling.libp2p.config import UpgradeConfig, YamuxConfig
from tests.signalling.libp2p.aio.pipes import over_memory, over_tcp


def config(**settings: float) -> UpgradeConfig:
    return UpgradeConfig(yamux=YamuxConfig(**settings))  # type: ignore[arg-type]


async def test_it_is_a_muxer() -> None:
    async with over_tcp() as both:
        assert isinstance(both.client.muxer, Muxer)
        assert not both.client.muxer.closed


async def test_streams_open_both_ways_at_once() -> None:
    async with over_tcp() as both:
        muxers = (both.client.muxer, both.server.muxer)
        opened = await asyncio.gather(*(muxer.open_stream() for muxer in muxers for _ in range(50)))
        for index, stream in enumerate(opened):
            await stream.write(bytes((index,)))
        seen = set()
        for muxer in muxers:
            for _ in range(50):
                seen.add(await (await muxer.accept_stream()).read())
        assert seen == {bytes((index,)) for index in range(100)}


async def test_opening_waits_for_the_peer_to_accept() -> None:
    async with over_tcp(config(max_unacknowledged=3)) as both:
        opened = [await both.client.muxer.open_stream() for _ in range(3)]
        waiting = [asyncio.create_task(both.client.muxer.open_stream()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        waiting[0].cancel()
        for _ in opened:
            await both.server.muxer.accept_stream()
        await asyncio.gather(*waiting[1:])
        assert waiting[0].cancelled()


async def test_too_many_streams_are_refused_on_both_sides() -> None:
    async with over_tcp(config(max_streams=3)) as both:
        for _ in range(3):
            await both.client.muxer.open_stream()
        with pytest.raises(LimitExceeded):
            await both.client.muxer.open_stream()
    async with over_tcp(None, config(max_streams=0)) as both:
        refused = await both.client.muxer.open_stream()
        with pytest.raises(StreamReset):
            await refused.read()


async def test_closing_is_graceful() -> None:
    async with over_tcp() as both:
        ours, theirs = await both.streams()
        await ours.write(b"last words")
        await ours.close_write()
        await both.client.muxer.close()
        await both.client.muxer.close()
        await both.server.muxer.wait_closed()
        assert await theirs.read() == b"last words"
        assert await theirs.read() == b""
        assert both.server.muxer.close_reason == "the peer closed the connection"
        assert both.client.muxer.close_reason == "the connection was closed by us"
        for muxer in (both.client.muxer, both.server.muxer):
            assert muxer.closed
            with pytest.raises(ConnectionClosed):
                await muxer.open_stream()
            with pytest.raises(ConnectionClosed):
                await muxer.accept_stream()


@pytest.mark.parametrize("connect", [over_tcp, over_memory])
async def test_a_lost_connection_ends_everything_that_waits(connect: type[over_tcp]) -> None:  # type: ignore[valid-type]
    async with connect() as both:  # type: ignore[attr-defined]
        ours, _ = await both.streams()
        waiting = [
            asyncio.create_task(ours.read()),
            asyncio.create_task(ours.write(bytes(64 * 1024 * 1024))),
            asyncio.create_task(both.client.muxer.accept_stream()),
        ]
        await asyncio.sleep(0.01)
        both.server.transport.abort()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [isinstance(result, ConnectionClosed) for result in results] == [True] * 3
        await both.client.muxer.wait_closed()


async def test_garbage_ends_the_session_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async with over_tcp() as both:
        ours, _ = await both.streams()
        both.server.transport.write(b"\x00\x20" + bytes(32))
        with pytest.raises(StreamReset, match="does not decrypt"):
            await ours.read()
        await both.client.muxer.wait_closed()
    assert not [record for record in caplog.records if record.levelname in ("WARNING", "ERROR")]


async def test_a_thousand_streams_of_a_peer_stay_bounded() -> None:
    async with over_tcp(config(max_unacknowledged=2000, max_streams=2000), config(max_streams=300)) as both:
        tracemalloc.start()
        streams = [await both.client.muxer.open_stream() for _ in range(1000)]
        for stream in streams:
            await asyncio.wait_for(_write_quietly(stream.write(bytes(1024))), 5)
        await asyncio.sleep(0.05)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 16 * 1024 * 1024
        refused = 0
        for stream in streams:
            try:
                await stream.write(b"x")
            except StreamReset:
                refused += 1
        assert refused == 1000 - 256
        alive = await both.server.muxer.accept_stream()
        assert len(await alive.read()) == 1024


async def _write_quietly(writing: object) -> None:
    try:
        await writing  # type: ignore[misc]
    except StreamReset:
        pass


async def test_a_slow_reader_costs_one_window() -> None:
    async with over_tcp() as both:
        ours, theirs = await both.streams()
        tracemalloc.start()
        data = bytes(1024 * 1024)
        writing = asyncio.create_task(_write_much(ours, data))
        await asyncio.sleep(0.2)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert not writing.done()
        assert peak < 4 * 1024 * 1024
        received = 0
        while part := await theirs.read():
            received += len(part)
        assert received == 50 * len(data)
        await writing


async def _write_much(stream: object, data: bytes) -> None:
    for _ in range(50):
        await stream.write(data)  # type: ignore[attr-defined]
    await stream.close_write()  # type: ignore[attr-defined]


async def test_one_blocked_stream_does_not_hold_up_another() -> None:
    async with over_tcp() as both:
        blocked, _ = await both.streams()
        writing = asyncio.create_task(blocked.write(bytes(16 * 1024 * 1024)))
        await asyncio.sleep(0.05)
        assert not writing.done()
        ours, theirs = await both.streams()
        await ours.write(b"through")
        assert await asyncio.wait_for(theirs.read(), 5) == b"through"
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing


async def test_a_peer_that_takes_nothing_is_let_go() -> None:
    async with over_tcp(config(close_timeout=0.05)) as both:
        both.server.transport.pause_reading()
        streams = [await both.client.muxer.open_stream() for _ in range(40)]
        writing = [asyncio.create_task(stream.write(bytes(256 * 1024))) for stream in streams]
        await asyncio.sleep(0.05)
        await asyncio.wait_for(both.client.muxer.close(), 5)
        results = await asyncio.gather(*writing, return_exceptions=True)
        assert any(isinstance(result, ConnectionClosed) for result in results)
