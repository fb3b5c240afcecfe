"""The queue between driver and application."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulation import virtual_time
from turn.aio.inbox import Inbox
from turn.errors import TurnClosedError


@virtual_time
async def test_items_come_in_order_and_the_oldest_goes_first_when_it_is_full() -> None:
    inbox: Inbox[int] = Inbox(3)
    for number in range(5):
        inbox.put(number)
    assert (len(inbox), inbox.dropped) == (3, 2)
    assert [await inbox.get() for _ in range(3)] == [2, 3, 4]


@virtual_time
async def test_every_reader_gets_one() -> None:
    inbox: Inbox[int] = Inbox(8)
    readers = [asyncio.create_task(inbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        inbox.put(number)
    assert await asyncio.gather(*readers) == [0, 1, 2]


@virtual_time
async def test_a_reader_that_is_cancelled_after_it_was_woken_wakes_another() -> None:
    inbox: Inbox[int] = Inbox(8)
    first, second = (asyncio.create_task(inbox.get()) for _ in range(2))
    await asyncio.sleep(0)
    inbox.put(1)
    first.cancel()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first
    third = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.sleep(0)
    inbox.put(2)
    assert inbox.drain() == [2]


@virtual_time
async def test_closing_wakes_everybody_and_leaves_what_is_there() -> None:
    inbox: Inbox[int] = Inbox(8)
    readers = [asyncio.create_task(inbox.get()) for _ in range(2)]
    await asyncio.sleep(0)
    inbox.put(1)
    inbox.close(TurnClosedError("over"))
    inbox.close(TurnClosedError("again"))
    results = await asyncio.gather(*readers, return_exceptions=True)
    assert results[0] == 1
    assert str(results[1]) == "over"
    inbox.put(2)
    assert await inbox.get() == 2
    with pytest.raises(TurnClosedError, match="over"):
        await inbox.get()
