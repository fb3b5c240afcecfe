"""What the agents of one session share, one agent for each component of each stream (RFC 8445 sections 4 and 6.1.2)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from ice.checklist_set import ChecklistSet
from ice.config import IceConfig
from ice.description import Description, generate_description
from ice.lite import LiteRoles
from ice.local import Foundations
from ice.roles import Role, RoleKeeper

__all__ = ["Component", "SharedComponent", "SharedRooms", "StreamCredentials"]

_KEPT: Final = 4
"""Generations that are remembered. All agents begin one in the same step, so that two would do."""


class SharedRooms:
    """One role with one tiebreaker, the foundations of local candidates, and a checklist set for each generation."""

    __slots__ = ("_sets", "config", "foundations", "rng", "roles")

    def __init__(self, config: IceConfig, role: Role, rng: random.Random) -> None:
        self.config = config
        self.rng = rng
        self.roles = _keeper(config, role, rng)
        """Our role: a conflict that one agent repairs is repaired for all."""
        self.foundations = Foundations()
        """It does not matter which component finds one (section 5.1.1.3)."""
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
    """The place of an agent that is all there is to its session: what it begins is nobody else's.

    Args:
        config: the settings.
        roles: the session's role.
        rng: as of the agent.
        foundations: those of the session.
        number: 1..256.
    """

    __slots__ = ("_config", "_rng", "foundations", "number", "roles", "settled")

    def __init__(
        self, config: IceConfig, roles: RoleKeeper, rng: random.Random, foundations: Foundations, number: int = 1
    ) -> None:
        self._config = config
        self._rng = rng
        self.roles = roles
        self.foundations = foundations
        self.number = number
        self.settled: Callable[[], None] | None = None
        """If there is one, called after each input of the agent: others may have pairs that thawed, a turn, a role."""

    @classmethod
    def alone(cls, config: IceConfig, role: Role, rng: random.Random) -> Component:
        """Return the place of an agent in a session of its own."""
        return cls(config, _keeper(config, role, rng), rng, Foundations())

    def begin(self) -> tuple[Description, ChecklistSet]:
        """Begin the next generation: return its credentials and what its checklist shares with others."""
        return generate_description(self._config, self._rng), ChecklistSet(self._config.ta)


class SharedComponent(Component):
    """The place of one agent among others.

    Args:
        shared: what all agents of the session share.
        credentials: those of the agent's stream.
        number: 1..256.
    """

    __slots__ = ("_begun", "_credentials", "_shared")

    def __init__(self, shared: SharedRooms, credentials: StreamCredentials, number: int = 1) -> None:
        super().__init__(shared.config, shared.roles, shared.rng, shared.foundations, number)
        self._shared = shared
        self._credentials = credentials
        self._begun = 0

    def begin(self) -> tuple[Description, ChecklistSet]:
        """As of the base; the agents of a stream have the same credentials, all agents share a set."""
        generation = self._begun
        self._begun += 1
        return self._credentials.of(generation), self._shared.checklist_set(generation)


def _keeper(config: IceConfig, role: Role, rng: random.Random) -> RoleKeeper:
    return LiteRoles(role, rng) if config.lite.enabled else RoleKeeper(role, rng)
