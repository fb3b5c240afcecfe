"""How fast 1200-byte datagrams go through a pair of two ICE sessions that is relayed on both sides, against aioice.

Both sessions run in this process, each with an allocation on the same coturn, and keep a window of datagrams on their
way to and fro. Each counted datagram left one session, passed coturn twice and came in at the other. coturn is another
process; what counts is the CPU time of this one, which says what our side of it costs. Rounds alternate, medians count.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aioice

import ice
from benchmarks.results import Result
from benchmarks.turn_relay import PASSWORD, USER, coturn
from turn import TurnServerConfig

DATA = b"\x80" * 1200
WINDOW = 32
SECONDS = 1.0
ROUNDS = 5

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes]]


def run() -> list[Result]:
    """Measure both; nothing without coturn."""
    if shutil.which("turnserver") is None:
        print("ice_relay_datagrams needs coturn: install the package coturn", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder, coturn(Path(folder)) as port:
        return asyncio.run(_run(port))


async def _run(port: int) -> list[Result]:
    ours, theirs = await _our_pair(port), await _their_pair(port)
    our_rates, their_rates = [], []
    for _ in range(ROUNDS):
        our_rates.append(await _round(_sender(ours[0]), ours[0].receive, _sender(ours[1]), ours[1].receive))
        their_rates.append(await _round(theirs[0].send, theirs[0].recv, theirs[1].send, theirs[1].recv))
    await asyncio.gather(*(session.close() for session in ours), *(connection.close() for connection in theirs))
    return [
        Result(
            name="ICE, relay to relay: 1200-byte datagrams, by CPU time",
            ours=statistics.median(our_rates),
            theirs=statistics.median(their_rates),
            unit="datagrams/s",
            goal=2.0,
            peer=f"aioice {aioice.__version__}",
            note=f"medians of {ROUNDS} alternating rounds of {SECONDS:g} s with {WINDOW} datagrams on their way",
        )
    ]


def _sender(session: ice.Session) -> Send:
    async def send(data: bytes) -> None:
        session.send(data)

    return send


async def _round(send: Send, receive: Receive, answer: Send, take: Receive) -> float:
    async def echo() -> None:
        while True:
            await answer(await take())

    echoing = asyncio.create_task(echo())
    for _ in range(WINDOW):
        await send(DATA)
    count, cpu, clock = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - clock < SECONDS:
        async with asyncio.timeout(5.0):
            await receive()
        await send(DATA)
        count += 2
    rate = count / (time.process_time() - cpu)
    for _ in range(WINDOW):  # Empty the way before the next round.
        try:
            async with asyncio.timeout(0.2):
                await receive()
        except TimeoutError:
            break
    echoing.cancel()
    await asyncio.gather(echoing, return_exceptions=True)
    return rate


async def _our_pair(port: int) -> tuple[ice.Session, ice.Session]:
    server = TurnServerConfig(url=f"turn:127.0.0.1:{port}", username=USER, password=PASSWORD)
    policy = ice.IceTransportPolicy.RELAY
    config = ice.IceConfig(turn_servers=(server,), transport_policy=policy, include_loopback=True)
    first, second = ice.Session(ice.Role.CONTROLLING, config), ice.Session(ice.Role.CONTROLLED, config)
    for session, peer in ((first, second), (second, first)):
        peer.on("candidate", session.add_remote_candidate)
        session.set_remote_description(peer.local_description)
    await asyncio.gather(first.connect(), second.connect())
    return first, second


async def _their_pair(port: int) -> tuple[aioice.Connection, aioice.Connection]:
    first, second = (
        aioice.Connection(
            ice_controlling=controlling,
            turn_server=("127.0.0.1", port),
            turn_username=USER,
            turn_password=PASSWORD,
            transport_policy=aioice.TransportPolicy.RELAY,
        )
        for controlling in (True, False)
    )
    await asyncio.gather(first.gather_candidates(), second.gather_candidates())
    for connection, peer in ((first, second), (second, first)):
        connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
        for candidate in peer.local_candidates:
            await connection.add_remote_candidate(candidate)
        await connection.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    return first, second
