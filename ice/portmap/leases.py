"""All the ports that one gateway maps for us, and what is told about them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from ice.candidate import Base
from ice.portmap.config import PortmapConfig
from ice.portmap.events import MapperEvent, PortMapped, PortMappingFailed, PortUnmapped
from ice.portmap.lease import Lease, LeaseState
from ice.portmap.protocol import PortMapperProtocol
from ice.portmap.results import LONG_ERROR, is_believable
from stun.address import TransportAddress
from stun.lazy_queue import LazyQueue

__all__ = ["Leases"]

_RECREATE_WITHIN = 5.0
"""Seconds: mappings are made again after a random part of this (RFC 6886 section 3.6, RFC 6887 section 8.5)."""


class Leases:
    """The table of mappings. What happens to them goes to ``events``."""

    def __init__(self, config: PortmapConfig, gateway: str, rng: random.Random, events: LazyQueue[MapperEvent]) -> None:
        self._config = config
        self._gateway = gateway
        self._rng = rng
        self._events = events
        self._by_base: dict[Base, Lease] = {}

    def __len__(self) -> int:
        return len(self._by_base)

    def __iter__(self) -> Iterator[Lease]:
        return iter(list(self._by_base.values()))

    def __contains__(self, base: object) -> bool:
        return base in self._by_base

    def get(self, base: Base) -> Lease | None:
        """Return the mapping of a base, or None."""
        return self._by_base.get(base)

    def add(self, lease: Lease) -> None:
        """Begin one."""
        self._by_base[lease.base] = lease

    def remove(self, lease: Lease) -> None:
        """The gateway has nothing of it any more."""
        if self._by_base.get(lease.base) is lease:
            del self._by_base[lease.base]

    # -- what becomes of them --

    def granted(
        self, lease: Lease, dialect: PortMapperProtocol, external: TransportAddress, lifetime: float, now: float
    ) -> bool:
        """The gateway says that it maps; False when that cannot be true."""
        if not is_believable(external, lease.base):
            self.failed(lease, dialect, f"it maps to {external}, which cannot be", now + LONG_ERROR, now)
            lease.mapped_by.add(dialect)
            return False
        held = lease.external if lease.state is LeaseState.HELD else None
        lease.granted(dialect, external, min(lifetime, self._config.max_lifetime), now, self._rng)
        if held != external:
            if held is not None:
                self._events.append(PortUnmapped(lease.base, held, "the gateway has another address or port now"))
            self._events.append(PortMapped(lease.base, external, self._gateway, dialect))
        return True

    def failed(
        self, lease: Lease, dialect: PortMapperProtocol, reason: str, retry_at: float | None, now: float
    ) -> None:
        """A dialect does not work for it."""
        if lease.state is LeaseState.HELD:
            if lease.dialect is dialect:  # A renewal was refused: what is held may still live to its end.
                self.renew_later(lease, now)
        elif lease.failed(dialect, reason, retry_at, now):
            self._events.append(PortMappingFailed(lease.base, lease.reason))

    def renew_later(self, lease: Lease, now: float) -> None:
        """Plan the next renewal of one that ends."""
        if lease.expires_at is not None:
            lease.plan_renewal(now, self._rng)

    def lose(self, lease: Lease, reason: str) -> None:
        """It is held no longer."""
        if lease.state is LeaseState.HELD and lease.external is not None:
            self._events.append(PortUnmapped(lease.base, lease.external, reason))

    def recreate(self, dialect: PortMapperProtocol, known: Lease | None, now: float) -> None:
        """The gateway began anew: all but ``known`` is asked for again, not at once and not all together."""
        for lease in self:
            if lease is not known and lease.state is LeaseState.HELD and lease.dialect is dialect:
                lease.recreates = True
                soon = now + self._rng.uniform(0.0, _RECREATE_WITHIN)
                lease.next_at = soon if lease.next_at is None else min(lease.next_at, soon)

    def move(self, dialect: PortMapperProtocol, host: str) -> None:
        """The gateway's outer address is ``host`` now: so are those of all that it maps."""
        for lease in self:
            held = lease.external if lease.state is LeaseState.HELD and lease.dialect is dialect else None
            if held is not None and held.host != host:
                self.lose(lease, "the gateway has another address now")
                lease.external = TransportAddress(host, held.port)
                self._events.append(PortMapped(lease.base, lease.external, self._gateway, dialect))
