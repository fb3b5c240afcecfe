"""The connections of a session: opened for checks, taken from the peer, closed when nobody needs them (RFC 6544).

Every TCP pair has one logical path, known before there is a connection: from our base to the peer's candidate. An
active base has port 9 in it, whatever port the connection gets (section 4.5).
"""

from __future__ import annotations

import enum
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ice.candidate import Base, TcpType
from ice.local import LocalCandidates
from ice.pair import CandidatePair, PairState
from ice.tcp_config import TcpConfig
from stun.address import FiveTuple, TransportProtocol
from stun.lazy_queue import LazyQueue
from stun.machine import Deadline, Release
from stun.nothing import NO_ENTRIES, NO_ITEMS

if TYPE_CHECKING:
    from ice.all_checks import AllChecks

__all__ = ["Connect", "ConnectError", "Framing", "TcpPaths", "TcpStats"]


class Framing(enum.Enum):
    """How packets lie in the bytes of a connection."""

    ICE = "RFC 4571"
    """A length of 16 bits before each packet: between the two agents (RFC 6544 section 7.1)."""
    STUN = "RFC 8489"
    """By the lengths in STUN headers: with a STUN server."""


class ConnectError(enum.StrEnum):
    """Why a connection was not opened."""

    REFUSED = "refused"
    """RST: nobody listens there, or a NAT does not let us in (yet)."""
    UNREACHABLE = "unreachable"
    """ICMP, or no route."""
    TIMED_OUT = "timed out"
    IN_USE = "address in use"
    """The same five-tuple exists: the peer's connection has just arrived, or an old one is not forgotten yet."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Connect:
    """Effect: open the connection of ``path``; answer with ``path_opened`` or ``path_failed``, never from within.

    From an active base (port 9) any local port will do; from others it is the port that is listened on, too.
    """

    path: FiveTuple
    framing: Framing = Framing.ICE
    ttl: int | None = None
    """The IP time to live of the first SYN, or None for the system's; put back once the connection is open."""


class _Phase(enum.Enum):
    WANTED = enum.auto()
    """Waits for the head start of UDP, or for room."""
    OPENING = enum.auto()
    PAUSED = enum.auto()
    """The last attempt failed, another one follows."""
    OPEN = enum.auto()


@dataclass(slots=True, eq=False)
class _Connection:
    path: FiveTuple
    phase: _Phase
    since: float
    """When it was asked for, or accepted."""
    is_incoming: bool = False
    is_authentic: bool = False
    """Whether a check of the peer has authenticated on it."""
    attempts: int = 0
    at: float | None = None
    """When the phase ends by itself."""


@dataclass(frozen=True, slots=True)
class TcpStats:
    """Counts of a session's connections; all but ``open`` only grow."""

    open: int = 0
    attempts: int = 0
    """Connects that were asked for, those of gathering excluded."""
    accepted: int = 0
    refused: int = 0
    """Accepted connections that were closed at once: too many."""
    unauthenticated: int = 0
    """Accepted connections that were closed because no check authenticated in time."""
    lost: int = 0
    """Open connections that the peer or the network closed."""


class TcpPaths:
    """The TCP connections of one session.

    Its owner calls :meth:`run` after each input and drains :attr:`effects`.
    """

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
        self.by_path: dict[FiveTuple, _Connection] = NO_ENTRIES
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

    # -- what checking asks --

    def reach(self, pair: CandidatePair, now: float) -> bool:
        """Whether a check can be sent on ``pair`` now; if not, its connection is being opened from now on.

        :meth:`AllChecks.connected` is called when it is, :meth:`AllChecks.unreachable` when it cannot be. A pair whose
        connection only the peer can open is not opened.
        """
        connection = self.by_path.get(pair.path)
        if connection is not None and connection.phase is _Phase.OPEN:
            return True
        if connection is None and not pair.is_opened_by_peer:
            self._note(_Connection(pair.path, _Phase.WANTED, now))
        return False

    def _note(self, connection: _Connection) -> None:
        if self.by_path is NO_ENTRIES:
            self.by_path = {}
        self.by_path[connection.path] = connection

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
        return connection is not None and connection.phase is _Phase.OPEN

    # -- what the driver tells --

    def opened(self, path: FiveTuple, checking: AllChecks, now: float) -> None:
        """A connection was opened, or accepted when nobody has asked for it."""
        connection = self.by_path.get(path)
        if connection is None:
            self._accept(path, now)
            return
        if connection.phase is _Phase.OPEN:
            return
        connection.phase, connection.at, connection.attempts = _Phase.OPEN, None, 0
        pair = checking.checklist.find(path)
        if pair is None:
            self._release(connection)
        elif pair.state in (PairState.IN_PROGRESS, PairState.SUCCEEDED):
            checking.connected(pair, now)

    def _accept(self, path: FiveTuple, now: float) -> None:
        waiting = sum(other.is_incoming and not other.is_authentic for other in self.by_path.values())
        is_full = len(self.by_path) >= self._config.max_connections + self._config.max_incoming
        if self._local.tcp_type(Base.of(path)) in (None, TcpType.ACTIVE) or is_full:
            waiting = self._config.max_incoming
        if waiting >= self._config.max_incoming:
            self._refused += 1
            self._ask(Release(path))
            return
        self._accepted += 1
        deadline = now + self._config.incoming_timeout
        self._note(_Connection(path, _Phase.OPEN, now, is_incoming=True, at=deadline))

    def failed(self, path: FiveTuple, error: ConnectError, checking: AllChecks, now: float) -> None:
        """A connection was not opened."""
        connection = self.by_path.get(path)
        if connection is None or connection.phase is not _Phase.OPENING:
            return
        pause = self._pause(connection, error, now)
        if pause is None:
            del self.by_path[path]
            self._tell(path, checking)
        else:
            connection.phase, connection.at = _Phase.PAUSED, now + pause

    def _pause(self, connection: _Connection, error: ConnectError, now: float) -> float | None:
        """Return how long to wait before the next attempt, or None when there is none."""
        config = self._config
        if connection.path == self._selected:
            return min(config.redial_first * 2.0 ** (connection.attempts - 1), config.redial_most)
        if self._tcp_type(connection.path) is not TcpType.SIMULTANEOUS_OPEN:
            return None
        if now >= connection.since + config.simultaneous_window or error is ConnectError.OTHER:
            return None
        return self._rng.uniform(config.retry_least, config.retry_most)

    def closed(self, path: FiveTuple, checking: AllChecks, now: float) -> None:
        """An open connection is gone."""
        connection = self.by_path.pop(path, None)
        if connection is None:
            return
        self._lost += 1
        if path != self._selected:
            self._tell(path, checking)
        elif self._tcp_type(path) is not TcpType.PASSIVE:
            # Section 11.1: who opened it opens it again, and the other waits for that.
            self._note(_Connection(path, _Phase.WANTED, now))

    def _tell(self, path: FiveTuple, checking: AllChecks) -> None:
        if (pair := checking.checklist.find(path)) is not None:
            checking.unreachable(pair)

    def _tcp_type(self, path: FiveTuple) -> TcpType | None:
        return self._local.tcp_type(Base.of(path))

    # -- what is due --

    def run(self, checking: AllChecks, now: float) -> None:
        """Open what is wanted, and close what has had its time or is of no use any more."""
        self._follow(checking, now)
        for connection in list(self.by_path.values()):
            if connection.at is not None and now >= connection.at:
                self._due(connection, checking, now)
        if self._unused_at is not None and now >= self._unused_at:
            self._unused_at, self._is_settled = None, True
        for connection in list(self.by_path.values()):
            if self._is_useless(connection, checking):
                self._release(connection)
                self._tell(connection.path, checking)
        self._dial(checking, now)
        if not self.by_path:
            self.by_path = NO_ENTRIES

    def _follow(self, checking: AllChecks, now: float) -> None:
        """Take note of the selected pair, and let it move on to the connection that the peer opened instead."""
        if checking.selected is not None and checking.selected.path.protocol.is_stream:
            successor = self._successor(checking.selected, checking)
            if successor is not None:
                checking.move_selection(successor)
        path = None if checking.selected is None else checking.selected.path
        if path != self._selected:
            self._selected = path
            self._unused_at = None if path is None else now + self._config.unused_grace
            self._is_settled = False

    def _successor(self, selected: CandidatePair, checking: AllChecks) -> CandidatePair | None:
        valid = checking.checklist.valid
        again = next((pair for pair in valid if pair.path == selected.path), None)
        if again is not None and again is not selected:
            return again  # The same pair, opened again from another port.
        candidates = (pair for pair in valid if self.succeeds(pair.path, selected) and self.is_open(pair.path))
        return next(candidates, None)

    def _due(self, connection: _Connection, checking: AllChecks, now: float) -> None:
        connection.at = None
        if connection.phase is _Phase.PAUSED:
            connection.phase = _Phase.WANTED
        elif connection.phase is _Phase.OPENING:
            self._ask(Release(connection.path))
            self.failed(connection.path, ConnectError.TIMED_OUT, checking, now)
        elif not connection.is_authentic and not _has_answered(checking, connection.path):
            self._unauthenticated += 1
            self._release(connection)
            self._tell(connection.path, checking)

    def _is_useless(self, connection: _Connection, checking: AllChecks) -> bool:
        if connection.path == self._selected or connection.path not in self.by_path:
            return False
        pair = checking.checklist.find(connection.path)
        if connection.is_incoming and pair is None:
            # No check has authenticated yet, or the peer's description is missing, or the pair is not wanted.
            return connection.is_authentic and connection.at is None
        if pair is None or pair.state is PairState.FAILED:
            return True
        return self._is_settled and not pair.state.is_open

    def _release(self, connection: _Connection) -> None:
        self.by_path.pop(connection.path, None)
        if connection.phase in (_Phase.OPENING, _Phase.OPEN):
            self._ask(Release(connection.path))

    def _dial(self, checking: AllChecks, now: float) -> None:
        self._held_until = None
        wanted = [connection for connection in self.by_path.values() if connection.phase is _Phase.WANTED]
        if not wanted:
            return
        if any(pair.path.protocol is TransportProtocol.UDP for pair in checking.checklist):
            held = [each.since + self._config.head_start for each in wanted if not self._may_start(each, now)]
            self._held_until = min(held, default=None)
            wanted = [connection for connection in wanted if self._may_start(connection, now)]
        used = [other for other in self.by_path.values() if other.phase in (_Phase.OPENING, _Phase.OPEN)]
        opening = Counter(other.path.remote.host for other in used if other.phase is _Phase.OPENING)
        room = self._config.max_connections - sum(not other.is_incoming for other in used)
        for connection in wanted:
            host = connection.path.remote.host
            if room > 0 and opening[host] < self._config.max_connecting:
                opening[host] += 1
                room -= 1
                self._open(connection, now)

    def _may_start(self, connection: _Connection, now: float) -> bool:
        is_first = connection.attempts == 0 and connection.path != self._selected
        return not is_first or now >= connection.since + self._config.head_start

    def _open(self, connection: _Connection, now: float) -> None:
        config, path = self._config, connection.path
        is_opener = connection.attempts % 2 == 0 and self._tcp_type(path) is TcpType.SIMULTANEOUS_OPEN
        ttl = config.opener_ttl if is_opener else None
        connection.attempts += 1
        connection.phase = _Phase.OPENING
        connection.at = now + (config.open_timeout if ttl is None else config.opener_timeout)
        self._attempts += 1
        self._ask(Connect(path, ttl=ttl))

    # -- the end --

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self.by_path.values()):
            self._release(connection)
        self._selected = self._unused_at = self._held_until = None

    def stats(self) -> TcpStats:
        """Return the counts of now."""
        return TcpStats(
            open=sum(connection.phase is _Phase.OPEN for connection in self.by_path.values()),
            attempts=self._attempts,
            accepted=self._accepted,
            refused=self._refused,
            unauthenticated=self._unauthenticated,
            lost=self._lost,
        )

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`run` is wanted, or None."""
        at = min(self._times(), default=None) if self.by_path else None
        return None if at is None else Deadline(at, "TCP connections (RFC 6544)")

    def _times(self) -> Iterator[float]:
        for connection in self.by_path.values():
            if connection.at is not None:
                yield connection.at
        if self._held_until is not None:
            yield self._held_until
        if self._unused_at is not None:
            yield self._unused_at


def _has_answered(checking: AllChecks, path: FiveTuple) -> bool:
    pair = checking.checklist.find(path)
    return pair is not None and pair.state is PairState.SUCCEEDED
