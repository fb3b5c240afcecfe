"""What the agents of one session share, one agent for each component of each stream (RFC 8445 sections 4 and 6.1.2)."""

from __future__ import annotations

import random
from collections.abc import Callable

from ice.checklist_set import ChecklistSet
from ice.config import IceConfig
from ice.description import Description, generate_description
from ice.lite import LiteRoles
from ice.roles import Role, RoleKeeper

__all__ = ["Component", "SharedRooms", "StreamCredentials"]

_KEPT = 4
"""Generations that are remembered. All agents begin one in the same step, so that two would do."""


class SharedRooms:
    """One role with one tiebreaker, the foundations of local candidates, and a checklist set for each generation."""

    __slots__ = ("_sets", "config", "foundations", "rng", "roles")

    def __init__(self, config: IceConfig, role: Role, rng: random.Random) -> None:
        self.config = config
        self.rng = rng
        self.roles: RoleKeeper = LiteRoles(role, rng) if config.lite.enabled else RoleKeeper(role, rng)
        """Our role: a conflict that one agent repairs is repaired for all."""
        self.foundations: dict[tuple[object, ...], str] = {}
        """Equal for the same type, base host, protocol and server, whatever the component (section 5.1.1.3)."""
        self._sets: dict[int, ChecklistSet] = {}

    def checklist_set(self, generation: int) -> ChecklistSet:
        """Return what the checklists of the ``generation``-th generation share."""
        if generation not in self._sets:
            self._sets[generation] = ChecklistSet()
            self._sets.pop(generation - _KEPT, None)
        return self._sets[generation]


class StreamCredentials:
    """The descriptions of one stream, which its components share (RFC 8445 section 5.3)."""

    __slots__ = ("_by_generation", "_config", "_rng")

    def __init__(self, config: IceConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._by_generation: dict[int, Description] = {}

    @property
    def latest(self) -> Description:
        """The newest description."""
        return self.of(max(self._by_generation, default=0))

    def of(self, generation: int) -> Description:
        """Return the description of the ``generation``-th generation."""
        if generation not in self._by_generation:
            self._by_generation[generation] = generate_description(self._config, self._rng)
            self._by_generation.pop(generation - _KEPT, None)
        return self._by_generation[generation]


class Component:
    """The place of one agent in its session.

    Args:
        shared: what all agents of the session share.
        credentials: those of the agent's stream.
        number: 1..256.
    """

    __slots__ = ("_begun", "_credentials", "number", "settled", "shared")

    def __init__(self, shared: SharedRooms, credentials: StreamCredentials, number: int = 1) -> None:
        self.shared = shared
        self.number = number
        self.settled: Callable[[], None] = _nothing
        """Called after each input of the agent: pairs of others may have thawed, or their turn or role changed."""
        self._credentials = credentials
        self._begun = 0

    @classmethod
    def alone(cls, config: IceConfig, role: Role, rng: random.Random) -> Component:
        """Return the place of an agent that is all there is to its session."""
        return cls(SharedRooms(config, role, rng), StreamCredentials(config, rng))

    def begin(self) -> tuple[Description, ChecklistSet]:
        """Begin the next generation: return its credentials and what its checklist shares with others."""
        generation = self._begun
        self._begun += 1
        return self._credentials.of(generation), self.shared.checklist_set(generation)


def _nothing() -> None:
    pass
