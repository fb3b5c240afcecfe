"""The event loop of tests with real sockets: its clock does not run while this process is held up.

A time limit of 0.2 s in such a test means that nothing happens for 0.2 s, not that the machine had better things to do
meanwhile. By this clock a turn of the loop takes a microsecond whatever is done in it, and waiting takes as long as was
asked for or until something comes, whatever the wall clock says. The library asks no other clock than its loop's, so
that what it does in a test does not depend on how busy the machine is. Other processes and the timers of OpenSSL's DTLS
go by the wall clock, which is never behind this one.
"""

from __future__ import annotations

import asyncio
import selectors
import time

__all__ = ["SteadyLoop"]

TURN = 1e-6
"""Less than a turn ever takes, in seconds; more than nothing, because what follows something else is later."""


class _Selector(selectors.DefaultSelector):
    """The system's selector, which adds up for how long it had to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.monotonic()
        """Where the clock is: what others compute from the monotonic clock is near it at first, and then late."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        began = time.monotonic()
        events = super().select(timeout)
        waited = time.monotonic() - began
        self.now += TURN + (waited if timeout is None else min(waited, max(timeout, 0.0)))
        return events


class SteadyLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop, but for its clock."""

    def __init__(self) -> None:
        self._steady = _Selector()
        super().__init__(self._steady)

    def time(self) -> float:
        """Return the seconds that this loop has waited, from where the monotonic clock was when it was made."""
        return self._steady.now
