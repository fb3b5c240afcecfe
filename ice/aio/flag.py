"""An event to wait for that costs next to nothing while nobody waits."""

from __future__ import annotations

import asyncio

from stun.nothing import NO_ITEMS

__all__ = ["Flag"]


class Flag:
    """As :class:`asyncio.Event`, which holds 760 bytes for its waiters even when there are none."""

    __slots__ = ("_is_set", "_waiters")

    def __init__(self) -> None:
        self._is_set = False
        self._waiters: list[asyncio.Future[None]] = NO_ITEMS

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and let everyone go on who waits."""
        self._is_set = True
        while self._waiters:
            waiter = self._waiters.pop()
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = NO_ITEMS

    def clear(self) -> None:
        """Unset it; who was woken goes on all the same."""
        self._is_set = False

    async def wait(self) -> None:
        """Return when it is set, at once if it is."""
        if self._is_set:
            return
        waiter = asyncio.get_running_loop().create_future()
        if self._waiters is NO_ITEMS:
            self._waiters = []
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)  # Cancelled.
