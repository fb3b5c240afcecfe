"""Who waits for which outcome: futures by key, each settled once with an event or an error."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from stun.address import TransportAddress
from turn.errors import TurnError
from turn.events import TurnEvent

__all__ = ["Waiters"]


class Waiters:
    """Several may wait for one key (a host, a peer, a path, a kind of event)."""

    def __init__(self) -> None:
        self._waiting: defaultdict[object, list[asyncio.Future[TurnEvent]]] = defaultdict(list)

    def add(self, key: object) -> asyncio.Future[TurnEvent]:
        """Return a future that is settled with ``key``."""
        waiter: asyncio.Future[TurnEvent] = asyncio.get_running_loop().create_future()
        self._waiting[key].append(waiter)
        return waiter

    def has(self, key: object) -> bool:
        """Whether somebody waits, or has given up while the outcome is still to come."""
        return key in self._waiting

    def settle(self, key: object, result: TurnEvent | TurnError) -> None:
        """Tell all who wait for a key; each gets an error of its own."""
        for waiter in self._waiting.pop(key, ()):
            if waiter.done():
                continue
            if isinstance(result, TurnError):
                waiter.set_exception(result.again())
            else:
                waiter.set_result(result)

    def settle_peers(self, host: str, error: TurnError) -> None:
        """Tell all who wait for a peer at a host."""
        for key in [key for key in self._waiting if isinstance(key, TransportAddress) and key.host == host]:
            self.settle(key, error)

    def settle_all(self, error: TurnError) -> None:
        """Tell everybody."""
        for key in list(self._waiting):
            self.settle(key, error)
