"""What keeps a session on a good path, beyond one generation: its liveness, and the wish for an ICE restart."""

from __future__ import annotations

from typing import Final

from ice.config import IceConfig
from ice.events import RestartReason, RestartWanted, State
from ice.failover import Liveness
from ice.generation import Generation
from stun.machine import Deadline, Transmit

__all__ = ["Upkeep"]

_DISCONNECTED: Final = State.DISCONNECTED


class Upkeep:
    """Asks for a restart where nothing less helps, ever less often, and a limited number of times."""

    __slots__ = ("_asked", "_config", "_good_since", "_next_at", "_wanted", "liveness")

    def __init__(self, config: IceConfig) -> None:
        self._config = config.upgrade
        self.liveness = Liveness(config.failover)
        """Of the path that carries data."""
        self._asked = 0
        self._next_at = 0.0
        self._good_since: float | None = None
        self._wanted = False

    def handle_timeout(self, carrying: Generation, now: float) -> Transmit | None:
        """Return what is to be sent to find out whether the path is alive."""
        return None if carrying.consent is None else self.liveness.handle_timeout(carrying.consent, now)

    def review(self, carrying: Generation | None, state: State, now: float) -> RestartWanted | None:
        """Return the event that asks for a restart, when it is time to ask.

        ``carrying`` is the generation that carries data, if there is one and no restart is under way.
        """
        reason = None if carrying is None else self._reason(carrying, state)
        self._wanted = reason is not None
        if reason is None:
            self._note_good(state, now)
            return None
        self._good_since = None
        if now < self._next_at or self._asked >= self._config.max_restarts:
            return None
        self._next_at = now + self._config.restart_after * 2**self._asked
        self._asked += 1
        return RestartWanted(reason)

    def _reason(self, carrying: Generation, state: State) -> RestartReason | None:
        if not self._config.enabled:
            return None
        moving = carrying.checking.moving
        if moving.wants_restart:
            return RestartReason.PATH_DEAD if state is _DISCONNECTED else RestartReason.BETTER_PATH
        if state is _DISCONNECTED and not carrying.checking.can_fail_over:
            return RestartReason.PATH_DEAD
        return None

    def _note_good(self, state: State, now: float) -> None:
        if state is _DISCONNECTED or not state.is_usable:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = now
        elif now >= self._good_since + self._config.restart_after:
            self._asked = 0

    def next_timeout(self, carrying: Generation) -> Deadline | None:
        """Return when something is due, or None."""
        if self._wanted and self._asked < self._config.max_restarts:
            return Deadline(self._next_at, "asking for an ICE restart")
        return None if carrying.consent is None else self.liveness.next_timeout(carrying.consent)
