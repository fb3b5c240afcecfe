from __future__ import annotations

import asyncio

from signalling.libp2p.aio.stream_transport import StreamTransport
from tests.signalling.libp2p.aio.pipes import MemoryStream


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = bytearray()
        self.paused: list[bool] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def pause_writing(self) -> None:
        self.paused.append(True)

    def resume_writing(self) -> None:
        self.paused.append(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_bytes_go_both_ways_in_order() -> None:
    one, two = MemoryStream.pair()
    protocol = Recorder()
    transport = StreamTransport(one, protocol)
    assert protocol.transport is transport
    transport.write(b"a")
    transport.write(bytearray(b"b"))
    await two.write(b"reply")
    await settle()
    assert await two.read() == b"ab"
    assert protocol.received == b"reply"
    transport.close()
    assert await protocol.lost is None


async def test_closing_sends_what_is_queued_first() -> None:
    one, two = MemoryStream.pair(4)
    protocol = Recorder()
    transport = StreamTransport(one, protocol)
    transport.write(b"0123456789")
    transport.close()
    transport.write(b"ignored")
    assert transport.is_closing()
    out = b""
    while data := await two.read():
        out += data
    assert out == b"0123456789"
    assert await protocol.lost is None


async def test_a_full_stream_pauses_the_protocol_and_resumes_it() -> None:
    one, two = MemoryStream.pair(10)
    protocol = Recorder()
    transport = StreamTransport(one, protocol)
    transport.set_write_buffer_limits(high=20)
    assert transport.get_write_buffer_limits() == (5, 20)
    transport.write(bytes(21))
    assert protocol.paused == [True]
    transport.write(bytes(9))
    assert transport.get_write_buffer_size() == 30
    await settle()
    assert len(await two.read(100)) == 10
    assert len(await two.read(100)) == 10
    await settle()
    assert protocol.paused == [True, False]
    transport.abort()
    await protocol.lost


async def test_reading_can_be_paused() -> None:
    one, two = MemoryStream.pair(4)
    protocol = Recorder()
    transport = StreamTransport(one, protocol)
    transport.pause_reading()
    assert not transport.is_reading()
    writing = asyncio.create_task(two.write(bytes(100)))
    await settle()
    assert len(protocol.received) <= 8
    transport.resume_reading()
    await writing
    await settle()
    assert len(protocol.received) == 100
    transport.close()
    await protocol.lost


async def test_the_end_of_the_stream_closes_the_transport() -> None:
    one, two = MemoryStream.pair()
    protocol = Recorder()
    transport = StreamTransport(one, protocol)
    await two.close_write()
    assert await protocol.lost is None
    assert transport.is_closing()
    assert await two.read() == b""


async def test_a_reset_is_told_to_the_protocol() -> None:
    one, two = MemoryStream.pair()
    protocol = Recorder()
    StreamTransport(one, protocol)
    await settle()
    await two.reset()
    assert isinstance(await protocol.lost, ConnectionError)


async def test_aborting_resets_the_stream_even_before_its_first_write() -> None:
    for turns in (0, 1, 5):
        one, _ = MemoryStream.pair()
        protocol = Recorder()
        transport = StreamTransport(one, protocol)
        for _ in range(turns):
            await asyncio.sleep(0)
        transport.abort()
        transport.abort()
        assert await protocol.lost is None
        assert one.was_reset


async def test_another_protocol_can_take_over() -> None:
    one, two = MemoryStream.pair()
    first, second = Recorder(), Recorder()
    transport = StreamTransport(one, first)
    transport.set_protocol(second)
    assert transport.get_protocol() is second
    await two.write(b"x")
    await settle()
    assert (first.received, second.received) == (b"", b"x")
    transport.close()
    await second.lost
    assert transport.get_extra_info("peername") is None
    assert not transport.can_write_eof()
