"""What there is one of on each loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, ref

__all__ = ["Mark", "OfLoop"]

T = TypeVar("T")


class Mark(Generic[T]):
    """By what a shared object is found again for as long as it is kept.

    It stands for the object, which cannot be referred to weakly where it is compiled; so the object has to keep it.
    """

    __slots__ = ("__weakref__", "shared")

    shared: T


class OfLoop(Generic[T]):
    """One object for all who run on one loop: made for the first of them, found by the others.

    Those who use it keep it: a loop that is gone leaves nothing behind.
    """

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[ref[asyncio.AbstractEventLoop], Mark[T]], T]) -> None:
        """Args:
        make: makes one, which keeps the mark, and must not keep the loop.
        """
        self._make = make
        self._known: WeakKeyDictionary[asyncio.AbstractEventLoop, ref[Mark[T]]] = WeakKeyDictionary()

    def of(self, loop: asyncio.AbstractEventLoop) -> T:
        """Return that of a loop."""
        known = self._known.get(loop)
        mark = None if known is None else known()
        if mark is None:
            mark = Mark()
            mark.shared = self._make(ref(loop), mark)
            self._known[loop] = ref(mark)
        return mark.shared
