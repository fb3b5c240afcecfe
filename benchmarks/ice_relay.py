"""How long two ICE agents take to a usable path when both may only use relayed candidates, both in this process.

coturn runs on an address of this machine, over UDP. The clock is that of `ice_connect`: both have gathered, it starts
when the descriptions are exchanged and stops when both `connect()` calls have returned. Once with relayed candidates
alone on both sides; once on one side only, against a peer with a host candidate; and once from nothing, gathering
included. Runs alternate, medians count.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aioice

import ice
from benchmarks.results import Result
from benchmarks.turn_relay import PASSWORD, USER, coturn
from turn import TurnServerConfig

ROUNDS = 12

CASES = {
    "relay to relay": ((True, True), 5.0),
    "relay to host": ((True, False), 10.0),
}
"""Which sides may only use relayed candidates, and our goal."""


def run() -> list[Result]:
    """Measure all cases; nothing without coturn."""
    if shutil.which("turnserver") is None:
        print("ice_relay needs coturn: install the package coturn", file=sys.stderr)
        return []
    hosts = aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=False)
    if not hosts:
        raise SystemExit("aioice needs an address beyond loopback to connect over")
    with tempfile.TemporaryDirectory() as folder, coturn(Path(folder), hosts[0]) as port:
        return asyncio.run(_run(Server(hosts[0], port)))


@dataclass(frozen=True)
class Server:
    """Where coturn listens."""

    host: str
    port: int


@dataclass
class Times:
    """Seconds of every run: gathering and connecting together, and connecting alone."""

    whole: list[float] = field(default_factory=list)
    checks: list[float] = field(default_factory=list)
    failures: int = 0
    """How often the sides did not connect; those runs do not count."""

    def add(self, began: float, gathered: float, ended: float) -> None:
        """Add one run."""
        self.whole.append(ended - began)
        self.checks.append(ended - gathered)


async def _run(server: Server) -> list[Result]:
    results = []
    for name, (relayed, goal) in CASES.items():
        ours, theirs = Times(), Times()
        await _ours(server, relayed, Times())
        for _ in range(ROUNDS):
            await _ours(server, relayed, ours)
            await _theirs_until_it_connects(server, relayed, theirs)
        failed = f"; aioice failed {theirs.failures} times beside these" if theirs.failures else ""
        checks = f"ICE, {name}: descriptions exchanged to usable path"
        results.append(_result(checks, ours.checks, theirs.checks, goal, failed))
        if name == "relay to relay":  # Both allocate at first, in two round trips with the same server.
            whole = f"ICE, {name}: nothing gathered to usable path"
            results.append(_result(whole, ours.whole, theirs.whole, 3.0, failed))
    return results


def _result(name: str, ours: list[float], theirs: list[float], goal: float, failed: str) -> Result:
    ranges = f"ours ranged {_range(ours)}, aioice {_range(theirs)}"
    return Result(
        name=name,
        ours=statistics.median(ours) * 1e3,
        theirs=statistics.median(theirs) * 1e3,
        unit="ms",
        goal=goal,
        peer=f"aioice {aioice.__version__}",
        note=f"medians of {ROUNDS} alternating runs through one coturn; {ranges}{failed}",
    )


def _range(seconds: list[float]) -> str:
    return f"{min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f} ms"


async def _ours(server: Server, relayed: tuple[bool, bool], times: Times) -> None:
    turn = TurnServerConfig(url=f"turn:{server.host}:{server.port}", username=USER, password=PASSWORD)
    by_relay = ice.IceConfig(turn_servers=(turn,), transport_policy=ice.IceTransportPolicy.RELAY)
    configs = [by_relay if only else ice.IceConfig(include_ipv6=False) for only in relayed]
    first, second = ice.Session(ice.Role.CONTROLLING, configs[0]), ice.Session(ice.Role.CONTROLLED, configs[1])
    began = time.perf_counter()
    await asyncio.gather(first.gather(), second.gather())
    gathered = time.perf_counter()
    for session, peer in ((first, second), (second, first)):
        session.set_remote_description(peer.local_description)
        for candidate in peer.local_candidates:
            session.add_remote_candidate(candidate)
        session.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    times.add(began, gathered, time.perf_counter())
    first.send(b"usable")
    assert await second.receive() == b"usable"
    await asyncio.gather(first.close(), second.close())


def _their_side(server: Server, controlling: bool, relayed: bool) -> aioice.Connection:
    if not relayed:
        return aioice.Connection(ice_controlling=controlling, use_ipv6=False)
    return aioice.Connection(
        ice_controlling=controlling,
        use_ipv6=False,
        turn_server=(server.host, server.port),
        turn_username=USER,
        turn_password=PASSWORD,
        transport_policy=aioice.TransportPolicy.RELAY,
    )


async def _theirs(server: Server, relayed: tuple[bool, bool], times: Times) -> bool:
    first, second = _their_side(server, True, relayed[0]), _their_side(server, False, relayed[1])
    began = time.perf_counter()
    await asyncio.gather(first.gather_candidates(), second.gather_candidates())
    gathered = time.perf_counter()
    for connection, peer in ((first, second), (second, first)):
        connection.remote_username, connection.remote_password = peer.local_username, peer.local_password
        for candidate in peer.local_candidates:
            await connection.add_remote_candidate(candidate)
        await connection.add_remote_candidate(None)
    try:
        await asyncio.gather(first.connect(), second.connect())
    except ConnectionError:
        await asyncio.gather(first.close(), second.close())
        times.failures += 1
        return False
    times.add(began, gathered, time.perf_counter())
    await first.send(b"usable")
    assert await second.recv() == b"usable"
    await asyncio.gather(first.close(), second.close())
    return True


async def _theirs_until_it_connects(server: Server, relayed: tuple[bool, bool], times: Times) -> None:
    """Add one run of aioice; now and then it gives up though there is a path."""
    while not await _theirs(server, relayed, times):
        if times.failures > ROUNDS:
            raise SystemExit("aioice does not connect here")
