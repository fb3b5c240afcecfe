"""What the agents of one session share, one agent for each component of each stream (RFC 8445 sections 4 and 6.1.2)."""

from __future__ import annotations

import random
from collections.abc import Callable

from ice.checklist_set import ChecklistSet
from ice.config import IceConfig
from ice.description import Description, generate_description
from ice.lite import LiteRoles
from ice.local import Foundation
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
        self.foundations: list[Foundation] = []
        """What each stands for, the first for "1"; it does not matter which component finds it (section 5.1.1.3)."""
        self._sets: tuple[tuple[int, ChecklistSet], ...] = ()

    def checklist_set(self, generation: int) -> ChecklistSet:
        """Return what the checklists of the ``generation``-th generation share."""
        for number, known in self._sets:
            if number == generation:
                return known
        made = ChecklistSet(self.config.ta)
        self._sets = (*self._sets, (generation, made))[-_KEPT:]
        return made


class StreamCredentials:
    """The descriptions of one stream, which its components share (RFC 8445 section 5.3)."""

    __slots__ = ("_config", "_descriptions", "_rng")

    def __init__(self, config: IceConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._descriptions: tuple[tuple[int, Description], ...] = ()

    @property
    def latest(self) -> Description:
        """The newest description."""
        return self.of(max((number for number, _ in self._descriptions), default=0))

    def of(self, generation: int) -> Description:
        """Return the description of the ``generation``-th generation."""
        for number, known in self._descriptions:
            if number == generation:
                return known
        made = generate_description(self._config, self._rng)
        self._descriptions = (*self._descriptions, (generation, made))[-_KEPT:]
        return made


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
        self.settled: Callable[[], None] | None = None
        """If there is one, called after each input of the agent: others may have pairs that thawed, a turn, a role."""
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
