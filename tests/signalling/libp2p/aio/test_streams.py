from __future__ import annotations

import asyncio
from typing import cast

import pytest

from signalling.errors import DecodeError, MessageTooLarge, StreamClosed
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import RawStream, Stream
from tests.signalling.libp2p.aio.pipes import MemoryStream, over_memory, over_tcp
from tests.signalling.libp2p.aio.stream_suite import CHECKS, Check


def wrapped(raw: RawStream, received: bytes = b"") -> Stream:
    return Stream(raw, "/test", cast(Connection, None), received)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_yamux_stream_over_tcp_is_a_raw_stream(check: Check) -> None:
    async with over_tcp() as both:
        await check(*await both.streams())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_yamux_stream_over_any_stream_is_a_raw_stream(check: Check) -> None:
    async with over_memory() as both:
        await check(*await both.streams())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_pipe_of_these_tests_is_a_raw_stream(check: Check) -> None:
    await check(*MemoryStream.pair())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_negotiated_stream_is_a_raw_stream(check: Check) -> None:
    ours, theirs = MemoryStream.pair()
    await check(wrapped(ours), wrapped(theirs))


async def test_what_arrived_with_the_negotiation_is_read_first() -> None:
    ours, theirs = MemoryStream.pair()
    await ours.write(b"later")
    stream = wrapped(theirs, b"first")
    assert await stream.read(3) == b"fir"
    assert await stream.read() == b"st"
    assert await stream.read() == b"later"


async def test_exact_reads_span_chunks() -> None:
    ours, theirs = MemoryStream.pair(4)
    writing = asyncio.create_task(ours.write(b"abcdefghij"))
    stream = wrapped(theirs)
    assert await stream.read_exactly(7) == b"abcdefg"
    assert await stream.read_exactly(0) == b""
    assert await stream.read_exactly(3) == b"hij"
    await writing


async def test_a_cancelled_exact_read_keeps_what_it_gathered() -> None:
    ours, theirs = MemoryStream.pair()
    stream = wrapped(theirs)
    await ours.write(b"abc")
    reading = asyncio.create_task(stream.read_exactly(5))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await ours.write(b"de")
    assert await stream.read_exactly(5) == b"abcde"


async def test_an_end_within_an_exact_read_is_told() -> None:
    ours, theirs = MemoryStream.pair()
    await ours.write(b"abc")
    await ours.close_write()
    with pytest.raises(StreamClosed, match="3 of 5"):
        await wrapped(theirs).read_exactly(5)


async def test_delimited_messages() -> None:
    ours, theirs = MemoryStream.pair()
    writer, reader = wrapped(ours), wrapped(theirs)
    for message in (b"a" * 300, b"", b"b"):
        await writer.write_delimited(message)
    await writer.close_write()
    assert await reader.read_delimited(300) == b"a" * 300
    assert await reader.read_delimited(300) == b""
    assert await reader.read_delimited(300) == b"b"
    assert await reader.read_delimited(300) is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"\xad\x02", MessageTooLarge),
        (b"\xff" * 10, DecodeError),
        (b"\x80\x00", DecodeError),
        (b"\x80", StreamClosed),
        (b"\x05abc", StreamClosed),
    ],
)
async def test_what_is_no_delimited_message_is_refused(data: bytes, error: type[Exception]) -> None:
    ours, theirs = MemoryStream.pair()
    await ours.write(data)
    await ours.close_write()
    with pytest.raises(error):
        await wrapped(theirs).read_delimited(300)
