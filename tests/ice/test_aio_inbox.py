from __future__ import annotations

import asyncio

import pytest

from ice.aio.inbox import Inbox
from ice.errors import ConsentLostError, FailureReason, error_for
from tests.simulation import virtual_time


@virtual_time
async def test_datagrams_come_out_in_order() -> None:
    inbox = Inbox(100)
    for data in (b"one", b"two", b"three"):
        inbox.put(data)
    assert len(inbox) == 3
    assert [await inbox.get(), inbox.take(), await inbox.get(), inbox.take()] == [b"one", b"two", b"three", None]


@virtual_time
async def test_a_reader_waits_and_is_woken() -> None:
    inbox = Inbox(100)
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(1)
    assert not reader.done()
    inbox.put(b"late")
    assert await reader == b"late"


@virtual_time
async def test_a_full_inbox_keeps_the_newest_and_counts() -> None:
    inbox = Inbox(10)
    for index in range(25):
        inbox.put(bytes([index]) * 100)
    assert len(inbox) == 10
    assert inbox.dropped == 15
    assert (inbox.packets, inbox.bytes) == (25, 2500)
    assert (await inbox.get())[0] == 15
    assert inbox.dropped == 15


@pytest.mark.parametrize("put_first", [True, False])
@virtual_time
async def test_a_cancelled_reader_takes_nothing(put_first: bool) -> None:
    inbox = Inbox(100)
    reader = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    if put_first:
        inbox.put(b"precious")
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    if not put_first:
        inbox.put(b"precious")
    assert await inbox.get() == b"precious"


@virtual_time
async def test_cancelling_the_woken_reader_wakes_the_next() -> None:
    inbox = Inbox(100)
    first, second = asyncio.create_task(inbox.get()), asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    inbox.put(b"precious")
    first.cancel()
    assert await second == b"precious"
    assert first.cancelled()


@virtual_time
async def test_several_readers_each_get_their_own() -> None:
    inbox = Inbox(100)
    readers = [asyncio.create_task(inbox.get()) for _ in range(3)]
    await asyncio.sleep(0)
    for data in (b"1", b"2", b"3"):
        inbox.put(data)
    assert sorted(await asyncio.gather(*readers)) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("discard", [True, False])
@virtual_time
async def test_closing_wakes_every_reader_with_the_error(discard: bool) -> None:
    inbox = Inbox(100)
    readers = [asyncio.create_task(inbox.get()) for _ in range(2)]
    await asyncio.sleep(0)
    inbox.close(error_for(FailureReason.CONSENT_EXPIRED), discard=discard)
    for outcome in await asyncio.gather(*readers, return_exceptions=True):
        assert isinstance(outcome, ConsentLostError)
        assert outcome.reason is FailureReason.CONSENT_EXPIRED


@virtual_time
async def test_what_arrived_before_the_end_is_read_unless_discarded() -> None:
    for discard in (False, True):
        inbox = Inbox(100)
        inbox.put(b"before")
        inbox.close(error_for(FailureReason.CLOSED), discard=discard)
        if not discard:
            assert await inbox.get() == b"before"
        with pytest.raises(ConnectionError):
            await inbox.get()
