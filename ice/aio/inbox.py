"""Received datagrams that wait for the application: bounded, and safe against cancelled readers."""

from __future__ import annotations

import asyncio
from collections import deque

from ice.errors import IceError

__all__ = ["Inbox"]

_OVERHEAD = 64
"""Bytes that a datagram counts beyond its length, so that a flood of tiny ones is bounded too."""


class Inbox:
    """A queue of datagrams with a limit in bytes. When it is full the oldest datagrams make room: in a datagram
    service late data is worth less than fresh data."""

    __slots__ = ("_error", "_limit", "_queue", "_size", "_waiters", "dropped")

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        """Datagrams that made room for others."""
        self._limit = limit
        self._size = 0
        self._queue: deque[bytes] = deque()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._error: IceError | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, data: bytes) -> None:
        """Add a datagram and wake a reader."""
        self._queue.append(data)
        self._size += len(data) + _OVERHEAD
        if self._size > self._limit:
            self._make_room()
        if self._waiters:
            self._wake_one()

    def take(self) -> bytes | None:
        """Return and remove the oldest datagram, or None."""
        if not self._queue:
            return None
        data = self._queue.popleft()
        self._size -= len(data) + _OVERHEAD
        return data

    async def get(self) -> bytes:
        """Wait for a datagram. A cancelled call takes none.

        Raises:
            IceError: the inbox is closed and nothing waits in it.
        """
        while (data := self.take()) is None:
            if self._error is not None:
                raise type(self._error)(str(self._error), self._error.reason)
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._wake_one()  # It was for us to take a datagram; somebody else has to.
                elif waiter in self._waiters:  # A datagram that came after the cancellation has removed it already.
                    self._waiters.remove(waiter)
                raise
        return data

    def close(self, error: IceError, *, discard: bool) -> None:
        """Make readers raise ``error`` once nothing waits any more; with ``discard`` at once."""
        if self._error is None:
            self._error = error
        if discard:
            self._queue.clear()
            self._size = 0
        while self._waiters:
            self._wake_one()

    def _make_room(self) -> None:
        while self._size > self._limit and len(self._queue) > 1:
            self.take()
            self.dropped += 1

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
