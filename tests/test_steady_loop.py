"""The loop on which tests with real sockets run."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from tests.steady_loop import SteadyLoop


async def test_it_is_what_tests_run_on() -> None:
    assert isinstance(asyncio.get_running_loop(), SteadyLoop)


async def test_a_timer_takes_its_time() -> None:
    loop, wall = asyncio.get_running_loop(), time.monotonic()
    began = loop.time()
    await asyncio.sleep(0.05)
    assert loop.time() - began == pytest.approx(0.05, abs=1e-4)
    assert time.monotonic() - wall >= 0.05


async def test_it_never_stands_still() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(0)
    assert loop.time() > began


async def test_being_held_up_takes_none_and_what_was_sent_meanwhile_is_in_time() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        began = loop.time()
        loop.call_later(0.05, theirs.send, b"in time")
        loop.call_soon(time.sleep, 0.2)
        async with asyncio.timeout(0.1):
            assert await loop.sock_recv(ours, 100) == b"in time"
        assert loop.time() - began == pytest.approx(0.05, abs=0.04)


async def test_nothing_that_comes_is_a_timeout_all_the_same() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await asyncio.get_running_loop().create_future()
