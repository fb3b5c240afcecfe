"""When connections are opened, how many at once, and when again (RFC 6544 sections 7.1, 11.1 and 12)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ice.candidate import TcpType
from ice.tcp_connection import Connect, ConnectError, Connection, Phase
from ice.tcp_table import TcpTable
from stun.address import FiveTuple, TransportProtocol

if TYPE_CHECKING:
    from ice.all_checks import AllChecks

__all__ = ["TcpOpening"]


class TcpOpening(TcpTable):
    """The table, and the opening of what is wanted in it.

    UDP gets a head start; so many may be opened at once, to one address and in all. A simultaneous open is tried again
    and again for a while, every other time with a first SYN of few hops; a lost connection of the selected pair as
    long as the pair stays selected.
    """

    __slots__ = ()

    def _dial(self, checking: AllChecks, now: float) -> None:
        """Open as many of the wanted connections as there is room for, and whose turn it is."""
        self._held_until = None
        wanted = [connection for connection in self.by_path.values() if connection.phase is Phase.WANTED]
        if not wanted:
            return
        if any(pair.path.protocol is TransportProtocol.UDP for pair in checking.checklist):
            held = [each.since + self._config.head_start for each in wanted if not self._may_start(each, now)]
            self._held_until = min(held, default=None)
            wanted = [connection for connection in wanted if self._may_start(connection, now)]
        used = [other for other in self.by_path.values() if other.phase in (Phase.OPENING, Phase.OPEN)]
        opening = Counter(other.path.remote.host for other in used if other.phase is Phase.OPENING)
        room = self._config.max_connections - sum(not other.is_incoming for other in used)
        for connection in wanted:
            host = connection.path.remote.host
            if room > 0 and opening[host] < self._config.max_connecting:
                opening[host] += 1
                room -= 1
                self._open(connection, now)

    def _may_start(self, connection: Connection, now: float) -> bool:
        is_first = connection.attempts == 0 and connection.path != self._selected
        return not is_first or now >= connection.since + self._config.head_start

    def _open(self, connection: Connection, now: float) -> None:
        config, path = self._config, connection.path
        is_opener = connection.attempts % 2 == 0 and self._tcp_type(path) is TcpType.SIMULTANEOUS_OPEN
        ttl = config.opener_ttl if is_opener else None
        connection.attempts += 1
        connection.phase = Phase.OPENING
        connection.at = now + (config.open_timeout if ttl is None else config.opener_timeout)
        self._attempts += 1
        self._ask(Connect(path, ttl=ttl))

    def failed(self, path: FiveTuple, error: ConnectError, checking: AllChecks, now: float) -> None:
        """A connection was not opened."""
        connection = self.by_path.get(path)
        if connection is None or connection.phase is not Phase.OPENING:
            return
        pause = self._pause(connection, error, now)
        if pause is None:
            del self.by_path[path]
            self._tell(path, checking, now)
        else:
            connection.phase, connection.at = Phase.PAUSED, now + pause

    def _pause(self, connection: Connection, error: ConnectError, now: float) -> float | None:
        """Return how long to wait before the next attempt, or None when there is none."""
        config = self._config
        if connection.path == self._selected:
            return min(config.redial_first * 2.0 ** (connection.attempts - 1), config.redial_most)
        if self._tcp_type(connection.path) is not TcpType.SIMULTANEOUS_OPEN:
            return None
        if now >= connection.since + config.simultaneous_window or error is ConnectError.OTHER:
            return None
        return self._rng.uniform(config.retry_least, config.retry_most)

    def _tell(self, path: FiveTuple, checking: AllChecks, now: float) -> None:
        if (pair := checking.checklist.find(path)) is not None:
            checking.unreachable(pair, now)
