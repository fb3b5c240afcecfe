"""One direction of a wire: latency, jitter, loss, duplication, reordering, bandwidth with a finite queue."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["Link", "LinkProfile"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkProfile:
    """What a link does to datagrams. The default is a perfect wire."""

    latency: float = 0.0
    """Seconds that every datagram travels."""
    jitter: float = 0.0
    """Up to so many seconds more, uniformly; order is kept."""
    loss: float = 0.0
    """Probability that a datagram vanishes."""
    duplication: float = 0.0
    """Probability that a datagram arrives twice."""
    reordering: float = 0.0
    """Probability that a datagram is held back, so that later ones overtake it."""
    reordering_delay: float = 0.02
    """Seconds for which a datagram is held back."""
    bandwidth: float | None = None
    """Bits per second, or None for no limit."""
    queue: int = 262_144
    """Bytes that may wait for the wire; what comes on top is dropped (drop-tail). Only with ``bandwidth``."""

    @classmethod
    def lan(cls) -> LinkProfile:
        """A wired local network."""
        return cls(latency=0.0002)

    @classmethod
    def broadband(cls) -> LinkProfile:
        """A home's access line: 10 ms with 1 ms of jitter."""
        return cls(latency=0.010, jitter=0.001)

    @classmethod
    def lossy(cls, loss: float = 0.15) -> LinkProfile:
        """A bad radio link."""
        return cls(latency=0.030, jitter=0.010, loss=loss, duplication=0.01, reordering=0.02)


class Link:
    """One direction of one wire, with its queue."""

    def __init__(self, profile: LinkProfile, rng: random.Random) -> None:
        self.profile = profile
        self.up = True
        self._rng = rng
        self._wire_free = 0.0
        self._last_arrival = 0.0

    def arrivals(self, now: float, size: int) -> tuple[float, ...]:
        """Return when the copies of a datagram of ``size`` bytes, sent ``now``, come out; empty when it is lost."""
        profile = self.profile
        if not self.up or self._happens(profile.loss):
            return ()
        leaves = self._leaves(now, size)
        if leaves is None:
            return ()
        copies = 2 if self._happens(profile.duplication) else 1
        return tuple(self._arrival(leaves) for _ in range(copies))

    def _leaves(self, now: float, size: int) -> float | None:
        """When the last bit is on the wire; None when the queue is full."""
        bandwidth = self.profile.bandwidth
        if bandwidth is None:
            return now
        start = max(now, self._wire_free)
        if (start - now) * bandwidth / 8 + size > self.profile.queue:
            return None
        self._wire_free = start + size * 8 / bandwidth
        return self._wire_free

    def _arrival(self, leaves: float) -> float:
        profile = self.profile
        arrival = leaves + profile.latency
        if profile.jitter:
            arrival += self._rng.random() * profile.jitter
        if self._happens(profile.reordering):
            return arrival + profile.reordering_delay
        self._last_arrival = max(arrival, self._last_arrival)
        return self._last_arrival

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._rng.random() < probability
