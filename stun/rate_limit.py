"""How often each source may be answered: token buckets in a bounded table."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict

__all__ = ["RateLimiter", "source_key"]


def source_key(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(host)) >> 64 << 64))


class RateLimiter:
    """A token bucket for every source; the longest idle source is forgotten when the table is full."""

    def __init__(self, rate: float, burst: int, max_sources: int) -> None:
        """Args:
        rate: tokens a second.
        burst: tokens that a bucket holds.
        max_sources: how many buckets there are.
        """
        self._rate = rate
        self._burst = float(burst)
        self._max_sources = max_sources
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, source: str, now: float, cost: float = 1) -> bool:
        """Take ``cost`` tokens of ``source``; False when it has fewer, and none are then taken."""
        tokens, since = self._buckets.pop(source, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self._rate)
        allowed = tokens >= cost
        self._buckets[source] = (tokens - cost if allowed else tokens, now)
        if len(self._buckets) > self._max_sources:
            self._buckets.popitem(last=False)
        return allowed

    def has_any(self, source: str, now: float) -> bool:
        """Whether ``source`` has a token to take; takes none."""
        tokens, since = self._buckets.get(source, (self._burst, now))
        return tokens + (now - since) * self._rate >= 1
