"""Futures by key: each settled once, with an error of its own."""

from __future__ import annotations

import asyncio

import pytest

from tests.turn.fake_server import PEER
from turn.aio.waiters import Waiters
from turn.errors import TurnError
from turn.events import PermissionGranted


async def test_all_who_wait_for_a_key_are_told_and_each_has_an_error_of_its_own() -> None:
    waiters = Waiters()
    first, second, gone = (waiters.add("key") for _ in range(3))
    gone.cancel()
    other = waiters.add("other")
    waiters.settle("key", TurnError("no"))
    for waiter in (first, second):
        with pytest.raises(TurnError, match="no"):
            await waiter
    assert first.exception() is not second.exception()
    assert (waiters.has("key"), waiters.has("other")) == (False, True)
    event = PermissionGranted("other")
    waiters.settle("other", event)
    waiters.settle("other", TurnError("too late"))
    assert await other is event


async def test_hosts_and_everybody() -> None:
    waiters = Waiters()
    peers = [waiters.add(PEER._replace(port=port)) for port in (1, 2)]
    rest = [waiters.add(PEER._replace(host="203.0.113.99")), waiters.add(PEER.host)]
    waiters.settle_peers(PEER.host, TurnError("dropped"))
    assert [str(peer.exception()) for peer in peers] == ["dropped"] * 2
    assert not any(waiter.done() for waiter in rest)
    waiters.settle_all(TurnError("over"))
    assert [str(result) for result in await asyncio.gather(*rest, return_exceptions=True)] == ["over"] * 2
