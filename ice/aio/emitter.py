"""An event emitter that costs nothing while nobody listens."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyee.asyncio import AsyncIOEventEmitter

__all__ = ["QuietEmitter"]


class QuietEmitter(AsyncIOEventEmitter):
    """As :class:`pyee.asyncio.AsyncIOEventEmitter`, whose constructor makes 0.4 KB of tables and a lock.

    They are made when something looks at them first, such as ``on()``. Most of ten thousand sessions are only awaited.
    """

    _has_tables = False

    def __init__(self) -> None:
        """Leave the constructor of pyee for later."""

    if not TYPE_CHECKING:  # Or every attribute would pass as one.

        def __getattr__(self, name: str) -> Any:
            """Have pyee make its attributes: one is missing, and it may be among them."""
            if self._has_tables:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            self._has_tables = True
            super().__init__()
            return getattr(self, name)

    def listeners(self, event: str) -> list[Callable[..., Any]]:
        """Return who listens to ``event``."""
        return super().listeners(event) if self._has_tables else []
