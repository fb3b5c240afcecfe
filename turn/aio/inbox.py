"""A bounded queue between the driver, which never waits, and the application, which does."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

from turn.errors import TurnError

__all__ = ["Inbox"]

T = TypeVar("T")


class Inbox(Generic[T]):
    """Takes items at any time; when it is full the oldest goes. Readers raise once it is closed and empty."""

    __slots__ = ("_error", "_items", "_waiters", "dropped")

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        """Items that had to make room."""
        self._items: deque[T] = deque(maxlen=limit)
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._error: TurnError | None = None

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Add an item and wake a reader."""
        items = self._items
        if len(items) == items.maxlen:
            self.dropped += 1
        items.append(item)
        if self._waiters:
            self._wake()

    async def get(self) -> T:
        """Wait for an item. A cancelled call takes none.

        Raises:
            TurnError: the inbox is closed and empty.
        """
        while not self._items:
            if self._error is not None:
                raise self._error.again()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake()  # What woke us is for somebody else now.
                raise
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
        return self._items.popleft()

    def drain(self) -> list[T]:
        """Return and remove everything."""
        items = list(self._items)
        self._items.clear()
        return items

    def close(self, error: TurnError) -> None:
        """Make readers raise ``error`` once nothing is left; the first reason counts."""
        if self._error is None:
            self._error = error
        for _ in range(len(self._waiters)):
            self._wake()

    def _wake(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
