"""Many sessions on one port: what the shared port costs a datagram, and what a session that does nothing costs.

Datagrams: a session at a mux that has many others, against a session with a socket of its own; the peer has its own
socket each time. Rounds of the two alternate, and the medians of datagrams by second of CPU time count.

Memory: resident memory of a process by session at its mux, all connected, with their peers in another process; then the
same for sessions that have gathered and wait for their peers. They connect in groups: what an allocator keeps of a
burst is there for whatever comes next and no idle session's. What it keeps when all connect in one instant is measured
too, in a process of its own, and said beside it.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

import ice
from benchmarks.results import Result
from stun.network import Network

SIZE = 1200
BATCH = 50
BATCHES = 100
ROUNDS = 15
OTHERS = 200
IDLE = 1000
GROUP = 50
WARM = 50
PAYLOAD = b"\x80" * SIZE
HOST = "127.0.0.1"
CONFIG = ice.IceConfig(include_loopback=True, interfaces=["lo"], include_ipv6=False)
LIMIT = 10.0
"""KB of memory that an idle session may take."""


def run() -> list[Result]:
    """Measure both."""
    shared, own = asyncio.run(_datagrams())
    waiting, connected = _measured(GROUP)
    _, after_burst = _measured(IDLE)
    of = f"{IDLE:,} sessions; resident memory of the process, without the kernel's"
    return [
        Result(
            name="ICE: 1200-byte datagrams at a port shared with 200 sessions",
            ours=shared,
            theirs=own,
            unit="datagrams/s",
            goal=0.75,
            peer="a socket of its own",
            note=f"medians of {ROUNDS} rounds of {BATCH * BATCHES} datagrams each way, by second of CPU time",
        ),
        Result(
            name="ICE: memory of an idle session on a shared port",
            ours=connected,
            theirs=LIMIT,
            unit="KB",
            goal=1.0,
            peer="our limit",
            note=f"{of}, connected {GROUP} at a time; {after_burst:.1f} KB if all connect in one instant. "
            f"{waiting:.1f} KB for one that has gathered and waits for its peer.",
        ),
    ]


# -- datagrams --


async def _datagrams() -> tuple[float, float]:
    async with ice.Mux.open(hosts=[HOST]) as mux:
        others = [await _pair(mux) for _ in range(OTHERS)]
        shared, own = await _pair(mux), await _pair(None)
        rates: dict[str, list[float]] = {"shared": [], "own": []}
        for _ in range(ROUNDS):
            for name, (near, far) in (("shared", shared), ("own", own)):
                rates[name].append(await _rate(near, far))
        await asyncio.gather(*(session.close() for both in (*others, shared, own) for session in both))
    return statistics.median(rates["shared"]), statistics.median(rates["own"])


async def _rate(near: ice.Session, far: ice.Session) -> float:
    began = time.process_time()
    for sender, receiver in ((near, far), (far, near)):
        send, receive = sender.send, receiver.receive
        for _ in range(BATCHES):
            for _ in range(BATCH):
                send(PAYLOAD)
            for _ in range(BATCH):
                await receive()
    return 2 * BATCH * BATCHES / (time.process_time() - began)


async def _pair(network: Network | None) -> tuple[ice.Session, ice.Session]:
    both = ice.Session(ice.Role.CONTROLLING, CONFIG, network), ice.Session(ice.Role.CONTROLLED, CONFIG)
    await asyncio.gather(*(session.gather() for session in both))
    for session, peer in (both, both[::-1]):
        _introduce(session, (peer.local_description, peer.local_candidates))
    await asyncio.gather(*(session.connect() for session in both))
    return both


Words = tuple[ice.Description, list[ice.Candidate]]


def _introduce(session: ice.Session, peer: Words) -> None:
    description, candidates = peer
    session.set_remote_description(description)
    for candidate in candidates:
        session.add_remote_candidate(candidate)
    session.add_remote_candidate(None)


# -- memory --


def _measured(group: int) -> tuple[float, float]:
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(memory, group).result()


def memory(group: int) -> tuple[float, float]:
    """Return the resident KB of a session that waits for its peer, and of one connected with others of a group."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    peers = context.Process(target=_peers, args=(theirs,))
    peers.start()
    theirs.close()  # So that the end of the one process ends the other.
    try:
        return asyncio.run(_memory(ours, group))
    finally:
        ours.close()
        peers.join()


async def _memory(peers: Connection, group: int) -> tuple[float, float]:
    async with ice.Mux.open(hosts=[HOST]) as mux:
        warm = [await _gathered(mux) for _ in range(WARM)]  # Code paths and caches that the first ones fill.
        await _connect(warm, peers)
        before = _resident()
        sessions = [await _gathered(mux) for _ in range(IDLE)]
        waiting = _resident()
        for begin in range(0, IDLE, group):
            await _connect(sessions[begin : begin + group], peers)
        await asyncio.sleep(7)  # One consent check of each has gone by.
        connected = _resident()
        assert all(session.state.is_usable for session in sessions)
        await asyncio.gather(*(session.close() for session in (*warm, *sessions)))
    return (waiting - before) / IDLE / 1024, (connected - before) / IDLE / 1024


async def _gathered(network: Network | None) -> ice.Session:
    role = ice.Role.CONTROLLING if network is None else ice.Role.CONTROLLED
    session = ice.Session(role, CONFIG, network)
    await session.gather()
    return session


async def _connect(sessions: list[ice.Session], peers: Connection) -> None:
    words = await asyncio.to_thread(_ask, peers, [(one.local_description, one.local_candidates) for one in sessions])
    for session, peer in zip(sessions, words, strict=True):
        _introduce(session, peer)
    await asyncio.gather(*(session.connect() for session in sessions))


def _ask(peers: Connection, words: list[Words]) -> list[Words]:
    peers.send(words)
    answer: list[Words] = peers.recv()
    return answer


def _peers(pipe: Connection) -> None:
    """Run the peers, until the other process has gone."""
    asyncio.run(_run_peers(pipe))


async def _run_peers(pipe: Connection) -> None:
    sessions: list[ice.Session] = []
    while True:
        try:
            words: list[Words] = await asyncio.to_thread(pipe.recv)
        except EOFError:
            break
        new = [await _gathered(None) for _ in words]
        for session, peer in zip(new, words, strict=True):
            _introduce(session, peer)
        pipe.send([(session.local_description, session.local_candidates) for session in new])
        sessions += new
    await asyncio.gather(*(session.close() for session in sessions))


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096
