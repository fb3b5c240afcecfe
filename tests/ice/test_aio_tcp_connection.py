"""Frames in and out of one socket, cut anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from ice.aio.tcp_connection import TcpConnection
from ice.tcp import Framing
from ice.tcp_config import TcpConfig
from stun.framing import encode_frame


class End:
    """One end under test, and the raw socket of the other."""

    def __init__(self, config: TcpConfig) -> None:
        self.packets: list[bytes] = []
        self.gone = asyncio.Event()
        self.raw, ours = connected_sockets()
        self.raw.setblocking(False)
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        self.came = asyncio.Event()
        self.connection = TcpConnection(ours, self.take, self.gone.set, Framing.ICE, config, loop)

    def take(self, packet: bytes) -> None:
        self.packets.append(packet)
        self.came.set()

    async def arrived(self, count: int) -> None:
        async with asyncio.timeout(5.0):
            while len(self.packets) < count:
                self.came.clear()
                await self.came.wait()


def connected_sockets() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        raw = socket.create_connection(listener.getsockname())
        return raw, listener.accept()[0]


@contextlib.asynccontextmanager
async def end(config: TcpConfig | None = None) -> AsyncIterator[End]:
    made = End(config or TcpConfig())
    try:
        yield made
    finally:
        made.connection.close()
        made.raw.close()


async def test_frames_come_out_whole_however_they_are_cut() -> None:
    rng = random.Random(4)
    sizes = [0, 1, 65_535, 3, 0, 20_000, 40_000, *(rng.randrange(3000) for _ in range(600)), 65_535]
    packets = [rng.randbytes(size) for size in sizes]
    stream = b"".join(map(encode_frame, packets))
    loop = asyncio.get_running_loop()
    async with end() as made:
        while stream:
            cut = rng.choice((1, 2, 3, 700, 16_384, 100_000))
            await loop.sock_sendall(made.raw, stream[:cut])
            stream = stream[cut:]
            await asyncio.sleep(0)
        wanted = [packet for packet in packets if packet]
        await made.arrived(len(wanted))
        assert made.packets == wanted


async def test_connections_that_read_in_turn_keep_their_unfinished_frames_apart() -> None:
    loop = asyncio.get_running_loop()
    async with end() as first, end() as second:
        ends = {first: b"\xaa" * 9000, second: b"\xbb" * 7000}
        streams = {made: encode_frame(packet) * 3 for made, packet in ends.items()}
        for cut in range(0, 27_006, 2500):
            for made, stream in streams.items():
                await loop.sock_sendall(made.raw, stream[cut : cut + 2500])
            await asyncio.sleep(0)
        for made, packet in ends.items():
            await made.arrived(3)
            assert made.packets == [packet] * 3


async def test_a_connection_holds_no_more_than_the_beginning_of_a_frame() -> None:
    loop = asyncio.get_running_loop()
    async with end(), contextlib.AsyncExitStack() as stack:  # The first has the buffer of them all made.
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            ends = [await stack.enter_async_context(end()) for _ in range(20)]
            for made in ends:
                await loop.sock_sendall(made.raw, encode_frame(b"whole") + encode_frame(b"begun")[:4])
                await made.arrived(1)
            assert tracemalloc.get_traced_memory()[0] - before < 20 * 4096
        finally:
            tracemalloc.stop()


async def test_a_frame_over_the_limit_ends_the_connection_though_it_is_not_complete() -> None:
    async with end(TcpConfig(max_packet=100)) as made:
        made.raw.send(encode_frame(b"x" * 100) + (101).to_bytes(2, "big"))
        await asyncio.wait_for(made.gone.wait(), 5.0)
        assert made.packets == [b"x" * 100]
        assert made.raw.recv(1) == b""


async def test_what_is_sent_in_one_turn_leaves_in_two_calls() -> None:
    async with end() as made:
        made.connection.send(b"first")
        assert made.raw.recv(100) == encode_frame(b"first"), "at once"
        for _ in range(3):
            made.connection.send(b"more")
        with pytest.raises(BlockingIOError):
            made.raw.recv(100)
        await asyncio.sleep(0)
        assert made.raw.recv(100) == 3 * encode_frame(b"more"), "and the others together"


async def test_closing_sends_what_waits_and_tells_nobody() -> None:
    async with end() as made:
        loop = asyncio.get_running_loop()
        count = 0
        while made.connection.send(b"z" * 50_000):
            count += 1
        assert count > 5
        made.connection.close()
        assert not made.connection.send(b"late")
        received = bytearray()
        async with asyncio.timeout(5.0):
            while data := await loop.sock_recv(made.raw, 1 << 20):
                received += data
        assert bytes(received) == count * encode_frame(b"z" * 50_000)
        assert not made.gone.is_set()


async def test_the_end_of_the_peer_is_told_once() -> None:
    async with end() as made:
        made.raw.close()
        await asyncio.wait_for(made.gone.wait(), 5.0)
        made.gone.clear()
        assert not made.connection.send(b"late")
        await asyncio.sleep(0)
        assert not made.gone.is_set()
