"""The contract of every protocol core: a machine does no I/O and owns no clock.

A machine is fed bytes and the time, and is then drained: effects first (they are for the driver), events next (they are
for the application), and last the driver re-arms its one timer from :meth:`Machine.next_timeout`. Nothing that comes
from the network makes a machine raise; only a caller's misuse does.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from stun.address import FiveTuple
from stun.lazy_queue import LazyQueue
from stun.outputs import Deadline, Release, Transmit, earliest

__all__ = ["Deadline", "Machine", "Outbox", "Release", "StreamMachine", "Transmit", "earliest"]

EffectT = TypeVar("EffectT")
EventT = TypeVar("EventT")
EffectT_co = TypeVar("EffectT_co", covariant=True)
EventT_co = TypeVar("EventT_co", covariant=True)


class Machine(Protocol[EffectT_co, EventT_co]):
    """A protocol core that speaks datagrams. Byte-stream machines take ``receive_data(data, now)`` instead."""

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take one datagram that arrived on ``path``. Never raises, whatever ``data`` is."""

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due at ``now``; calling early is harmless."""

    def next_effect(self) -> EffectT_co | None:
        """Return the next thing the driver has to do, or None."""

    def next_event(self) -> EventT_co | None:
        """Return the next thing the application should know, or None."""

    def next_timeout(self) -> Deadline | None:
        """Return when ``handle_timeout`` is wanted, or None for never."""


class StreamMachine(Machine[EffectT_co, EventT_co], Protocol[EffectT_co, EventT_co]):
    """A machine that also speaks over connections, each of which is a path.

    A DTLS session is a connection too: it is opened and closed, but what arrives on it are datagrams.
    """

    def path_opened(self, path: FiveTuple, now: float) -> None:
        """A connection was opened or accepted."""

    def receive_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what arrived on a connection, cut anywhere; ``b""`` is the end of what the peer sends. Never raises."""

    def path_closed(self, path: FiveTuple, now: float) -> None:
        """A connection is gone; nothing more can be sent on it."""


class Outbox(Generic[EffectT, EventT]):
    """The two queues that a machine fills and its owner drains."""

    __slots__ = ("effects", "events")

    def __init__(self) -> None:
        self.effects: LazyQueue[EffectT] = LazyQueue()
        self.events: LazyQueue[EventT] = LazyQueue()

    def next_effect(self) -> EffectT | None:
        """Return and remove the oldest effect, or None."""
        return self.effects.popleft() if self.effects else None

    def next_event(self) -> EventT | None:
        """Return and remove the oldest event, or None."""
        return self.events.popleft() if self.events else None
