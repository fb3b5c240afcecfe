"""Calls that are due once at the end of a turn of the loop: one handle for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final
from weakref import ref

from stun.aio.of_loop import Mark, OfLoop

__all__ = ["EndOfTurn"]


class EndOfTurn:
    """What is left to be done in this turn of a loop, in the order in which it was asked for.

    ``loop.call_soon`` makes a handle and copies a context for each call. A thousand machines that look at their
    deadlines after each of their inputs notice that.
    """

    __slots__ = ("_calls", "_loop", "_mark")

    def __init__(self, loop: ref[asyncio.AbstractEventLoop], mark: Mark[EndOfTurn]) -> None:
        self._loop = loop
        self._mark = mark
        self._calls: list[Callable[[], object]] = []

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> EndOfTurn:
        """Return that of a loop."""
        return _OF_LOOP.of(loop)

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


_OF_LOOP: Final[OfLoop[EndOfTurn]] = OfLoop(EndOfTurn)
