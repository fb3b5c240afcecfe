"""Many ICE sessions in one process: a thousand pairs at once, the CPU time of a pair, and a flood of candidates.

Both sides of every pair live in this process, over one IPv4 address of this machine, on the stock asyncio loop. All of
them gather first (not measured). Then the clock starts, every pair is given descriptions, candidates and the end of
candidates at once, and it stops when the last `connect()` has returned; no pair may fail. The CPU time of the process
over the same span, divided by the pairs, is what a connected pair costs. aioice runs after us, the same way, and last
the messages of a pair alone, without any ICE (:mod:`benchmarks.bare_checks`): nobody who writes Python is below that.

The flood: one session takes 10,000 signalled candidates of a hostile peer, by the CPU time until its checks go on.
"""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass

import aioice

import ice
from benchmarks.bare_checks import bare_checks
from benchmarks.results import Result
from stun.address import TransportAddress

PAIRS = 1000
FLOOD = 10_000
PEER = f"aioice {aioice.__version__}"


@dataclass(frozen=True)
class Span:
    """What one run of all pairs took, in seconds."""

    clock: float
    cpu: float


def run() -> list[Result]:
    """Measure both, one after the other."""
    _allow_sockets()
    ours = asyncio.run(_ours())
    theirs = asyncio.run(_theirs())
    bare = asyncio.run(bare_checks(_host(), PAIRS))
    flood = asyncio.run(_flood())
    note = f"{PAIRS:,} pairs, both ends here; none failed"
    return [
        Result(
            f"ICE: {PAIRS:,} pairs at once, to the last usable path", ours.clock, theirs.clock, "s", 2.0, PEER, note
        ),
        Result(
            "ICE: CPU time of a connected pair, both ends",
            ours.cpu / PAIRS * 1e3,
            theirs.cpu / PAIRS * 1e3,
            "ms",
            2.0,
            PEER,
            f"{note}; a pair's messages over bare sockets, without any ICE, take {bare / PAIRS * 1e3:.2f} ms",
        ),
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
    config = _config()
    sessions = [
        (ice.Session(ice.Role.CONTROLLING, config), ice.Session(ice.Role.CONTROLLED, config)) for _ in range(PAIRS)
    ]
    everyone = [session for pair in sessions for session in pair]
    await asyncio.gather(*(session.gather() for session in everyone))
    clock, cpu = time.perf_counter(), time.process_time()
    for first, second in sessions:
        for session, peer in ((first, second), (second, first)):
            session.set_remote_description(peer.local_description)
            for candidate in peer.local_candidates:
                session.add_remote_candidate(candidate)
            session.add_remote_candidate(None)
    await asyncio.gather(*(session.connect() for session in everyone))
    span = Span(time.perf_counter() - clock, time.process_time() - cpu)
    await asyncio.gather(*(session.close() for session in everyone))
    return span


async def _theirs() -> Span:
    pairs = [
        (
            aioice.Connection(ice_controlling=True, use_ipv6=False),
            aioice.Connection(ice_controlling=False, use_ipv6=False),
        )
        for _ in range(PAIRS)
    ]
    everyone = [connection for pair in pairs for connection in pair]
    for connection in everyone:
        await connection.gather_candidates()
    clock, cpu = time.perf_counter(), time.process_time()
    for first, second in pairs:
        for connection, peer in ((first, second), (second, first)):
            connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
            for candidate in peer.local_candidates:
                await connection.add_remote_candidate(candidate)
            await connection.add_remote_candidate(None)
    await asyncio.gather(*(connection.connect() for connection in everyone))
    span = Span(time.perf_counter() - clock, time.process_time() - cpu)
    await asyncio.gather(*(connection.close() for connection in everyone))
    return span


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
