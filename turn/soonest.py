"""When a table has something to do next, without looking at all of it each time somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["Soonest"]


class Soonest:
    """The earliest of a table's times, looked for only after the table has changed."""

    __slots__ = ("_at", "_known", "_times", "wanted")

    def __init__(self, times: Callable[[], Iterable[float]]) -> None:
        """Args:
        times: returns every time of the table.
        """
        self.wanted = False
        """Whether something is to be done at once."""
        self._times = times
        self._known = False
        self._at: float | None = None

    def forget(self) -> None:
        """The table has changed."""
        self._known = False

    @property
    def at(self) -> float | None:
        """The earliest time; None when there is none."""
        if not self._known:
            self._at = min(self._times(), default=None)
            self._known = True
        return self._at

    def take(self, now: float) -> bool:
        """Whether there is something to do now; it counts as done, and as a change, when there is."""
        at = self._at if self._known else self.at  # Each datagram asks.
        if not self.wanted and (at is None or at > now):
            return False
        self.wanted = False
        self._known = False
        return True
