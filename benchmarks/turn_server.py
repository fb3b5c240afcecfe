"""Our TURN server beside coturn: relayed datagrams by second of CPU time, and memory of an idle allocation."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.results import Result
from benchmarks.turn_load import Flow, Process, RawClient, coturn, flood, our_server, trickle

__all__ = ["run"]

SIZE = 1000
SECONDS = 1.5
ROUNDS = 3
MANY = 100
IDLE = 2000
GOAL = 1 / 3
LIMIT = 10.0
"""KB of memory that an idle allocation may take."""

Start = Callable[[], AbstractContextManager[Process]]
Push = Callable[..., tuple[float, float]]
CASES: tuple[tuple[str, int, bool, Push], ...] = (
    ("one client to its peer, in bursts", 1, False, flood),
    ("one peer to its client, in bursts", 1, True, flood),
    (f"{MANY} clients to a peer, one datagram each in turns", MANY, False, flood),
    ("one client to its peer, one datagram at a time", 1, False, trickle),
)
NOTE = (
    "ChannelData of {size} bytes on loopback, both servers on one core, the load on the other; datagrams by second of "
    "the server's own CPU time. By the clock, with the load's process as a limit too: ours {ours:,.0f}/s, coturn's "
    "{theirs:,.0f}/s."
)


def measure(start: Start, clients: int, to_client: bool, push: Push = flood) -> tuple[float, float]:
    """Return the medians of one server: by CPU time and by the clock."""
    with start() as server:
        flow = Flow(server.port, clients)
        try:
            more = (to_client,) if push is flood else ()
            push(flow, server, SIZE, 0.3, *more)
            found = [push(flow, server, SIZE, SECONDS, *more) for _ in range(ROUNDS)]
        finally:
            flow.close()
    return statistics.median(cpu for cpu, _ in found), statistics.median(clock for _, clock in found)


def memory() -> float:
    """Return the resident KB that an idle allocation of ours takes."""
    with our_server() as server:
        first = [RawClient(server.port) for _ in range(50)]
        for client in first:
            client.allocate()  # code paths and caches that the first ones fill
        before = server.resident()
        clients = [RawClient(server.port) for _ in range(IDLE)]
        for client in clients:
            client.allocate()
        used = (server.resident() - before) / IDLE / 1024
        for client in first + clients:
            client.socket.close()
    return used


def version() -> str:
    """Return coturn's version."""
    answer = subprocess.run(["turnserver", "--version"], capture_output=True, text=True, check=False)
    return (answer.stdout.strip() or answer.stderr.strip()).splitlines()[-1]


def run() -> list[Result]:
    """Measure; without coturn there is only the memory."""
    results = []
    if shutil.which("turnserver") is None:
        print("coturn is not installed: no comparison", file=sys.stderr)
    else:
        peer = f"coturn {version()}, one relay thread"
        for name, clients, to_client, push in CASES:
            ours, our_clock = measure(our_server, clients, to_client, push)
            theirs, their_clock = measure(coturn, clients, to_client, push)
            note = NOTE.format(size=SIZE, ours=our_clock, theirs=their_clock)
            results.append(Result(f"TURN server: {name}", ours, theirs, "datagrams/s", GOAL, peer, note))
    note = f"{IDLE:,} allocations over UDP; resident memory of the process, without the kernel's."
    results.append(Result("TURN server: memory of an idle allocation", memory(), LIMIT, "KB", 1.0, "our limit", note))
    return results


if __name__ == "__main__":
    for result in run():
        print(f"{result.name}: {result.ours:,.1f} and {result.theirs:,.1f} {result.unit}, {result.ratio:.2f} x")
        print(f"  {result.note}")
