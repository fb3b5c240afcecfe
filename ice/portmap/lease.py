"""One port that is mapped, or is to be: in which dialect, at which address, until when, and when to ask again."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass, field

from ice.candidate import Base
from ice.portmap.protocol import PortMapperProtocol
from stun.address import TransportAddress

__all__ = ["Lease", "LeaseState"]

_LEAST_GAP = 4.0
"""Seconds between two renewals (RFC 6887 section 11.2.1)."""


class LeaseState(enum.Enum):
    """What is known of a mapping."""

    ASKING = "asking"
    """One or more dialects are being tried."""
    HELD = "held"
    """There is an outer address."""
    REFUSED = "refused"
    """No dialect gave one; it is tried again when the gateway said so, if it did."""
    ENDING = "ending"
    """The gateway is told that it is not needed any more."""


@dataclass(slots=True)
class Lease:
    """The mapping of one base."""

    base: Base
    nonce: bytes
    """PCP's, for the whole life of the mapping (RFC 6887 section 11.2)."""
    state: LeaseState = LeaseState.ASKING
    dialect: PortMapperProtocol | None = None
    """The one in which it is held."""
    external: TransportAddress | None = None
    """The outer address, kept after a loss to be suggested again."""
    planned: dict[PortMapperProtocol, float] = field(default_factory=dict)
    """When each dialect that was not tried yet will be."""
    trying: set[PortMapperProtocol] = field(default_factory=set)
    """Those that are asked now."""
    mapped_by: set[PortMapperProtocol] = field(default_factory=set)
    """All in which the gateway has, or may have, made a mapping: to be deleted at the end."""
    expires_at: float | None = None
    """None for a mapping without end (UPnP)."""
    next_at: float | None = None
    """When to renew, or to try again."""
    recreates: bool = False
    """Whether the next renewal is to make the mapping again, because the gateway has lost it."""
    reason: str = ""
    """Why there is no mapping, for people."""
    _granted_at: float = 0.0
    _lifetime: float = 0.0
    _renewals: int = 0

    def plan(self, dialects: list[PortMapperProtocol], head_start: float, now: float) -> None:
        """Try these, each a while after the one before it."""
        self.state = LeaseState.ASKING
        self.planned = {dialect: now + head_start * index for index, dialect in enumerate(dialects)}
        self.trying.clear()
        self.next_at = None

    def due_dialects(self, now: float) -> list[PortMapperProtocol]:
        """Return the dialects that begin now; they count as tried."""
        begins = [dialect for dialect, at in self.planned.items() if at <= now]
        for dialect in begins:
            del self.planned[dialect]
            self.trying.add(dialect)
            self.mapped_by.add(dialect)
        return begins

    def failed(self, dialect: PortMapperProtocol, reason: str, retry_at: float | None, now: float) -> bool:
        """A dialect does not work; whether it was the last one. The next is tried at once."""
        self.trying.discard(dialect)
        self.planned.pop(dialect, None)
        self.mapped_by.discard(dialect)
        self.reason = f"{dialect.value}: {reason}"
        if retry_at is not None:
            self.next_at = retry_at if self.next_at is None else min(self.next_at, retry_at)
        if self.planned:
            soonest = min(self.planned, key=self.planned.__getitem__)
            self.planned[soonest] = min(self.planned[soonest], now)
            return False
        if self.trying:
            return False
        self.state = LeaseState.REFUSED
        return True

    def granted(
        self, dialect: PortMapperProtocol, external: TransportAddress, lifetime: float, now: float, rng: random.Random
    ) -> None:
        """The gateway maps, for ``lifetime`` seconds, or without end for 0."""
        self.state, self.dialect, self.external = LeaseState.HELD, dialect, external
        self.mapped_by.add(dialect)
        self.planned.clear()
        self.trying.clear()
        self._granted_at, self._lifetime, self._renewals = now, lifetime, 0
        self.expires_at = now + lifetime if lifetime else None
        self.next_at = None
        self.reason = ""
        if lifetime:
            self.plan_renewal(now, rng)

    def plan_renewal(self, now: float, rng: random.Random) -> None:
        """Plan the next renewal: at 1/2 to 5/8 of the lifetime, then from 3/4, 7/8, ... on (RFC 6887 11.2.1)."""
        self._renewals += 1
        part = 1 - 0.5**self._renewals + rng.random() * 0.5 ** (self._renewals + 2)
        at = max(self._granted_at + self._lifetime * part, now + _LEAST_GAP)
        assert self.expires_at is not None
        self.next_at = min(at, self.expires_at)

    def next_timeout(self) -> float | None:
        """Return when there is something to do, or None."""
        times = [*self.planned.values()]
        if self.next_at is not None and self.state in (LeaseState.HELD, LeaseState.REFUSED):
            times.append(self.next_at)
        return min(times, default=None)
