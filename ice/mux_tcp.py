"""One TCP port for many agents: strangers at the door, until their first frame says whom they want.

A connection begins with a check (RFC 6544 section 7.1), framed as of RFC 4571, whose USERNAME says which agent it is
for. Until that is there it has no owner, and costs a place in a bounded table for a short time. What it has sent is
looked at and left where it is, for the session to read.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from ice.mux import MuxRoutes, Seat
from ice.mux_stats import Drop
from ice.mux_wire import Kind, kind_of, receiving_ufrag
from stun.address import FiveTuple
from stun.demux import is_stun
from stun.machine import Deadline
from stun.rate_limit import source_key

__all__ = ["Strangers"]

_LENGTH: Final = 2


class _Stranger:
    """A connection that has not said whom it wants."""

    __slots__ = ("at", "source")

    def __init__(self, source: str, at: float) -> None:
        self.source = source
        self.at = at


class Strangers:
    """The connections that wait at the door. What becomes of one is the return value of each input."""

    def __init__(self, routes: MuxRoutes) -> None:
        self._routes = routes
        self._config = routes.config
        self._waiting: dict[FiveTuple, _Stranger] = {}
        self._per_source: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def opened(self, path: FiveTuple, now: float) -> bool:
        """A connection was accepted; False when it has to be closed at once, because there are too many."""
        source = source_key(path.remote.host)
        is_full = len(self._waiting) >= self._config.max_strangers
        if is_full or self._per_source[source] >= self._config.max_strangers_per_source:
            self._drop(Drop.CONNECTION_LIMIT)
            if not self._per_source[source]:
                del self._per_source[source]
            return False
        self._waiting[path] = _Stranger(source, now + self._config.stranger_timeout)
        self._per_source[source] += 1
        return True

    @property
    def enough(self) -> int:
        """The most bytes of a connection that matter here."""
        return _LENGTH + self._config.max_check

    def receive(self, data: bytes, path: FiveTuple) -> Seat | Drop | None:
        """Say whose a connection is by all that has arrived on it: a session's, nobody's (and why), or not known yet.

        Unless the answer is None the connection is no stranger any more.
        """
        if path not in self._waiting:
            return None
        verdict = self._judge(data)
        if verdict is not None:
            self.closed(path)
        if isinstance(verdict, Drop):
            self._drop(verdict)
        return verdict

    def _judge(self, data: bytes) -> Seat | Drop | None:
        if len(data) < _LENGTH:
            return None
        length = int.from_bytes(data[:_LENGTH], "big")
        if not 0 < length <= self._config.max_check:
            return Drop.CONNECTION_NOT_ICE
        packet = data[_LENGTH : _LENGTH + length]
        if len(packet) < length:
            return None
        if not is_stun(packet) or kind_of(packet) is not Kind.REQUEST:
            return Drop.CONNECTION_NOT_ICE
        ufrag = receiving_ufrag(packet, self._config.max_attributes)
        if ufrag is None:
            return Drop.CONNECTION_NOT_ICE
        return self._routes.seat_of(ufrag) or Drop.CONNECTION_UFRAG

    def closed(self, path: FiveTuple) -> None:
        """A connection is gone, or somebody's; harmless when it is unknown."""
        stranger = self._waiting.pop(path, None)
        if stranger is not None:
            self._per_source[stranger.source] -= 1
            if not self._per_source[stranger.source]:
                del self._per_source[stranger.source]

    def handle_timeout(self, now: float) -> list[FiveTuple]:
        """Return the connections that have had their time and have to be closed."""
        late = []
        for path, stranger in self._waiting.items():
            if stranger.at > now:
                break  # All wait equally long, so they are in order.
            late.append(path)
        for path in late:
            self._drop(Drop.CONNECTION_TIMEOUT)
            self.closed(path)
        return late

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None."""
        first = next(iter(self._waiting.values()), None)
        return None if first is None else Deadline(first.at, "connections that have not begun with a check")

    def _drop(self, reason: Drop) -> None:
        self._routes.dropped[reason] += 1
