"""Empty containers for all that have nothing to keep: a room of a machine begins with them, and takes its own later.

An empty dictionary, set or list takes 64 to 216 bytes. Of the tables of a machine most stay empty for all its life, and
there may be ten thousand machines. So a room that most of them never use shares these while it is at rest; the inputs
that have something to keep call the room's ``_furnish()`` first. Who forgets that gets an error, and harms nobody else.
"""

from __future__ import annotations

from typing import Any, Final, Never

from stun.lazy_queue import LazyQueue

__all__ = ["NO_ENTRIES", "NO_ITEMS", "NO_MEMBERS"]


def _refuse(*_: object, **__: object) -> Never:
    raise TypeError("this empty container is everybody's: take one of your own first")


class _NoEntries(dict[Any, Any]):
    __slots__ = ()
    __setitem__ = __ior__ = setdefault = update = _refuse


class _NoItems(LazyQueue[Any]):
    __slots__ = ()
    __iadd__ = __setitem__ = append = extend = insert = _refuse


class _NoMembers(set[Any]):
    __slots__ = ()
    __ior__ = add = update = _refuse


NO_ENTRIES: Final[dict[Any, Any]] = _NoEntries()
"""A dictionary that stays empty."""
NO_ITEMS: Final[LazyQueue[Any]] = _NoItems()
"""A queue, or list, that stays empty."""
NO_MEMBERS: Final[set[Any]] = _NoMembers()
"""A set that stays empty."""
