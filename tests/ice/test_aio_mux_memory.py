"""What a session that does nothing costs at a shared port, by what Python has allocated for it."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import Iterator

import pytest

from ice import IceConfig, Mux, Role, Session
from tests.ice.sessions import trickle

HOST = "127.0.0.1"
CONFIG = IceConfig(include_loopback=True, include_ipv6=False, interfaces=["lo"])
WARM = 5
PAIRS = 100
WAITING = 7.5
"""KB of a session that has gathered: a fifth more than it was when this was written."""
CONNECTED = 10.0
"""KB of one that is connected: the goal, and a sixth more than it was."""


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


async def gathered(near: Mux, far: Mux) -> tuple[Session, Session]:
    both = Session(Role.CONTROLLING, CONFIG, near), Session(Role.CONTROLLED, CONFIG, far)
    for session in both:
        await session.gather()
    return both


async def connect(both: tuple[Session, Session]) -> None:
    for source, sink in (both, both[::-1]):
        trickle(source, sink)
    await asyncio.gather(*(session.connect() for session in both))


@pytest.mark.usefixtures("traced")
@pytest.mark.timeout(120)
async def test_an_idle_session_stays_small() -> None:
    async with Mux.open(hosts=[HOST]) as near, Mux.open(hosts=[HOST]) as far:
        warm = [await gathered(near, far) for _ in range(WARM)]  # Code paths and caches that the first ones fill.
        for both in warm:
            await connect(both)
        before = allocated()
        pairs = [await gathered(near, far) for _ in range(PAIRS)]
        waiting = (allocated() - before) / 1024 / (2 * PAIRS)
        for both in pairs:  # One after the other: a crowd leaves more open for a while than an idle session has.
            await connect(both)
        connected = (allocated() - before) / 1024 / (2 * PAIRS)
        assert waiting < WAITING
        assert connected < CONNECTED
        assert all(session.state.is_usable for both in (*warm, *pairs) for session in both)
        await asyncio.gather(*(session.close() for both in (*warm, *pairs) for session in both))
