"""The connections of a session: opened for checks, taken from the peer, closed when nobody needs them (RFC 6544)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ice.candidate import Base, TcpType
from ice.pair import CandidatePair, PairState
from ice.tcp_connection import Connect, ConnectError, Connection, Framing, Phase
from ice.tcp_opening import TcpOpening
from stun.address import FiveTuple
from stun.machine import Deadline, Release
from stun.nothing import NO_ENTRIES

if TYPE_CHECKING:
    from ice.all_checks import AllChecks

__all__ = ["Connect", "ConnectError", "Framing", "TcpPaths", "TcpStats"]


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


class TcpPaths(TcpOpening):
    """The TCP connections of one session.

    Its owner calls :meth:`run` after each input and drains :attr:`effects`.
    """

    __slots__ = ()

    # -- what the driver tells --

    def opened(self, path: FiveTuple, checking: AllChecks, now: float) -> None:
        """A connection was opened, or accepted when nobody has asked for it."""
        connection = self.by_path.get(path)
        if connection is None:
            self._accept(path, now)
            return
        if connection.phase is Phase.OPEN:
            return
        connection.phase, connection.at, connection.attempts = Phase.OPEN, None, 0
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
        self._note(Connection(path, Phase.OPEN, now, is_incoming=True, at=deadline))

    def closed(self, path: FiveTuple, checking: AllChecks, now: float) -> None:
        """An open connection is gone."""
        connection = self.by_path.pop(path, None)
        if connection is None:
            return
        self._lost += 1
        if path != self._selected:
            self._tell(path, checking, now)
        elif self._tcp_type(path) is not TcpType.PASSIVE:
            # Section 11.1: who opened it opens it again, and the other waits for that.
            self._note(Connection(path, Phase.WANTED, now))

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
                self._tell(connection.path, checking, now)
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

    def _due(self, connection: Connection, checking: AllChecks, now: float) -> None:
        connection.at = None
        if connection.phase is Phase.PAUSED:
            connection.phase = Phase.WANTED
        elif connection.phase is Phase.OPENING:
            self._ask(Release(connection.path))
            self.failed(connection.path, ConnectError.TIMED_OUT, checking, now)
        elif not connection.is_authentic and not _has_answered(checking, connection.path):
            self._unauthenticated += 1
            self._release(connection)
            self._tell(connection.path, checking, now)

    def _is_useless(self, connection: Connection, checking: AllChecks) -> bool:
        if connection.path == self._selected or connection.path not in self.by_path:
            return False
        pair = checking.checklist.find(connection.path)
        if connection.is_incoming and pair is None:
            # No check has authenticated yet, or the peer's description is missing, or the pair is not wanted.
            return connection.is_authentic and connection.at is None
        if pair is None or pair.state is PairState.FAILED:
            return True
        return self._is_settled and not pair.state.is_open

    # -- the end --

    def close(self) -> None:
        """Close every connection."""
        for connection in list(self.by_path.values()):
            self._release(connection)
        self._selected = self._unused_at = self._held_until = None

    def stats(self) -> TcpStats:
        """Return the counts of now."""
        return TcpStats(
            open=sum(connection.phase is Phase.OPEN for connection in self.by_path.values()),
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
