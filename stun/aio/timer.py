"""The one timer of a machine on an asyncio loop."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Protocol

from stun.aio.alarms import Alarm, Alarms
from stun.aio.end_of_turn import EndOfTurn
from stun.machine import Deadline

__all__ = ["MachineTimer"]


class _Timed(Protocol):
    """What of a machine the timer needs."""

    def next_timeout(self) -> Deadline | None: ...

    def handle_timeout(self, now: float) -> None: ...


class _Driver(Protocol):
    def pump(self) -> None: ...


class MachineTimer:
    """Wakes a machine at its deadline, by ``loop.time()``; :meth:`arm` it whenever the deadline may have changed.

    The machine is asked once in a turn of the loop, however often the timer is armed in it: finding the soonest of many
    deadlines costs more than most inputs.
    """

    __slots__ = (
        "_alarm",
        "_alarms",
        "_at",
        "_context",
        "_driver",
        "_end_of_turn",
        "_is_arming",
        "_loop",
        "_machine",
        "_most_early",
        "_stopped",
    )

    def __init__(self, machine: _Timed, driver: _Driver, *, most_early: float = 0.2) -> None:
        """Args:
        machine: whose ``handle_timeout`` to call.
        driver: its ``pump()`` is called after it, to drain the machine and :meth:`arm` the timer again.
        most_early: how many seconds before a deadline that has moved on the machine may be looked at for nothing.
        """
        self._machine = machine
        self._driver = driver
        self._loop = asyncio.get_running_loop()
        self._end_of_turn = EndOfTurn.of(self._loop)
        self._context = contextvars.copy_context()
        self._alarms = Alarms.of(self._loop)
        self._alarm: Alarm | None = None
        self._is_arming = False
        self._at = 0.0
        self._most_early = most_early
        self._stopped = False

    def arm(self) -> None:
        """Look at the machine's deadline again, at the end of this turn of the loop."""
        if not self._is_arming and not self._stopped:
            self._is_arming = True
            self._end_of_turn.add(self._arm)

    def _arm(self) -> None:
        self._is_arming = False
        if self._stopped:
            return
        deadline = self._machine.next_timeout()
        if self._alarm is not None:
            # Deadlines move on a little all the time: one early wake-up costs less than a new alarm for each of them.
            if deadline is not None and self._at <= deadline.at <= self._at + self._most_early:
                return
            self._alarm.cancel()
            self._alarm = None
        if deadline is not None:
            self._set(deadline.at)

    def _set(self, at: float) -> None:
        self._at = at
        self._alarm = self._alarms.set(at, self._due, self._context)

    def stop(self) -> None:
        """Wake the machine no more; harmless twice."""
        self._stopped = True
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _due(self) -> None:
        self._alarm = None
        # A loop may run a timer up to its clock's resolution early; the machine shall not be woken for nothing.
        now = max(self._loop.time(), self._at)
        deadline = self._machine.next_timeout()
        if deadline is None:
            return
        if deadline.at <= now:
            self._machine.handle_timeout(now)
            self._driver.pump()
        else:  # It has moved on.
            self._set(deadline.at)
