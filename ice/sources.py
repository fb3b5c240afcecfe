"""From whom application data is accepted: the one table that the data path looks into."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from ice.candidate import Base
from stun.address import FiveTuple

__all__ = ["AcceptedSources"]


class AcceptedSources:
    """For each of our bases, the peer's addresses that authenticated there.

    An address gets in by a check that it sent or by an answer to one of ours; both are signed with the session's
    passwords. The sets are live: a driver keeps the one of its socket and looks plain ``(host, port)`` tuples up in it.
    They are the keys of dictionaries, of which an empty one takes a third of what a set takes.
    """

    __slots__ = ("_by_base",)

    def __init__(self) -> None:
        self._by_base: dict[Base, dict[tuple[str, int], None] | None] = {}

    def __contains__(self, base: object) -> bool:
        return base in self._by_base

    def add_base(self, base: Base) -> None:
        """Begin a set for a base; it is made when it is wanted."""
        self._by_base.setdefault(base, None)

    def drop_base(self, base: Base) -> None:
        """A socket is closed; its set stays the same object, empty."""
        if (sources := self._by_base.pop(base, None)) is not None:
            sources.clear()

    def of(self, base: Base) -> AbstractSet[tuple[str, int]]:
        """Return the live set of a base.

        Raises:
            KeyError: no such base was added.
        """
        return self._made(base).keys()

    def _made(self, base: Base) -> dict[tuple[str, int], None]:
        sources = self._by_base[base]
        if sources is None:
            sources = self._by_base[base] = {}
        return sources

    def accept(self, path: FiveTuple) -> None:
        """Accept data on ``path`` from now on."""
        base = Base.of(path)
        sources = self._by_base[base]
        if sources is None:
            sources = self._made(base)
        sources[path.remote] = None

    def discard(self, path: FiveTuple) -> None:
        """Accept data on ``path`` no more."""
        if (sources := self._by_base.get(Base.of(path))) is not None:
            sources.pop(path.remote, None)

    def clear(self) -> None:
        """Accept nothing any more; the sets stay the same objects, empty."""
        for sources in self._by_base.values():
            if sources is not None:
                sources.clear()
