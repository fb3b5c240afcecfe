"""Many ICE sessions in one process: a thousand pairs at once, what a pair costs then and later, a flood of candidates.

Both sides of every pair live in this process, over one IPv4 address of this machine, on the stock asyncio loop. All of
them gather first (not measured), and what that leaves to Python's garbage collector is collected: a full collection
would fall into the span or not by chance, and take up to a fifth of it. Then the clock starts, every pair is given
descriptions, candidates and the end of candidates at once, and it stops when the last `connect()` has returned; no pair
may fail. The CPU time of the process over the same span, divided by the pairs, is what connecting a pair costs. aioice
does the same. Each run has a process of its own, because what one leaves to the collector costs the next; runs
alternate, and the medians count.
What a pair costs once it is connected, and carries nothing, is the CPU time of the process for the next seconds: both
sides of both kinds ask for consent about every five seconds.
Last come the messages of a pair alone, without any ICE (:mod:`benchmarks.bare_checks`): nobody who writes Python is
below that.

The flood: one session takes 10,000 signalled candidates of a hostile peer, by the CPU time until its checks go on.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import resource
import statistics
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aioice

import ice
from benchmarks.bare_checks import bare_checks
from benchmarks.results import Result
from stun.address import TransportAddress

PAIRS = 1000
ROUNDS = 5
IDLE_ROUNDS = 3
IDLE_PAIRS = 500
SETTLING = 6.0
"""Seconds after which the consent checks of all pairs are spread."""
IDLE = 15.0
FLOOD = 10_000
PEER = f"aioice {aioice.__version__}"


@dataclass(frozen=True)
class Span:
    """What one run of all pairs took, in seconds."""

    clock: float
    cpu: float


def run() -> list[Result]:
    """Measure both in turns."""
    ours: list[Span] = []
    theirs: list[Span] = []
    for _ in range(ROUNDS):
        ours.append(_alone(_ours))
        theirs.append(_alone(_theirs))
    shared = [_alone(_ours_at_ports) for _ in range(ROUNDS)]
    bare = _alone(_bare)
    flood = asyncio.run(_flood())
    note = f"{PAIRS:,} pairs, both ends in one process, none failed; medians of {ROUNDS} alternating runs"
    by_clock = [[span.clock for span in spans] for spans in (ours, theirs)]
    by_cpu = [[span.cpu / PAIRS * 1e3 for span in spans] for spans in (ours, theirs)]
    return [
        Result(
            f"ICE: {PAIRS:,} pairs at once, to the last usable path",
            *map(statistics.median, by_clock),
            "s",
            2.0,
            PEER,
            f"{note}; {_ranges(*by_clock, 's')}. With one port for all sessions of a side "
            f"{statistics.median(span.clock for span in shared):.2f} s",
        ),
        Result(
            "ICE: CPU time to connect one of these pairs, both ends",
            *map(statistics.median, by_cpu),
            "ms",
            2.0,
            PEER,
            f"{note}; {_ranges(*by_cpu, 'ms')}. A pair's messages over bare sockets, without any ICE, take "
            f"{bare.cpu / PAIRS * 1e3:.2f} ms",
        ),
        _idle_pairs(),
        Result(
            f"ICE: a flood of {FLOOD:,} candidates, CPU time",
            flood,
            0.1,
            "s",
            1.0,
            "our limit",
            "distinct addresses, signalled one by one to a session that is checking",
        ),
    ]


def _idle_pairs() -> Result:
    rounds = [[_alone(what).cpu for what in (_ours_idle, _theirs_idle)] for _ in range(IDLE_ROUNDS)]
    ours, theirs = (statistics.median(cpus) / IDLE / IDLE_PAIRS * 1e6 for cpus in zip(*rounds, strict=True))
    note = f"{IDLE_PAIRS} pairs in one process for {IDLE:.0f} s; medians of {IDLE_ROUNDS} alternating runs"
    return Result(
        "ICE: CPU time that a connected pair without data takes in a second, both ends",
        ours,
        theirs,
        "µs",
        2.0,
        PEER,
        note,
    )


def _ranges(ours: list[float], theirs: list[float], unit: str) -> str:
    return (
        f"ours ranged {min(ours):.2f} to {max(ours):.2f} {unit}, "
        f"{PEER.partition(' ')[0]} {min(theirs):.2f} to {max(theirs):.2f} {unit}"
    )


def _alone(what: Callable[[], Coroutine[object, object, Span]]) -> Span:
    """Return what ``what`` measures in a process of its own."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(_measured, what).result()


def _measured(what: Callable[[], Coroutine[object, object, Span]]) -> Span:
    _allow_sockets()
    return asyncio.run(what())


async def _bare() -> Span:
    took = await bare_checks(_host(), PAIRS)
    return Span(took, took)


def _allow_sockets() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))


def _host() -> str:
    hosts = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False)
    if not hosts:
        raise SystemExit("aioice needs an IPv4 address beyond loopback to connect over")
    return hosts[0]


def _config() -> ice.IceConfig:
    return ice.IceConfig(include_ipv6=False, tcp=ice.TcpConfig(candidates=frozenset()))


async def _ours() -> Span:
    async with _pairs(PAIRS) as span:
        return span


async def _ours_at_ports() -> Span:
    hosts = [_host()]
    async with (
        ice.Mux.open(hosts=hosts) as one,
        ice.Mux.open(hosts=hosts) as other,
        _pairs(PAIRS, one, other) as span,
    ):
        return span


async def _ours_idle() -> Span:
    async with _pairs(IDLE_PAIRS):
        return await _idle()


async def _theirs() -> Span:
    async with _their_pairs(PAIRS) as span:
        return span


async def _theirs_idle() -> Span:
    async with _their_pairs(IDLE_PAIRS):
        return await _idle()


async def _idle() -> Span:
    await asyncio.sleep(SETTLING)
    clock, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(IDLE)
    return Span(time.perf_counter() - clock, time.process_time() - cpu)


@asynccontextmanager
async def _pairs(count: int, one: ice.Mux | None = None, other: ice.Mux | None = None) -> AsyncIterator[Span]:
    """Connect so many pairs of ours at once and yield what that took; closed on exit."""
    config = _config()
    sessions = [
        (ice.Session(ice.Role.CONTROLLING, config, one), ice.Session(ice.Role.CONTROLLED, config, other))
        for _ in range(count)
    ]
    everyone = [session for pair in sessions for session in pair]
    await asyncio.gather(*(session.gather() for session in everyone))
    gc.collect()
    clock, cpu = time.perf_counter(), time.process_time()
    for first, second in sessions:
        for session, peer in ((first, second), (second, first)):
            session.set_remote_description(peer.local_description)
            for candidate in peer.local_candidates:
                session.add_remote_candidate(candidate)
            session.add_remote_candidate(None)
    await asyncio.gather(*(session.connect() for session in everyone))
    yield Span(time.perf_counter() - clock, time.process_time() - cpu)
    await asyncio.gather(*(session.close() for session in everyone))


@asynccontextmanager
async def _their_pairs(count: int) -> AsyncIterator[Span]:
    """As :func:`_pairs`, of theirs."""
    pairs = [
        (
            aioice.Connection(ice_controlling=True, use_ipv6=False),
            aioice.Connection(ice_controlling=False, use_ipv6=False),
        )
        for _ in range(count)
    ]
    everyone = [connection for pair in pairs for connection in pair]
    for connection in everyone:
        await connection.gather_candidates()
    gc.collect()
    clock, cpu = time.perf_counter(), time.process_time()
    for first, second in pairs:
        for connection, peer in ((first, second), (second, first)):
            connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
            for candidate in peer.local_candidates:
                await connection.add_remote_candidate(candidate)
            await connection.add_remote_candidate(None)
    await asyncio.gather(*(connection.connect() for connection in everyone))
    yield Span(time.perf_counter() - clock, time.process_time() - cpu)
    await asyncio.gather(*(connection.close() for connection in everyone))


async def _flood() -> float:
    session, peer = ice.Session(ice.Role.CONTROLLING), ice.Session(ice.Role.CONTROLLED)
    await session.gather()
    session.set_remote_description(peer.local_description)
    candidates = [_candidate(number) for number in range(FLOOD)]
    began = time.process_time()
    for candidate in candidates:
        session.add_remote_candidate(candidate)
    await asyncio.sleep(0)
    took = time.process_time() - began
    await asyncio.gather(session.close(), peer.close())
    return took


def _candidate(number: int) -> ice.Candidate:
    address = TransportAddress(f"198.51.{100 + number // 65536}.{number // 256 % 256}", 1024 + number % 256)
    return ice.Candidate(f"f{number}", 1, "udp", 2_000_000_000 + number, address, ice.CandidateType.HOST)
