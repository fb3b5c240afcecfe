"""How long two ICE agents take from the exchange of their descriptions to a usable path, both in this process.

Both sides gather first (not measured). Then the clock starts, both are given the other's credentials and all candidates
and the end of candidates, and the clock stops when both `connect()` calls have returned. aioice runs as it comes, on
the stock asyncio loop; so do we. Runs of both alternate, and the medians are compared.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from dataclasses import replace

import aioice

import ice
from benchmarks.results import Result

ROUNDS = 40
GOAL = 10.0


def run() -> list[Result]:
    """Measure over the addresses of this machine's interfaces, as both gather them by default."""
    return asyncio.run(_run())


async def _run() -> list[Result]:
    config = ice.IceConfig()
    if not _has_interface_addresses():
        raise SystemExit("aioice needs an address beyond loopback to connect over")
    await _ours(config)
    await _theirs()
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        ours.append(await _ours(config))
        theirs.append(await _theirs())
    one_family = [await _ours(replace(config, include_ipv6=False)) for _ in range(ROUNDS)]
    note = (
        f"medians of {ROUNDS} alternating runs on this machine's addresses; ours ranged "
        f"{min(ours) * 1e3:.2f} to {max(ours) * 1e3:.2f} ms (IPv4 alone {statistics.median(one_family) * 1e3:.2f} ms), "
        f"aioice {min(theirs) * 1e3:.1f} to {max(theirs) * 1e3:.1f} ms"
    )
    return [
        Result(
            name="ICE: descriptions exchanged to usable path",
            ours=statistics.median(ours) * 1e3,
            theirs=statistics.median(theirs) * 1e3,
            unit="ms",
            goal=GOAL,
            peer=f"aioice {aioice.__version__}",
            note=note,
        )
    ]


def _has_interface_addresses() -> bool:
    return bool(aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True))


async def _ours(config: ice.IceConfig) -> float:
    first, second = ice.Session(ice.Role.CONTROLLING, config), ice.Session(ice.Role.CONTROLLED, config)
    await asyncio.gather(first.gather(), second.gather())
    began = time.perf_counter()
    for session, peer in ((first, second), (second, first)):
        session.set_remote_description(peer.local_description)
        for candidate in peer.local_candidates:
            session.add_remote_candidate(candidate)
        session.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    took = time.perf_counter() - began
    first.send(b"usable")
    assert await second.receive() == b"usable"
    await asyncio.gather(first.close(), second.close())
    return took


async def _theirs() -> float:
    first, second = aioice.Connection(ice_controlling=True), aioice.Connection(ice_controlling=False)
    await asyncio.gather(first.gather_candidates(), second.gather_candidates())
    began = time.perf_counter()
    for connection, peer in ((first, second), (second, first)):
        connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
        for candidate in peer.local_candidates:
            await connection.add_remote_candidate(candidate)
        await connection.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    took = time.perf_counter() - began
    await first.send(b"usable")
    assert await second.recv() == b"usable"
    await asyncio.gather(first.close(), second.close())
    return took
