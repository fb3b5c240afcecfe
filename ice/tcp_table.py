"""The TCP connections of a session by their paths: which there are, which are wanted (RFC 6544 sections 4.5 and 11.1).

Every TCP pair has one logical path, known before there is a connection: from our base to the peer's candidate. An
active base has port 9 in it, whatever port the connection gets (section 4.5).
"""

from __future__ import annotations

import random

from ice.candidate import Base, TcpType
from ice.local import LocalCandidates
from ice.pair import CandidatePair
from ice.tcp_config import TcpConfig
from ice.tcp_connection import Connect, Connection, Phase
from stun.address import FiveTuple
from stun.lazy_queue import LazyQueue
from stun.machine import Release
from stun.nothing import NO_ENTRIES, NO_ITEMS

__all__ = ["TcpTable"]


class TcpTable:
    """The table of a session, what checking asks of it, and what the driver is asked for."""

    __slots__ = (
        "_accepted",
        "_attempts",
        "_config",
        "_held_until",
        "_is_settled",
        "_local",
        "_lost",
        "_refused",
        "_rng",
        "_selected",
        "_unauthenticated",
        "_unused_at",
        "by_path",
        "effects",
    )

    def __init__(self, config: TcpConfig, local: LocalCandidates, rng: random.Random) -> None:
        self._config = config
        self._local = local
        self._rng = rng
        self.by_path: dict[FiveTuple, Connection] = NO_ENTRIES
        """The connections that there are, or are to be: without any, nothing is ever due."""
        self._selected: FiveTuple | None = None
        self._unused_at: float | None = None
        self._is_settled = False
        self._held_until: float | None = None
        self._attempts = self._accepted = self._refused = self._unauthenticated = self._lost = 0
        self.effects: LazyQueue[Connect | Release] = NO_ITEMS
        """What the driver has to do."""

    def _ask(self, effect: Connect | Release) -> None:
        if self.effects is NO_ITEMS:
            self.effects = LazyQueue()
        self.effects.append(effect)

    def _note(self, connection: Connection) -> None:
        if self.by_path is NO_ENTRIES:
            self.by_path = {}
        self.by_path[connection.path] = connection

    def _release(self, connection: Connection) -> None:
        self.by_path.pop(connection.path, None)
        if connection.phase in (Phase.OPENING, Phase.OPEN):
            self._ask(Release(connection.path))

    def _tcp_type(self, path: FiveTuple) -> TcpType | None:
        return self._local.tcp_type(Base.of(path))

    # -- what checking asks --

    def reach(self, pair: CandidatePair, now: float) -> bool:
        """Whether a check can be sent on ``pair`` now; if not, its connection is being opened from now on.

        :meth:`AllChecks.connected` is called when it is, :meth:`AllChecks.unreachable` when it cannot be. A pair whose
        connection only the peer can open is not opened.
        """
        connection = self.by_path.get(pair.path)
        if connection is not None and connection.phase is Phase.OPEN:
            return True
        if connection is None and not pair.is_opened_by_peer:
            self._note(Connection(pair.path, Phase.WANTED, now))
        return False

    def authenticated(self, path: FiveTuple) -> None:
        """A check of the peer has authenticated on a connection."""
        if (connection := self.by_path.get(path)) is not None:
            connection.is_authentic = True

    def succeeds(self, path: FiveTuple, selected: CandidatePair | None) -> bool:
        """Whether ``path`` is a connection that the peer opened in place of the selected one, lost (section 11.1)."""
        return (
            selected is not None
            and selected.is_opened_by_peer
            and Base.of(path) == Base.of(selected.path)
            and path != selected.path
            and not self.is_open(selected.path)
        )

    def is_open(self, path: FiveTuple) -> bool:
        """Whether packets can be sent on ``path``."""
        connection = self.by_path.get(path)
        return connection is not None and connection.phase is Phase.OPEN
