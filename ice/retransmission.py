"""When a request over UDP is sent again and when it has failed (RFC 8489 section 6.2.1)."""

from __future__ import annotations

import enum

__all__ = ["Retransmission", "Step"]


class Step(enum.Enum):
    """What is due."""

    NOTHING = enum.auto()
    SEND = enum.auto()
    FAIL = enum.auto()


class Retransmission:
    """The schedule of one transaction whose first send was at ``now``.

    With the defaults of the RFC the sends are 0, 1, 3, 7, 15, 31 and 63 timeouts after the start and the failure is
    16 timeouts after the last send.
    """

    __slots__ = ("_final_wait", "_interval", "_max_sends", "_rto", "at", "sends")

    def __init__(self, now: float, rto: float, max_sends: int, final_wait: int) -> None:
        self._rto = rto
        self._interval = rto
        self._max_sends = max_sends
        self._final_wait = final_wait
        self.sends = 1
        """How often the request has been sent."""
        self.at = now + (rto if max_sends > 1 else rto * final_wait)
        """When the next step is due, in monotonic seconds."""

    def advance(self, now: float) -> Step:
        """Take the step that is due, if one is."""
        if now < self.at:
            return Step.NOTHING
        if self.sends >= self._max_sends:
            return Step.FAIL
        self.sends += 1
        if self.sends < self._max_sends:
            self._interval *= 2
            self.at = now + self._interval
        else:
            self.at = now + self._rto * self._final_wait
        return Step.SEND
