"""When each of many things is next to be looked at: a heap whose stale entries are bounded."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

__all__ = ["Timetable"]

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Timetable(Generic[K]):
    """One time a key. A later time costs nothing until the old one comes: the key is then simply put off."""

    __slots__ = ("_heap", "_order", "_queued", "_wanted")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._order = 0
        self._wanted: dict[K, float] = {}
        self._queued: dict[K, float] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def set(self, key: K, at: float) -> None:
        """Have ``key`` come up at ``at`` (monotonic seconds) and not before."""
        self._wanted[key] = at
        queued = self._queued.get(key)
        if queued is None or at < queued:
            self._push(key, at)
            if len(self._heap) > 2 * len(self._wanted) + _SLACK:
                self._compact()

    def discard(self, key: K) -> None:
        """Forget a key; harmless when it is not there."""
        self._wanted.pop(key, None)
        self._queued.pop(key, None)
        if len(self._heap) > 2 * len(self._wanted) + _SLACK:
            self._compact()

    def next_at(self) -> float | None:
        """Return when :meth:`due` wants to be asked; it may then have nothing."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[K]:
        """Take out and return the keys whose time has come."""
        found: list[K] = []
        while True:
            self._drop_stale()
            if not self._heap or self._heap[0][0] > now:
                return found
            key = heapq.heappop(self._heap)[2]
            del self._queued[key]
            at = self._wanted[key]
            if at > now:
                self._push(key, at)
            else:
                del self._wanted[key]
                found.append(key)

    def _push(self, key: K, at: float) -> None:
        self._order += 1
        self._queued[key] = at
        heapq.heappush(self._heap, (at, self._order, key))

    def _drop_stale(self) -> None:
        heap = self._heap
        while heap and self._queued.get(heap[0][2]) != heap[0][0]:
            heapq.heappop(heap)

    def _compact(self) -> None:
        self._heap = []
        self._queued = {}
        for key, at in self._wanted.items():
            self._push(key, at)
