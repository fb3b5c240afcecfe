"""How much goes through one TCP path of a connected pair, against asyncio's own TCP streams with the same framing.

Both ends live in one process on one thread of the stock loop: one end sends a batch, the other takes it packet by
packet, one batch after the other. Over ICE that means `send` and awaited `receive` on two sessions that have no UDP.
The other side is what one writes with asyncio alone: `StreamWriter.write` of a length and a packet for each, `drain`
once a batch, and `readexactly` of the length and the packet on a `StreamReader` with a buffer of a megabyte.
Rounds alternate, and the medians count. Time is the CPU time of this process.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import ice
from benchmarks.results import Result
from ice.candidate import TcpType
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress, TransportProtocol
from stun.aio import UdpNetwork
from stun.network import DatagramReceiver, DatagramSocket

SIZES = (1200, 16_000)
BYTES_A_ROUND = 60_000_000
BATCH_BYTES = 120_000
ROUNDS = 9
GOAL = 1.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def run() -> list[Result]:
    """Measure both at each size: the rates, and that a gigabit a second is reached."""
    return asyncio.run(_run())


async def _run() -> list[Result]:
    results = []
    async with _sessions() as sessions, _streams() as (reader, writer):
        for size in SIZES:
            rates: dict[str, list[float]] = {"ours": [], "streams": []}
            for _ in range(ROUNDS):
                rates["ours"].append(await _ours(*sessions, size))
                rates["streams"].append(await _theirs(reader, writer, size))
            ours, theirs = (statistics.median(values) for values in rates.values())
            note = f"medians of {ROUNDS} rounds of {BYTES_A_ROUND // 1_000_000} MB, per second of CPU time of both ends"
            results.append(
                Result(
                    name=f"ICE over TCP: {size}-byte packets through one path",
                    ours=ours,
                    theirs=theirs,
                    unit="Gbit/s",
                    goal=GOAL,
                    peer="asyncio streams, same framing",
                    note=note,
                )
            )
            results.append(
                Result(
                    name=f"ICE over TCP: {size}-byte packets, against a gigabit a second",
                    ours=ours,
                    theirs=1.0,
                    unit="Gbit/s",
                    goal=1.0,
                    peer="the goal itself",
                    note=note,
                )
            )
    return results


def _batches(size: int) -> tuple[int, int]:
    batch = max(BATCH_BYTES // size, 1)
    return batch, BYTES_A_ROUND // (batch * size)


async def _ours(a: ice.Session, b: ice.Session, size: int) -> float:
    batch, batches = _batches(size)
    payload = b"\x80" * size
    send, receive = a.send, b.receive
    start = time.process_time()
    for _ in range(batches):
        for _ in range(batch):
            send(payload)
        for _ in range(batch):
            await receive()
    return batch * batches * size * 8 / (time.process_time() - start) / 1e9


async def _theirs(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, size: int) -> float:
    batch, batches = _batches(size)
    payload = b"\x80" * size
    start = time.process_time()
    for _ in range(batches):
        for _ in range(batch):
            writer.write(size.to_bytes(2, "big") + payload)
        await writer.drain()
        for _ in range(batch):
            await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
    return batch * batches * size * 8 / (time.process_time() - start) / 1e9


class _NoUdp(UdpNetwork):
    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        raise OSError("no UDP here")


@asynccontextmanager
async def _sessions() -> AsyncIterator[tuple[ice.Session, ice.Session]]:
    config = replace(ice.IceConfig.for_loopback(), include_ipv6=False)
    ours = replace(config, tcp=TcpConfig(candidates=frozenset({TcpType.ACTIVE})))
    theirs = replace(config, tcp=TcpConfig(candidates=frozenset({TcpType.PASSIVE})))
    a = ice.Session(ice.Role.CONTROLLING, ours, _NoUdp())
    b = ice.Session(ice.Role.CONTROLLED, theirs, _NoUdp())
    a.on("candidate", b.add_remote_candidate)
    b.on("candidate", a.add_remote_candidate)
    try:
        await asyncio.gather(a.gather(), b.gather())
        a.set_remote_description(b.local_description)
        b.set_remote_description(a.local_description)
        await asyncio.gather(a.connect(), b.connect())
        pair = a.selected_pair
        assert pair is not None
        assert pair.path.protocol is TransportProtocol.TCP
        yield a, b
    finally:
        await a.close()
        await b.close()


@asynccontextmanager
async def _streams() -> AsyncIterator[Streams]:
    accepted: asyncio.Queue[Streams] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait((reader, writer))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=1 << 20)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    reader, other = await accepted.get()
    try:
        yield reader, writer
    finally:
        for each in (writer, other):
            each.close()
            await each.wait_closed()
        server.close()
        await server.wait_closed()
