"""From whom application data is accepted: the one table that the data path looks into."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet

from ice.candidate import Base
from stun.address import FiveTuple

__all__ = ["AcceptedSources", "Sources"]

# Sessions at one port have the same bases.
_same_bases: Callable[[frozenset[Base]], frozenset[Base]] = functools.lru_cache(maxsize=256)(frozenset)


class Sources(AbstractSet[tuple[str, int]]):
    """The peer's addresses that authenticated at one base: a set that lives.

    They are few, mostly one, and a tuple of so few takes a sixth of a set and is searched as fast.
    """

    __slots__ = ("accepted", "base")

    def __init__(self, base: Base) -> None:
        self.base = base
        self.accepted: tuple[tuple[str, int], ...] = ()
        """The addresses, to be looked at without a call."""

    def __contains__(self, source: object) -> bool:
        return source in self.accepted

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(self.accepted)

    def __len__(self) -> int:
        return len(self.accepted)


class AcceptedSources:
    """For each of our bases, the peer's addresses that authenticated there.

    An address gets in by a check that it sent or by an answer to one of ours; both are signed with the session's
    passwords. The sets are live: a driver keeps the one of its socket and looks plain ``(host, port)`` tuples up in it.
    """

    __slots__ = ("_bases", "_sources")

    def __init__(self) -> None:
        self._bases: frozenset[Base] = frozenset()
        self._sources: tuple[Sources, ...] = ()

    def __contains__(self, base: object) -> bool:
        return base in self._bases

    def add_base(self, base: Base) -> None:
        """Begin a set for a base; it is made when it is wanted."""
        self._bases = _same_bases(self._bases | {base})

    def drop_base(self, base: Base) -> None:
        """A socket is closed; its set stays the same object, empty."""
        if (sources := self._known(base)) is not None:
            sources.accepted = ()
        self._bases = _same_bases(self._bases - {base})
        self._sources = tuple(other for other in self._sources if other is not sources)

    def of(self, base: Base) -> Sources:
        """Return the live set of a base.

        Raises:
            KeyError: no such base was added.
        """
        for sources in self._sources:
            if sources.base == base:
                return sources
        if base not in self._bases:
            raise KeyError(base)
        made = Sources(base)
        self._sources += (made,)
        return made

    def _known(self, base: Base) -> Sources | None:
        for sources in self._sources:
            if sources.base == base:
                return sources
        return None

    def accept(self, path: FiveTuple) -> None:
        """Accept data on ``path`` from now on."""
        for sources in self._sources:
            if sources.base == (path.local, path.protocol):
                break
        else:
            sources = self.of(Base.of(path))
        if path.remote not in sources.accepted:
            sources.accepted += (path.remote,)

    def discard(self, path: FiveTuple) -> None:
        """Accept data on ``path`` no more."""
        if (sources := self._known(Base.of(path))) is not None:
            sources.accepted = tuple(source for source in sources.accepted if source != path.remote)

    def clear(self) -> None:
        """Accept nothing any more; the sets stay the same objects, empty."""
        for sources in self._sources:
            sources.accepted = ()
