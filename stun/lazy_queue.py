"""A queue that costs next to nothing while it is empty."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["LazyQueue"]

T = TypeVar("T")


class LazyQueue(Generic[T]):
    """A first-in, first-out queue with the methods of a deque that one needs.

    An empty deque has room for 64 items and takes 760 bytes. A machine has many queues, most of them empty most of the
    time, and there may be ten thousand machines: so here there is a deque only while something waits.
    """

    __slots__ = ("_items",)

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._items: deque[T] | None = deque(items) or None

    def __len__(self) -> int:
        return len(self._items) if self._items is not None else 0

    def __bool__(self) -> bool:
        return self._items is not None

    def __iter__(self) -> Iterator[T]:
        return iter(self._items if self._items is not None else ())

    def append(self, item: T) -> None:
        """Add one at the end."""
        if self._items is None:
            self._items = deque()
        self._items.append(item)

    def extend(self, items: Iterable[T]) -> None:
        """Add several at the end, in their order."""
        for item in items:
            self.append(item)

    def popleft(self) -> T:
        """Return and remove the first.

        Raises:
            IndexError: there is none.
        """
        items = self._items
        if items is None:
            raise IndexError("the queue is empty")
        item = items.popleft()
        if not items:
            self._items = None
        return item

    def clear(self) -> None:
        """Remove all."""
        self._items = None
