"""Calls that are due at a time: one timer of the loop for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context
from heapq import heapify, heappop, heappush
from typing import Final
from weakref import ref

from stun.aio.of_loop import Mark, OfLoop

__all__ = ["Alarm", "Alarms"]

_Entry = tuple[float, int, "Alarm"]
"""When, the how manieth that was set, and what."""


class Alarm:
    """One call that is due at a time."""

    __slots__ = ("_alarms", "call", "context")

    def __init__(self, alarms: Alarms, call: Callable[[], object], context: Context) -> None:
        self._alarms = alarms
        self.call: Callable[[], object] | None = call
        """What is called; None once it has been, or never will be."""
        self.context = context
        """In which it is called."""

    def cancel(self) -> None:
        """Never make the call; harmless twice, and after it."""
        if self.call is not None:
            self.call = None
            self._alarms.waiting -= 1


class Alarms:
    """The alarms of a loop, the soonest first, and of those for one time the first that was set.

    ``loop.call_at`` keeps its timers in a heap too, but compares them by a method of Python's: with a thousand machines
    that is a large part of what their timers cost.
    """

    __slots__ = (
        "_at",
        "_context",
        "_entries",
        "_handle",
        "_has_backlog",
        "_looked_at",
        "_loop",
        "_mark",
        "_most_late",
        "_most_wait",
        "_number",
        "waiting",
    )

    def __init__(
        self,
        loop: ref[asyncio.AbstractEventLoop],
        mark: Mark[Alarms],
        *,
        most_late: float = 0.02,
        most_wait: float = 3.0,
    ) -> None:
        """Args:
        loop: which loop.
        mark: by what others on that loop find them; it is kept.
        most_late: how many seconds after a time the loop counts as being behind.
        most_wait: for how many seconds calls wait for sockets that have more to be read than one turn is given to.
        """
        self._loop = loop
        self._mark = mark
        self._most_late = most_late
        self._most_wait = most_wait
        self._has_backlog = False
        self._looked_at = 0.0
        self._entries: list[_Entry] = []
        self._number = 0
        self._handle: asyncio.TimerHandle | None = None
        self._at = 0.0
        self._context = Context()
        self.waiting = 0
        """How many calls there are still to be made."""

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> Alarms:
        """Return those of a loop."""
        return _OF_LOOP.of(loop)

    def set(self, at: float, call: Callable[[], object], context: Context) -> Alarm:
        """Have ``call`` called in ``context`` at ``at``, by ``loop.time()``.

        One that raises is reported by the loop, as any callback is; the others are called all the same.
        """
        alarm = Alarm(self, call, context)
        self.waiting += 1
        if len(self._entries) > 2 * self.waiting + 64:
            self._entries = [entry for entry in self._entries if entry[2].call is not None]
            heapify(self._entries)
        self._number += 1
        heappush(self._entries, (at, self._number, alarm))
        if self._handle is None or at < self._at:
            self._arm()
        return alarm

    def _arm(self) -> None:
        """Let the loop call at the time of the soonest."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        loop = self._loop()
        if self._entries and loop is not None:
            self._at = self._entries[0][0]
            self._handle = loop.call_at(self._at, self._run, context=self._context)

    def _run(self) -> None:
        self._handle = None
        loop = self._loop()
        # A loop may run a timer up to its clock's resolution early.
        now = self._at if loop is None else max(loop.time(), self._at)
        until = self._due_until(now)
        due: list[_Entry] = []
        while self._entries and self._entries[0][0] <= until:
            due.append(heappop(self._entries))
        due.reverse()
        try:
            while due:
                alarm = due.pop()[2]
                if (call := alarm.call) is not None:
                    alarm.cancel()
                    alarm.context.run(call)
        finally:
            for entry in due:
                heappush(self._entries, entry)
            self._arm()

    def note_backlog(self) -> None:
        """A socket has been read in this turn of the loop, and there may be more to read."""
        self._has_backlog = True

    def _due_until(self, now: float) -> float:
        """Return up to which time calls are made now.

        A loop that is behind has datagrams to read that came before the calls were due. They are read first: most of
        what a busy process would send again has been answered by then. In each turn of a loop sockets are read before
        timers, so what was due in the turn before has waited for them, if none of them has more to be read.
        """
        has_backlog, self._has_backlog = self._has_backlog, False
        was_due, self._looked_at = self._looked_at, now
        while self._entries and self._entries[0][2].call is None:
            heappop(self._entries)
        if not self._entries or now <= self._entries[0][0] + self._most_late:
            return now
        return min(was_due, now - self._most_wait) if has_backlog else was_due


_OF_LOOP: Final[OfLoop[Alarms]] = OfLoop(Alarms)
