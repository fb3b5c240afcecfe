"""Requests to a gateway that are open, and when each is sent again (RFC 6886 section 3.1, RFC 6887 section 8.1.1)."""

from __future__ import annotations

import random
from collections.abc import Hashable
from dataclasses import dataclass

__all__ = ["Questions", "Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How often and how fast."""

    first: float
    """Seconds before a request is sent again, doubling."""
    sends: int
    """How often it is sent in all."""
    longest: float = 1024.0
    """The longest wait, in seconds (MRT)."""
    jitter: float = 0.0
    """By what part each wait is varied, either way."""
    serial: bool = False
    """Whether only one request is open at a time."""


@dataclass(slots=True)
class _Question:
    wire: bytes
    sends_left: int
    sent: int = 0
    at: float = 0.0


class Questions:
    """The requests of one dialect, by keys of the caller's; a key has one at most."""

    def __init__(self, schedule: Schedule, rng: random.Random) -> None:
        self._schedule = schedule
        self._rng = rng
        self._open: dict[Hashable, _Question] = {}

    def __contains__(self, key: object) -> bool:
        return key in self._open

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, key: Hashable, wire: bytes, now: float, sends: int | None = None) -> None:
        """Open a request in the place of an earlier one with this key; it is sent from :meth:`due`."""
        self._open.pop(key, None)
        self._open[key] = _Question(wire, sends or self._schedule.sends, at=now)

    def close(self, key: Hashable) -> bool:
        """It is answered, or not wanted any more; whether it had been sent."""
        question = self._open.pop(key, None)
        return question is not None and question.sent > 0

    def clear(self) -> None:
        """Forget all."""
        self._open.clear()

    def due(self, now: float) -> tuple[list[bytes], list[Hashable]]:
        """Return what has to be sent now, and the keys of the requests that nobody answered."""
        wires: list[bytes] = []
        failed: list[Hashable] = []
        for key, question in self._turns():
            if question.at > now:
                continue
            if not question.sends_left:
                del self._open[key]
                failed.append(key)
                continue
            schedule = self._schedule
            wait = min(schedule.first * 2**question.sent, schedule.longest)
            question.at = now + wait * (1 + self._rng.uniform(-schedule.jitter, schedule.jitter))
            question.sent += 1
            question.sends_left -= 1
            wires.append(question.wire)
        return wires, failed

    def _turns(self) -> list[tuple[Hashable, _Question]]:
        turns = list(self._open.items())
        return turns[:1] if self._schedule.serial else turns

    def next_at(self) -> float | None:
        """Return when :meth:`due` is next wanted, or None."""
        return min((question.at for _, question in self._turns()), default=None)
