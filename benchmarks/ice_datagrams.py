"""How fast 1200-byte datagrams go through a connected pair, against aioice and against raw sockets.

All three do the same: one end sends a batch, the other receives it, one batch after the other, in one process on one
thread over one loopback-reachable address. Over ICE that means `send` and awaited `receive` on two connected sessions
(aioice: `await send`, `await recv`), on the stock asyncio loop, and once more on uvloop. Raw means two non-blocking,
unconnected UDP sockets and nothing but `sendto` and `recvfrom`, without any loop. (On Linux our session has a second,
connected socket on its port for the selected peer, and what is sent in one turn of the loop, or is waiting to be read,
crosses the kernel in one call: that is how it can be faster than one call a datagram.)
Rounds of the three alternate, and the medians count. Time is the CPU time of this process: none of the three ever
sleeps here, so on an idle machine that is the time of the clock, and on a busy one other programs do not count.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioice
import uvloop

import ice
from benchmarks.results import Result

SIZE = 1200
BATCH = 50
BATCHES = 200
ROUNDS = 15
PAYLOAD = b"\x80" * SIZE


def run() -> list[Result]:
    """Measure the three on the stock loop, and ours and aioice's on uvloop."""
    return [*_results(asyncio.run(_medians())), _uvloop_result(uvloop.run(_medians()))]


async def _medians() -> dict[str, float]:
    rates: dict[str, list[float]] = {"ours": [], "aioice": [], "raw": []}
    async with _sessions() as ours, _connections() as theirs:
        host = ours[0].selected_pair
        assert host is not None
        for _ in range(ROUNDS):
            rates["ours"].append(await _ours(*ours))
            rates["raw"].append(_raw(host.local.address.host))
            rates["aioice"].append(await _theirs(*theirs))
    return {name: statistics.median(values) for name, values in rates.items()}


NOTE = f"medians of {ROUNDS} rounds of {BATCH * BATCHES} datagrams in batches of {BATCH}, per second of CPU time"


def _uvloop_result(median: dict[str, float]) -> Result:
    return Result(
        name="ICE: 1200-byte datagrams through a connected pair, both on uvloop",
        ours=median["ours"],
        theirs=median["aioice"],
        unit="datagrams/s",
        goal=1.0,
        peer=f"aioice {aioice.__version__}, uvloop {uvloop.__version__}",
        note=NOTE,
    )


def _results(median: dict[str, float]) -> list[Result]:
    return [
        Result(
            name="ICE: 1200-byte datagrams through a connected pair",
            ours=median["ours"],
            theirs=median["aioice"],
            unit="datagrams/s",
            goal=4.0,
            peer=f"aioice {aioice.__version__}",
            note=NOTE,
        ),
        Result(
            name="ICE: 1200-byte datagrams, share of what raw sockets do",
            ours=median["ours"],
            theirs=median["raw"],
            unit="datagrams/s",
            goal=0.75,
            peer="raw non-blocking sockets",
            note=NOTE,
        ),
    ]


async def _ours(sender: ice.Session, receiver: ice.Session) -> float:
    send, receive = sender.send, receiver.receive
    began = time.process_time()
    for _ in range(BATCHES):
        for _ in range(BATCH):
            send(PAYLOAD)
        for _ in range(BATCH):
            await receive()
    return BATCH * BATCHES / (time.process_time() - began)


async def _theirs(sender: aioice.Connection, receiver: aioice.Connection) -> float:
    send, receive = sender.send, receiver.recv
    began = time.process_time()
    for _ in range(BATCHES):
        for _ in range(BATCH):
            await send(PAYLOAD)
        for _ in range(BATCH):
            await receive()
    return BATCH * BATCHES / (time.process_time() - began)


def _raw(host: str) -> float:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender, socket.socket(family, socket.SOCK_DGRAM) as receiver:
        for end in (sender, receiver):
            end.setblocking(False)
            end.bind((host, 0))
        target = receiver.getsockname()
        send, receive = sender.sendto, receiver.recvfrom
        began = time.process_time()
        for _ in range(BATCHES):
            for _ in range(BATCH):
                send(PAYLOAD, target)
            for _ in range(BATCH):
                receive(2048)
        return BATCH * BATCHES / (time.process_time() - began)


@asynccontextmanager
async def _sessions() -> AsyncIterator[tuple[ice.Session, ice.Session]]:
    config = ice.IceConfig(include_ipv6=False)
    first, second = ice.Session(ice.Role.CONTROLLING, config), ice.Session(ice.Role.CONTROLLED, config)
    await asyncio.gather(first.gather(), second.gather())
    for session, peer in ((first, second), (second, first)):
        session.set_remote_description(peer.local_description)
        for candidate in peer.local_candidates:
            session.add_remote_candidate(candidate)
        session.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    try:
        yield first, second
    finally:
        await asyncio.gather(first.close(), second.close())


@asynccontextmanager
async def _connections() -> AsyncIterator[tuple[aioice.Connection, aioice.Connection]]:
    first = aioice.Connection(ice_controlling=True, use_ipv6=False)
    second = aioice.Connection(ice_controlling=False, use_ipv6=False)
    await asyncio.gather(first.gather_candidates(), second.gather_candidates())
    for connection, peer in ((first, second), (second, first)):
        connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
        for candidate in peer.local_candidates:
            await connection.add_remote_candidate(candidate)
        await connection.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    try:
        yield first, second
    finally:
        await asyncio.gather(first.close(), second.close())
