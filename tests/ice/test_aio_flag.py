"""A flag wakes everyone, once, and nobody's cancellation is another one's."""

from __future__ import annotations

import asyncio

from ice.aio.flag import Flag
from stun.nothing import NO_ITEMS


async def test_everyone_who_waits_goes_on() -> None:
    flag = Flag()
    waiting = [asyncio.create_task(flag.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    flag.set()
    flag.set()
    await asyncio.gather(*waiting)
    await flag.wait()
    assert flag.is_set()


async def test_who_is_cancelled_leaves_the_others_waiting() -> None:
    flag = Flag()
    first, second = (asyncio.create_task(flag.wait()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert first.cancelled()
    assert not second.done()
    flag.set()
    await second


async def test_clearing_lets_the_next_one_wait_again() -> None:
    flag = Flag()
    waiting = asyncio.create_task(flag.wait())
    await asyncio.sleep(0)
    flag.set()
    flag.clear()
    await waiting
    assert not flag.is_set()
    again = asyncio.create_task(flag.wait())
    await asyncio.sleep(0)
    assert not again.done()
    flag.set()
    await again


async def test_who_has_waited_is_not_remembered() -> None:
    flag = Flag()
    waiting = asyncio.create_task(flag.wait())
    await asyncio.sleep(0)
    assert len(flag._waiters) == 1
    flag.set()
    await waiting
    assert flag._waiters is NO_ITEMS


async def test_a_flag_that_is_never_set_leaves_nothing_behind() -> None:
    waiting = asyncio.create_task(Flag().wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
