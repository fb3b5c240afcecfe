"""How fast 1200-byte datagrams go through a TURN allocation and back, against aioice's TURN client.

Both ask the same coturn on loopback for an allocation over UDP, bind a channel to the same peer (a process that sends
everything back), and keep a window of datagrams on their way: what comes back is sent again. So each counted datagram
went out through the client, the server and the peer, and came in again. The stock asyncio loop runs both, and both take
what comes in by a callback. Rounds of the two alternate, and the medians count. Once by the CPU time of this process,
which says what the client costs, and once by the clock, which also has coturn and the peer in it.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aioice
import aioice.turn

import turn
from benchmarks.results import Result
from stun.address import TransportAddress

SIZE = 1200
WINDOW = 32
SECONDS = 1.0
ROUNDS = 7
LOST_AFTER = 0.25
PAYLOAD = b"\x80" * SIZE
USER, PASSWORD = "user", "password"

_ECHO = """
import socket
peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
peer.bind(("127.0.0.1", 0))
print(peer.getsockname()[1], flush=True)
while True:
    peer.sendto(*peer.recvfrom(65535))
"""


@dataclass
class Load:
    """Keeps a window of datagrams on their way and counts those that came back."""

    send: Callable[[bytes], None]
    returned: int = 0
    running: bool = False
    rates: list[tuple[float, float]] = field(default_factory=list)
    """Of every round: datagrams a second of CPU time, and of the clock."""

    def received(self, data: bytes, peer: object) -> None:
        """Take one that came back."""
        self.returned += 1
        if self.running:
            self.send(data)

    async def round(self) -> None:
        """Run for a second."""
        self.returned, self.running = 0, True
        cpu, clock = time.process_time(), time.perf_counter()
        for _ in range(WINDOW):
            self.send(PAYLOAD)
        seen, since = -1, clock
        while (now := time.perf_counter()) - clock < SECONDS:
            await asyncio.sleep(0.05)
            if self.returned != seen:
                seen, since = self.returned, now
            elif now - since > LOST_AFTER:  # the whole window was lost, and not just a machine that paused
                since = now
                for _ in range(WINDOW):
                    self.send(PAYLOAD)
        self.running = False
        self.rates.append((self.returned / (time.process_time() - cpu), self.returned / (time.perf_counter() - clock)))
        await asyncio.sleep(0.1)

    def median(self, which: int) -> float:
        """Return the median of the rounds, by CPU time (0) or the clock (1)."""
        return statistics.median(rate[which] for rate in self.rates)


def run() -> list[Result]:
    """Measure both and return two ratios; none without coturn."""
    if shutil.which("turnserver") is None:
        print("turn_relay needs coturn: install the package coturn", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as folder, coturn(Path(folder)) as port, _echo() as peer:
        return asyncio.run(_run(port, peer))


async def _run(port: int, peer: tuple[str, int]) -> list[Result]:
    async with _ours(port, peer) as ours, _theirs(port, peer) as theirs:
        for _ in range(ROUNDS):
            await ours.round()
            await theirs.round()
    note = f"medians of {ROUNDS} rounds of {SECONDS:g} s with {WINDOW} datagrams on their way, to a peer and back"
    return [
        Result(
            name=f"TURN: {SIZE}-byte datagrams through our client and coturn, {how}",
            ours=ours.median(which),
            theirs=theirs.median(which),
            unit="datagrams/s",
            goal=2.0,
            peer=f"aioice {aioice.__version__}",
            note=note,
        )
        for which, how in enumerate(("per second of the client's CPU time", "by the clock"))
    ]


@asynccontextmanager
async def _ours(port: int, peer: tuple[str, int]) -> AsyncIterator[Load]:
    config = turn.TurnServerConfig(url=f"turn:127.0.0.1:{port}", username=USER, password=PASSWORD)
    async with turn.allocate(config) as allocation:
        await allocation.bind_channel(TransportAddress(*peer))
        load = Load(lambda data: allocation.send(data, peer))
        allocation.set_receiver(load.received)
        yield load


@asynccontextmanager
async def _theirs(port: int, peer: tuple[str, int]) -> AsyncIterator[Load]:
    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            load.received(data, addr)

    load = Load(lambda data: transport.sendto(data, peer))
    transport, _ = await aioice.turn.create_turn_endpoint(
        Protocol, server_addr=("127.0.0.1", port), username=USER, password=PASSWORD
    )
    # Its first datagrams are sent while the channel is still being bound.
    transport.sendto(PAYLOAD, peer)
    await asyncio.sleep(0.5)
    try:
        yield load
    finally:
        transport.close()
        await asyncio.sleep(0.2)


@contextmanager
def _echo() -> Iterator[tuple[str, int]]:
    process = subprocess.Popen([sys.executable, "-c", _ECHO], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield "127.0.0.1", int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def coturn(folder: Path, host: str = "127.0.0.1") -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(
        [
            *("turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp", "--log-file=/dev/null"),
            *(f"--listening-ip={host}", f"--relay-ip={host}", "--allow-loopback-peers", "--no-rfc5780"),
            *(f"--listening-port={port}", "--lt-cred-mech", f"--user={USER}:{PASSWORD}", "--realm=bench"),
            *(f"--pidfile={folder}/pid", f"--userdb={folder}/db"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(1.0)
        yield port
    finally:
        process.terminate()
        process.wait()
