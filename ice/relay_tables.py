"""What a session knows of its TURN servers: the tables of :class:`ice.relays.Relays`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ice.candidate import Base
from ice.config import IceConfig
from ice.relay import FetchCredentials, OpenLink, Problems, Relay, RelayNews, RelayStats
from ice.relayed_tcp import OpenPeerConnection, RelayedTcp
from stun.address import FiveTuple
from stun.lazy_queue import LazyQueue
from stun.machine import Release, Transmit
from stun.nothing import NO_ENTRIES, NO_ITEMS

__all__ = ["RelayEffect", "RelayTables"]

RelayEffect = OpenLink | FetchCredentials | Transmit | Release | OpenPeerConnection


def _nobody(relay: Relay, now: float) -> None:
    raise AssertionError("there is no relay")


def _nothing(effect: RelayEffect) -> None:
    raise AssertionError("there is no relay")


_NO_TCP: Final = RelayedTcp(_nobody, _nothing)
"""That of sessions without relays, of which it has nothing to do."""
_NO_PROBLEMS: Final = Problems(IceConfig())


class RelayTables:
    """The relays of one session, by number, path and base, and what waits for the agent and the driver.

    A session without servers, as most are, shares its empty tables with all others.
    """

    __slots__ = (
        "_relays",
        "by_base",
        "by_path",
        "effects",
        "in_use",
        "news",
        "problems",
        "received",
        "tcp",
        "unpermitted",
    )

    def __init__(self) -> None:
        self.in_use = False
        """Whether there has been a server."""
        self._relays: list[Relay] = NO_ITEMS
        self.effects: LazyQueue[RelayEffect] = NO_ITEMS
        """What the driver has to do."""
        self.by_path: dict[FiveTuple, Relay] = NO_ENTRIES
        """The open ways to servers."""
        self.by_base: dict[Base, Relay] = NO_ENTRIES
        """The relays by their relayed addresses."""
        self.news: LazyQueue[RelayNews] = NO_ITEMS
        """What the agent has to know."""
        self.received: LazyQueue[tuple[bytes, FiveTuple]] = NO_ITEMS
        """What peers sent to relayed addresses, the path from our base to them."""
        self.problems = _NO_PROBLEMS
        """Why relayed candidates are missing."""
        self.tcp = _NO_TCP
        """The connections by relays."""
        self.unpermitted = 0
        """Datagrams that were not sent because the permission had run out."""

    def _furnish(self, config: IceConfig, drain: Callable[[Relay, float], None]) -> None:
        """There is a server: have tables of its own, if there are none yet."""
        if not self.in_use:
            self.in_use = True
            self._relays, self.effects, self.news, self.received = [], LazyQueue(), LazyQueue(), LazyQueue()
            self.by_path, self.by_base, self.tcp = {}, {}, RelayedTcp(drain, self.effects.append)
            self.problems = Problems(config)

    @property
    def is_gathering(self) -> bool:
        """Whether relayed candidates may still come."""
        return any(relay.state.is_pending for relay in self._relays) if self._relays else False

    @property
    def is_idle(self) -> bool:
        """Whether no server has anything of ours."""
        return not self.by_path

    def stats(self) -> tuple[RelayStats, ...]:
        """Return a picture of every server."""
        return tuple(relay.stats() for relay in self._relays)
