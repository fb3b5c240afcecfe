"""Bytes/s over one yamux stream, and streams opened/s, over Noise, yamux and TCP on loopback: our host and py-libp2p's.

Each side runs two hosts of its own in one process and does the same work; ``peers/py_libp2p_bench.py`` is theirs.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import py_libp2p
from benchmarks.results import Result
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.keys import PrivateKey

__all__ = ["run"]

VARIABLE = "LASTRESORT_PYLIBP2P_PYTHON"
PEER = Path(__file__).resolve().parent / "peers" / "py_libp2p_bench.py"

SINK = "/bench/sink/1.0.0"
ECHO = "/bench/echo/1.0.0"
CHUNK = 64 * 1024
BYTES = 800 * CHUNK
STREAMS = 400
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run of one side gave."""

    bulk: float
    streams: float
    version: str


async def sink(stream: Stream) -> None:
    """Read as many bytes as the first eight announce, then answer with one byte."""
    left = int.from_bytes(await stream.read_exactly(8))
    while left:
        left -= len(await stream.read(CHUNK))
    await stream.write(b"!")
    await stream.close()


async def echo(stream: Stream) -> None:
    """Send back 32 bytes."""
    await stream.write(await stream.read(32))
    await stream.close()


async def bulk(host: Host, connection: Connection) -> float:
    """Return bytes/s over one stream, until the reader has told that it has them all."""
    stream = await host.new_stream(connection, [SINK])
    data = bytes(CHUNK)
    await stream.write(BYTES.to_bytes(8))
    started = time.perf_counter()
    for _ in range(BYTES // CHUNK):
        await stream.write(data)
    assert await stream.read(1) == b"!"
    seconds = time.perf_counter() - started
    await stream.close()
    return BYTES / seconds


async def open_streams(host: Host, connection: Connection, total: int) -> float:
    """Return streams/s: open, negotiate, 32 bytes there and back, close; one after the other."""
    payload = bytes(range(32))
    started = time.perf_counter()
    for _ in range(total):
        stream = await host.new_stream(connection, [ECHO])
        await stream.write(payload)
        assert await stream.read(32) == payload
        await stream.close()
    return total / (time.perf_counter() - started)


async def measure_ours() -> Figures:
    """Connect two of our hosts over TCP on loopback and measure."""
    async with Host(PrivateKey.generate()) as server, Host(PrivateKey.generate()) as client:
        server.handle(SINK, sink)
        server.handle(ECHO, echo)
        listener = await server.listen("/ip4/127.0.0.1/tcp/0")
        connection = await client.connect(listener.addresses[0].encapsulate(f"/p2p/{server.peer_id}"))
        await asyncio.sleep(1.0)  # let identify finish
        await open_streams(client, connection, 20)
        streams = await open_streams(client, connection, STREAMS)
        return Figures(await bulk(client, connection), streams, "")


def measure_theirs(python: str) -> Figures:
    """Run the other side in its own environment."""
    done = subprocess.run(
        [python, str(PEER), str(BYTES), str(STREAMS)], capture_output=True, text=True, timeout=180, check=True
    )
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


def run() -> list[Result]:
    """Measure both sides in turn, several times, and return the medians; nothing when py-libp2p cannot be had."""
    python = os.environ.get(VARIABLE) or py_libp2p.ensure()
    if python is None:
        print("libp2p_yamux: py-libp2p is not there, so there is nothing to compare with", file=sys.stderr)
        return []
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(asyncio.run(measure_ours()))
        theirs.append(measure_theirs(python))
    peer = f"py-libp2p {theirs[0].version}"
    return [
        Result(
            name="bytes over one yamux stream (Noise, TCP on loopback)",
            ours=statistics.median(figures.bulk for figures in ours) / 1e6,
            theirs=statistics.median(figures.bulk for figures in theirs) / 1e6,
            unit="MB/s",
            goal=2.0,
            peer=peer,
            note=f"{BYTES // 2**20} MiB in 64 KiB writes, until the reader has told that it has them all; "
            "both ends in one process",
        ),
        Result(
            name="streams opened, one after the other",
            ours=statistics.median(figures.streams for figures in ours),
            theirs=statistics.median(figures.streams for figures in theirs),
            unit="streams/s",
            goal=10.0,
            peer=peer,
            note="open, negotiate the protocol, 32 bytes there and back, close",
        ),
    ]
