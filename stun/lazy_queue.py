"""A queue that costs next to nothing while it is empty."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["LazyQueue"]

T = TypeVar("T")


class LazyQueue(list[T]):
    """A first-in, first-out queue: a list with a deque's ``popleft``.

    An empty deque has room for 64 items and takes 760 bytes. A machine has many queues, most of them empty most of the
    time, and there may be ten thousand machines. What waits here is little and soon gone, so that moving the rest up
    costs nothing to speak of, and asking whether anything waits is as quick as for any list.
    """

    __slots__ = ()

    def popleft(self) -> T:
        """Return and remove the first.

        Raises:
            IndexError: there is none.
        """
        return self.pop(0)
