"""An event emitter that costs nothing while nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyee.asyncio import AsyncIOEventEmitter

__all__ = ["QuietEmitter"]


class QuietEmitter(AsyncIOEventEmitter):
    """As :class:`pyee.asyncio.AsyncIOEventEmitter`, whose constructor makes 0.4 KB of tables and a lock.

    They are made when something looks at them first, such as ``on()``. Most of ten thousand sessions are only awaited.
    """

    _has_tables = False

    def __init__(self) -> None:
        """Leave the constructor of pyee for later."""

    def listeners(self, event: str) -> list[Callable[..., Any]]:
        """Return who listens to ``event``."""
        return super().listeners(event) if self._has_tables else []

    def _furnish(self) -> None:
        self._has_tables = True
        super().__init__()


class _Late:
    """An attribute of pyee's: the first look at it has all of them made, which then stand before this.

    One of these for each is better than a ``__getattr__``: Python 3.11 looks every attribute of a class that has one up
    the slow way, those that are there as well.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, emitter: QuietEmitter | None, owner: type[QuietEmitter]) -> Any:
        if emitter is None:
            return self
        emitter._furnish()
        return vars(emitter)[self._name]


for _name in vars(AsyncIOEventEmitter()):
    setattr(QuietEmitter, _name, _Late(_name))
