"""Keeping the NAT bindings of server-reflexive candidates alive while ICE runs (RFC 8445 sections 5.1.1.4 and 11).

The selected pair needs no keepalive of its own: its consent checks are one (RFC 7675 section 1).
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from ice.candidate import Base
from stun.address import FiveTuple
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method
from stun.nothing import NO_ENTRIES
from stun.transaction import new_transaction_id

__all__ = ["BindingKeepalive"]


class BindingKeepalive:
    """Sends a Binding request to a server every interval, once each; the answer tells nothing new."""

    __slots__ = ("_due", "_interval", "_latest", "_rng")

    def __init__(self, interval: float, rng: random.Random) -> None:
        self._interval = interval
        self._rng = rng
        self._due: dict[FiveTuple, float] = NO_ENTRIES
        self._latest: dict[FiveTuple, bytes] = NO_ENTRIES

    def __contains__(self, transaction_id: object) -> bool:
        return transaction_id in self._latest.values()

    def add(self, path: FiveTuple, now: float) -> None:
        """Keep the binding of ``path`` alive; it was used at ``now``."""
        if self._due is NO_ENTRIES:
            self._due, self._latest = {}, {}
        self._due[path] = now + self._interval

    def answered(self, transaction_id: bytes) -> None:
        """Forget a request whose answer came."""
        self._latest = {path: known for path, known in self._latest.items() if known != transaction_id}

    def drop_base(self, base: Base) -> None:
        """Let the bindings of a base go that is no more."""
        for path in [path for path in self._due if Base.of(path) == base]:
            del self._due[path]
            self._latest.pop(path, None)

    def clear(self) -> None:
        """Let all bindings go."""
        self._due.clear()
        self._latest.clear()

    def handle_timeout(self, now: float) -> Iterator[Transmit]:
        """Yield the requests that are due."""
        for path, at in self._due.items():
            if now >= at:
                self._due[path] = now + self._interval
                self._latest[path] = new_transaction_id(self._rng)
                request = Message(Method.BINDING, MessageClass.REQUEST, self._latest[path])
                yield Transmit(request.serialize(), path)

    def next_timeout(self) -> float | None:
        """Return when the next request is due, or None."""
        return min(self._due.values(), default=None)
