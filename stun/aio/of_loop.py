"""What there is one of on each loop."""

from __future__ import annotations

import asyncio
from typing import ClassVar, Self
from weakref import WeakKeyDictionary, ref

__all__ = ["OfLoop"]


class OfLoop:
    """The base of what all who run on one loop share.

    Those who use it keep it: a loop that is gone leaves nothing behind.
    """

    __slots__ = ("__weakref__", "_loop")

    _known: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, ref[OfLoop]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._known = WeakKeyDictionary()

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = ref(loop)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Self:
        """Return that of a loop."""
        known = cls._known.get(loop)
        shared = None if known is None else known()
        if not isinstance(shared, cls):
            shared = cls(loop)
            cls._known[loop] = ref(shared)
        return shared
