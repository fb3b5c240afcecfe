"""Calls that are due once at the end of a turn of the loop: one handle for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stun.aio.of_loop import OfLoop

__all__ = ["EndOfTurn"]


class EndOfTurn(OfLoop):
    """What is left to be done in this turn of a loop, in the order in which it was asked for.

    ``loop.call_soon`` makes a handle and copies a context for each call. A thousand machines that look at their
    deadlines after each of their inputs notice that.
    """

    __slots__ = ("_calls",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._calls: list[Callable[[], object]] = []

    def add(self, call: Callable[[], object]) -> None:
        """Have ``call`` called. It runs in the context of whoever was the first to ask in this turn.

        One that raises is reported by the loop, as any callback is; the others are called all the same.
        """
        loop = self._loop()
        if not self._calls and loop is not None:
            loop.call_soon(self._run)
        self._calls.append(call)

    def _run(self) -> None:
        calls, self._calls = self._calls, []
        done = 0
        try:
            for call in calls:
                done += 1
                call()
        finally:
            for call in calls[done:]:
                self.add(call)
