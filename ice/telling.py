"""The order in which the peer is told the candidates of several components (RFC 8838 section 17)."""

from __future__ import annotations

from collections.abc import Iterable

from ice.candidate import Candidate

__all__ = ["TellingOrder"]


class TellingOrder:
    """Holds a candidate back until the component before has told one of its foundation, or will tell no more.

    The peer then meets a foundation in its lowest component first, whose pair is the one to be checked before the
    others (RFC 8445 section 6.1.2.6).
    """

    __slots__ = ("_components", "_done", "_held", "_settled", "_told")

    def __init__(self, components: Iterable[int]) -> None:
        self._components = sorted(components)
        self._held: list[Candidate] = []
        self._told: set[tuple[int, str]] = set()
        self._settled: set[int] = set()
        self._done: set[int] = set()

    @property
    def is_complete(self) -> bool:
        """Whether every component has told all of its candidates."""
        return self._done.issuperset(self._components)

    def found(self, candidate: Candidate) -> list[Candidate]:
        """Return what may be told now that ``candidate`` is known."""
        self._held.append(candidate)
        return self._release()

    def settled(self, component: int) -> list[Candidate]:
        """Return what may be told now that nothing of ``component`` is worth waiting for."""
        self._settled.add(component)
        return self._release()

    def completed(self, component: int) -> list[Candidate]:
        """Return what may be told now that ``component`` has no more."""
        self._done.add(component)
        return self._release()

    def _release(self) -> list[Candidate]:
        free: list[Candidate] = []
        self._held.sort(key=lambda candidate: candidate.component)  # Stable: one component's stay in their order.
        for candidate in self._held[:]:
            if self._may_tell(candidate):
                self._held.remove(candidate)
                self._told.add((candidate.component, candidate.foundation))
                free.append(candidate)
        return free

    def _may_tell(self, candidate: Candidate) -> bool:
        before = max((number for number in self._components if number < candidate.component), default=None)
        return before is None or before in self._settled | self._done or (before, candidate.foundation) in self._told
