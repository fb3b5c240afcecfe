"""What every RawStream has to do, whatever carries it: run each of CHECKS on a fresh pair."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from signalling.errors import StreamClosed, StreamReset
from signalling.libp2p.aio.streams import RawStream

Check = Callable[[RawStream, RawStream], Awaitable[None]]


async def read_all(stream: RawStream) -> bytes:
    out = bytearray()
    while data := await stream.read():
        out += data
    return bytes(out)


async def bytes_arrive_in_order(ours: RawStream, theirs: RawStream) -> None:
    for part in (b"one", b"two", b"", b"three"):
        await ours.write(part)
    await ours.close_write()
    assert await read_all(theirs) == b"onetwothree"
    assert await theirs.read() == b""


async def reads_are_bounded(ours: RawStream, theirs: RawStream) -> None:
    await ours.write(b"abcdef")
    assert await theirs.read(2) == b"ab"
    assert await theirs.read(1) == b"c"
    assert await theirs.read(100) == b"def"


async def a_read_waits_for_data(ours: RawStream, theirs: RawStream) -> None:
    reading = asyncio.create_task(theirs.read())
    await asyncio.sleep(0)
    assert not reading.done()
    await ours.write(b"x")
    assert await reading == b"x"


async def a_cancelled_read_loses_nothing(ours: RawStream, theirs: RawStream) -> None:
    for _ in range(3):
        reading = asyncio.create_task(theirs.read())
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    await ours.write(b"kept")
    assert await theirs.read() == b"kept"


async def the_other_half_stays_open(ours: RawStream, theirs: RawStream) -> None:
    await ours.close_write()
    await ours.close_write()
    assert await theirs.read() == b""
    await theirs.write(b"answer")
    await theirs.close_write()
    assert await read_all(ours) == b"answer"
    with pytest.raises(StreamClosed):
        await ours.write(b"x")


async def a_slow_reader_holds_the_writer_back(ours: RawStream, theirs: RawStream) -> None:
    total = 4 * 1024 * 1024
    data = bytes(range(256)) * (total // 256)
    written = 0

    async def write() -> None:
        nonlocal written
        for start in range(0, total, 65536):
            await ours.write(data[start : start + 65536])
            written += 65536
        await ours.close_write()

    writing = asyncio.create_task(write())
    for _ in range(2000):
        await asyncio.sleep(0)
    assert not writing.done()
    assert written < total // 2
    assert await read_all(theirs) == data
    await writing


async def a_reset_ends_both_halves_of_both_ends(ours: RawStream, theirs: RawStream) -> None:
    reading = asyncio.create_task(theirs.read())
    await asyncio.sleep(0)
    await ours.reset()
    await ours.reset()
    with pytest.raises(StreamReset):
        await reading
    for stream in (ours, theirs):
        with pytest.raises(StreamReset):
            await stream.read()
        with pytest.raises(StreamReset):
            await stream.write(b"x")


async def a_reset_frees_a_writer_that_waits(ours: RawStream, theirs: RawStream) -> None:
    writing = asyncio.create_task(ours.write(bytes(64 * 1024 * 1024)))
    await asyncio.sleep(0.01)
    assert not writing.done()
    await theirs.reset()
    with pytest.raises(StreamReset):
        await writing


async def closing_loses_nothing_that_was_written(ours: RawStream, theirs: RawStream) -> None:
    await ours.write(b"last words")
    await ours.close()
    await ours.close()
    assert await read_all(theirs) == b"last words"
    with pytest.raises(StreamClosed):
        await ours.read()


async def closing_for_reading_ends_a_read(ours: RawStream, theirs: RawStream) -> None:
    reading = asyncio.create_task(ours.read())
    await asyncio.sleep(0)
    await ours.close_read()
    with pytest.raises(StreamClosed):
        await reading
    await ours.write(b"still writing")
    assert await theirs.read() == b"still writing"


async def both_ends_write_at_once(ours: RawStream, theirs: RawStream) -> None:
    data = bytes(1024 * 1024)

    async def talk(stream: RawStream) -> int:
        async def write() -> None:
            await stream.write(data)
            await stream.close_write()

        writing = asyncio.create_task(write())
        size = len(await read_all(stream))
        await writing
        return size

    assert await asyncio.gather(talk(ours), talk(theirs)) == [len(data)] * 2


CHECKS: list[Check] = [
    bytes_arrive_in_order,
    reads_are_bounded,
    a_read_waits_for_data,
    a_cancelled_read_loses_nothing,
    the_other_half_stays_open,
    a_slow_reader_holds_the_writer_back,
    a_reset_ends_both_halves_of_both_ends,
    a_reset_frees_a_writer_that_waits,
    closing_loses_nothing_that_was_written,
    closing_for_reading_ends_a_read,
    both_ends_write_at_once,
]
