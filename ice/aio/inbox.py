"""Received datagrams that wait for the application: bounded, and safe against cancelled readers."""

from __future__ import annotations

import asyncio
from collections import deque

from ice.errors import IceError
from stun.nothing import NO_ITEMS

__all__ = ["Inbox"]

_NOTHING: deque[bytes] = deque(maxlen=0)


class Inbox:
    """A queue of at most ``limit`` datagrams. When it is full the oldest makes room: in a datagram service late data is
    worth less than fresh data."""

    __slots__ = ("_error", "_limit", "_waiters", "bytes", "packets", "queue", "taken")

    def __init__(self, limit: int) -> None:
        self.queue = _NOTHING  # An empty deque takes 760 bytes, which a session that is only waiting can do without.
        """What waits; who takes from it directly counts that in ``taken``."""
        self.packets = 0
        """Datagrams that were ever put in."""
        self.bytes = 0
        """Their bytes."""
        self.taken = 0
        """Datagrams that were taken out."""
        self._limit = limit
        self._waiters: list[asyncio.Future[None]] = NO_ITEMS
        self._error: IceError | None = None

    def __len__(self) -> int:
        return len(self.queue)

    @property
    def dropped(self) -> int:
        """Datagrams that made room for others, or were discarded at the end."""
        return self.packets - self.taken - len(self.queue)

    def put(self, data: bytes) -> None:
        """Add a datagram and wake a reader."""
        if self.queue is _NOTHING:
            self.queue = deque(maxlen=self._limit)
        self.queue.append(data)  # The queue drops its oldest item when it is full.
        self.packets += 1
        self.bytes += len(data)
        if self._waiters:
            self._wake_one()

    def take(self) -> bytes | None:
        """Return and remove the oldest datagram, or None."""
        if not self.queue:
            return None
        self.taken += 1
        return self.queue.popleft()

    async def get(self) -> bytes:
        """Wait for a datagram. A cancelled call takes none.

        Raises:
            IceError: the inbox is closed and nothing waits in it.
        """
        while (data := self.take()) is None:
            if self._error is not None:
                raise type(self._error)(str(self._error), self._error.reason)
            waiter = asyncio.get_running_loop().create_future()
            if self._waiters is NO_ITEMS:
                self._waiters = []
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
            self.queue.clear()
        while self._waiters:
            self._wake_one()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return
