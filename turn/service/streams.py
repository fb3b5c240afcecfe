"""Clients over connections: how many, how long they may be silent, and how their streams are cut into messages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stun.address import FiveTuple
from stun.machine import Deadline
from stun.rate_limit import source_key
from turn.errors import TurnFramingError
from turn.framing import TurnStreamDecoder
from turn.service.quota import CountQuota
from turn.service.state import ServerState
from turn.timetable import Timetable

__all__ = ["StreamRoom"]


@dataclass(slots=True)
class _Stream:
    source: str
    decoder: TurnStreamDecoder


class StreamRoom:
    """The open connections of clients, TCP, TLS and DTLS alike; a DTLS association counts as a connection."""

    def __init__(self, state: ServerState, is_busy: Callable[[FiveTuple], bool]) -> None:
        """Args:
        state: of the server.
        is_busy: whether a connection may stay silent, because an allocation or a peer's connection needs it.
        """
        self._state = state
        self._is_busy = is_busy
        self._streams: dict[FiveTuple, _Stream] = {}
        self._sources: CountQuota[str] = CountQuota(state.config.streams.connections_per_source)
        self._timetable: Timetable[FiveTuple] = Timetable()

    def __len__(self) -> int:
        return len(self._streams)

    def opened(self, path: FiveTuple, now: float) -> None:
        """A client connected."""
        state, limits = self._state, self._state.config.streams
        source = source_key(path.remote.host)
        if len(self._streams) >= limits.connections or not self._sources.has_room(source):
            state.stats.refused_connections += 1
            state.release(path)
            return
        state.stats.connections += 1
        self._sources.add(source)
        self._streams[path] = _Stream(source, TurnStreamDecoder(limits.max_message, state.config.last_channel))
        self._timetable.set(path, now + limits.silent)

    def messages(self, data: bytes, path: FiveTuple, now: float) -> list[bytes]:
        """Take the next bytes of a stream and return the messages that are whole now."""
        stream = self._streams.get(path)
        if stream is None:
            return []
        try:
            found = stream.decoder.receive(data)
        except TurnFramingError:
            self.break_off(path)
            return []
        if stream.decoder.pending > self._state.config.streams.max_first_message and not self._is_busy(path):
            self.break_off(path)
            return []
        if found:
            self.touch(path, now)
        return found

    def touch(self, path: FiveTuple, now: float) -> None:
        """A whole message arrived on a connection."""
        if path in self._streams:
            self._timetable.set(path, now + self._state.config.streams.silent)

    def rest(self, path: FiveTuple) -> bytes:
        """Return the bytes of a message that is not whole yet."""
        stream = self._streams.get(path)
        return stream.decoder.take_pending() if stream is not None else b""

    def break_off(self, path: FiveTuple) -> None:
        """Close a connection for what came of it, or did not."""
        self._state.stats.broken_connections += 1
        self._state.release(path)

    def closed(self, path: FiveTuple) -> None:
        """A connection is gone."""
        stream = self._streams.pop(path, None)
        if stream is not None:
            self._sources.remove(stream.source)
            self._timetable.discard(path)

    def handle_timeout(self, now: float) -> None:
        """Close the connections that have been silent for too long."""
        for path in self._timetable.due(now):
            if self._is_busy(path):
                self._timetable.set(path, now + self._state.config.streams.silent)
            else:
                self.break_off(path)

    def next_timeout(self) -> Deadline | None:
        """When a connection may have been silent for too long."""
        at = self._timetable.next_at()
        return Deadline(at, "silent connection") if at is not None else None
