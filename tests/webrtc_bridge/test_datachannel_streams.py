"""libp2p streams on data channels, in virtual time: the rules of a raw stream, limits, and hostile peers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from aiortc import RTCDataChannel

from signalling.errors import ConnectionClosed, LimitExceeded, StreamClosed, StreamReset
from signalling.libp2p.aio.streams import Muxer, RawStream
from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.peers import exchange, make_pair
from webrtc_bridge.config import PeerConfig, SctpConfig, StreamConfig
from webrtc_bridge.datachannel_streams import DataChannelMuxer, DataChannelStream
from webrtc_bridge.framing import Flag, encode_frame

SMALL = PeerConfig(sctp=SctpConfig(receive_window=128 * 1024))


class Muxers(NamedTuple):
    """The two ends of one connection."""

    a: DataChannelMuxer
    b: DataChannelMuxer


@asynccontextmanager
async def muxers(
    config: StreamConfig | None = None, peers: PeerConfig | None = None, latency: float = 0.0
) -> AsyncIterator[Muxers]:
    pair = make_pair(peers)
    pair.below_offerer.latency = pair.below_answerer.latency = latency
    both = Muxers(DataChannelMuxer(pair.offerer, config), DataChannelMuxer(pair.answerer, config))
    exchange(pair)
    try:
        await asyncio.gather(pair.offerer.wait_connected(), pair.answerer.wait_connected())
        yield both
    finally:
        await asyncio.gather(both.a.close(), both.b.close())


async def opened(both: Muxers) -> tuple[DataChannelStream, DataChannelStream]:
    """A stream from a to b, seen from both sides."""
    here = await both.a.open_stream()
    return here, await both.b.accept_stream()


async def read_all(stream: RawStream) -> bytes:
    parts = []
    while data := await stream.read():
        parts.append(data)
    return b"".join(parts)


@virtual_time
async def test_it_is_a_muxer_of_raw_streams() -> None:
    async with muxers() as both:
        here, there = await opened(both)
        assert isinstance(both.a, Muxer)
        assert isinstance(here, RawStream)
        await here.write(b"")
        await here.write(b"question")
        assert await there.read() == b"question"
        await there.write(b"answer")
        assert await here.read(3) == b"ans"
        assert await here.read() == b"wer"


@virtual_time
async def test_a_half_closed_stream_still_brings_the_answer() -> None:
    async with muxers() as both:
        here, there = await opened(both)
        await here.write(b"x" * 100_000)
        await here.close_write()
        await here.close_write()
        assert await read_all(there) == b"x" * 100_000
        await there.write(b"done")
        await there.close()
        assert await read_all(here) == b"done"
        assert await here.read() == b""
        with pytest.raises(StreamClosed):
            await here.write(b"more")
        await here.close()
        await here.close()
        assert (both.a.streams, both.b.streams) == (0, 0)


@virtual_time
async def test_channels_are_released_and_their_ids_used_again() -> None:
    async with muxers() as both:
        for _ in range(50):
            here, there = await opened(both)
            await here.write(b"x")
            await here.close_write()
            assert await read_all(there) == b"x"
            await there.close()
            await here.close()
        await asyncio.sleep(1)
        assert (both.a.peer.sctp.channels, both.b.peer.sctp.channels) == (0, 0)
        assert both.a.peer.sctp.window == both.b.peer.sctp.window == SctpConfig().receive_window


@virtual_time
async def test_opening_costs_no_round_trip() -> None:
    async with muxers(latency=0.1) as both:
        start = asyncio.get_running_loop().time()
        here = await both.a.open_stream()
        await here.write(b"at once")
        assert asyncio.get_running_loop().time() == start
        there = await both.b.accept_stream()
        assert await there.read() == b"at once"
        assert asyncio.get_running_loop().time() == pytest.approx(start + 0.1)


@virtual_time
async def test_many_streams_do_not_mix() -> None:
    async with muxers() as both:

        async def serve() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(40):
                    group.create_task(echo(await both.b.accept_stream()))

        async def ask(number: int) -> bytes:
            stream = await both.a.open_stream()
            await stream.write(bytes([number]) * 30_000)
            await stream.close_write()
            answer = await read_all(stream)
            await stream.close()
            return answer

        serving = asyncio.create_task(serve())
        answers = await asyncio.gather(*(ask(number) for number in range(40)))
        assert answers == [bytes([number]) * 30_000 for number in range(40)]
        await serving


async def echo(stream: RawStream) -> None:
    while data := await stream.read():
        await stream.write(data)
    await stream.close()


@virtual_time
async def test_a_reset_reaches_the_other_side_and_drops_what_waits() -> None:
    async with muxers() as both:
        here, there = await opened(both)
        writing = asyncio.create_task(here.write(b"x" * 3_000_000))
        await there.read()
        await there.reset()
        await there.reset()
        with pytest.raises(StreamReset):
            await writing
        with pytest.raises(StreamReset, match="reset by the peer"):
            await here.read()
        with pytest.raises(StreamReset, match="reset by us"):
            await there.read()
        with pytest.raises(StreamReset):
            await there.write(b"x")
        await asyncio.sleep(1)  # what was in flight still arrives, and is thrown away
        assert both.b.peer.sctp.window == SctpConfig().receive_window


@virtual_time
async def test_a_reader_that_has_enough_stops_the_writer() -> None:
    async with muxers() as both:
        here, there = await opened(both)
        await there.close_read()
        with pytest.raises(StreamClosed):
            await there.read()
        with pytest.raises(StreamClosed):
            await pour(here)
        await there.write(b"but I still talk")
        assert await here.read() == b"but I still talk"


async def pour(stream: RawStream) -> None:
    for _ in range(100):
        await stream.write(b"x" * 1000)
        await asyncio.sleep(0)


@virtual_time
async def test_a_cancelled_read_loses_nothing() -> None:
    async with muxers() as both:
        here, there = await opened(both)
        got = b""
        for _ in range(20):
            reading = asyncio.create_task(there.read())
            await asyncio.sleep(0)
            await here.write(b"x")
            reading.cancel()
            (result,) = await asyncio.gather(reading, return_exceptions=True)
            got += result if isinstance(result, bytes) else b""
        assert len(got) < 20
        await here.close_write()
        assert got + await read_all(there) == b"x" * 20


@virtual_time
async def test_a_slow_reader_holds_the_writer_back() -> None:
    config = StreamConfig(send_buffer=64 * 1024, send_buffer_low=16 * 1024)
    async with muxers(config, SMALL) as both:
        here, there = await opened(both)
        written = 0

        async def pour() -> None:
            nonlocal written
            for _ in range(200):
                await here.write(b"x" * 10_000)
                written += 10_000
            await here.close_write()

        pouring = asyncio.create_task(pour())
        await asyncio.sleep(2.0)
        assert written < 128 * 1024 + 3 * 64 * 1024
        assert both.b.peer.sctp.window > -SctpConfig().window_overrun
        got = 0
        while data := await there.read(5000):
            got += len(data)
            await asyncio.sleep(0.001)
        await pouring
        assert got == 2_000_000
        assert both.b.stalled == 0
        assert both.b.peer.sctp.dropped < 100


@virtual_time
async def test_a_stream_that_nobody_reads_does_not_take_the_others_with_it() -> None:
    async with muxers(StreamConfig(stall_timeout=4.0), SMALL) as both:
        full, neglected = await opened(both)
        pouring = asyncio.create_task(full.write(b"x" * 3_000_000))
        await asyncio.sleep(1.0)
        assert both.b.peer.sctp.window_shut
        here, there = await both.a.open_stream(), None
        await here.write(b"ping")
        async with asyncio.timeout(20):
            there = await both.b.accept_stream()
            assert await there.read() == b"ping"
        with pytest.raises(StreamReset):
            await pouring
        with pytest.raises(StreamReset, match="nobody read"):
            await neglected.read()
        assert both.b.stalled == 1
        assert not both.a.closed


@virtual_time
async def test_more_streams_than_we_want_are_reset_and_the_others_live() -> None:
    async with muxers(StreamConfig(max_unaccepted=10)) as both:
        kept, there = await opened(both)
        flood = [await both.a.open_stream() for _ in range(1000)]
        for stream in flood:
            await stream.write(b"x")
        await asyncio.sleep(5.0)
        assert both.b.refused == 990
        assert both.b.streams == 11
        assert [await fate(stream) for stream in flood].count("reset") == 990
        await kept.write(b"alive")
        assert await there.read() == b"alive"


async def fate(stream: DataChannelStream) -> str:
    try:
        async with asyncio.timeout(0.01):
            await stream.read()
    except StreamReset:
        return "reset"
    except TimeoutError:
        return "open"
    return "data"


@virtual_time
async def test_our_own_limit_on_streams() -> None:
    async with muxers(StreamConfig(max_streams=3)) as both:
        for _ in range(3):
            await both.a.open_stream()
        with pytest.raises(LimitExceeded):
            await both.a.open_stream()


@virtual_time
async def test_garbage_on_a_channel_resets_that_stream_only() -> None:
    async with muxers() as both:
        here, there = await opened(both)
        channel = both.a.peer.create_data_channel("not a libp2p stream")
        await opened_channel(channel)
        bad = await both.b.accept_stream()
        channel.send(b"\xff" * 50)
        with pytest.raises(StreamReset, match="framing"):
            await bad.read()
        await here.write(b"alive")
        assert await there.read() == b"alive"


async def opened_channel(channel: RTCDataChannel) -> None:
    opened = asyncio.Event()
    channel.on("open", opened.set)
    if channel.readyState != "open":
        await opened.wait()


@virtual_time
async def test_frames_cut_into_many_messages_and_text_messages_are_read() -> None:
    async with muxers() as both:
        channel = both.a.peer.create_data_channel()
        await opened_channel(channel)
        there = await both.b.accept_stream()
        encoded = encode_frame(b"one by one") + encode_frame(flag=Flag.FIN)
        for byte in encoded:
            channel.send(bytes([byte]))
        channel.send(b"")
        assert await read_all(there) == b"one by one"
        channel.send("text")  # four bytes like any others: a length that announces too much
        await asyncio.sleep(0.1)
        assert both.b.streams <= 1


@virtual_time
async def test_the_init_channel_is_not_a_stream() -> None:
    async with muxers() as both:
        channel = both.a.peer.create_data_channel("init")
        await opened_channel(channel)
        here = await both.a.open_stream()
        await here.write(b"first")
        assert await (await both.b.accept_stream()).read() == b"first"
        channel.close()
        await asyncio.sleep(1)
        assert channel.readyState == "closed"


@pytest.mark.parametrize("closer", [0, 1])
@virtual_time
async def test_the_end_of_the_connection_ends_every_stream(closer: int) -> None:
    async with muxers() as both:
        streams = [await opened(both) for _ in range(3)]
        finished, their_finished = await opened(both)
        await finished.write(b"the last words")
        await finished.close_write()
        await asyncio.sleep(0.1)
        reading = [asyncio.create_task(side.read()) for pair in streams for side in pair]
        accepting = asyncio.create_task(both[1 - closer].accept_stream())
        await asyncio.sleep(0.1)
        await both[closer].close()
        await both[1 - closer].wait_closed()
        for result in await asyncio.gather(*reading, accepting, return_exceptions=True):
            assert isinstance(result, ConnectionClosed)
        with pytest.raises(ConnectionClosed):
            await both.a.open_stream()
        # What had arrived whole is still there to read.
        assert await read_all(their_finished) == b"the last words"


@virtual_time
async def test_a_peer_that_never_acknowledges_is_given_up() -> None:
    async with muxers(StreamConfig(fin_ack_timeout=10.0)) as both:
        channel = both.a.peer.create_data_channel()
        await opened_channel(channel)
        there = await both.b.accept_stream()
        start = asyncio.get_running_loop().time()
        await there.close()
        assert asyncio.get_running_loop().time() == pytest.approx(start + 10.0)
        assert both.b.streams == 0


@virtual_time
async def test_a_channel_closed_without_a_fin_is_a_reset() -> None:
    async with muxers() as both:
        channel = both.a.peer.create_data_channel()
        await opened_channel(channel)
        there = await both.b.accept_stream()
        channel.send(encode_frame(b"x"))
        channel.close()
        assert await there.read() == b"x"
        with pytest.raises(StreamReset, match="the channel was closed"):
            await there.read()


@virtual_time
async def test_frames_respect_the_peers_largest_message() -> None:
    peers = PeerConfig(sctp=SctpConfig(max_message_size=1000))
    async with muxers(peers=peers) as both:
        sizes: list[int] = []
        both.b.peer.on("datachannel", lambda channel: channel.on("message", lambda data: sizes.append(len(data))))
        here, there = await opened(both)
        await here.write(b"x" * 10_000)
        await here.close_write()
        assert await read_all(there) == b"x" * 10_000
        assert max(sizes) == 1000
