"""How often each source may be answered: token buckets in a bounded table, and one bucket for all that find it full.

A table that forgets somebody to take in somebody new would give the forgotten one a full bucket when it comes back, so
that forged sources in rotation are never limited. Here a bucket is forgotten only when it is full again, which loses
nothing. As long as none is, newcomers share one bucket of the same size: whatever the number of sources, each is
answered no more than its own bucket and the shared one allow.
"""

from __future__ import annotations

import heapq
import ipaddress

__all__ = ["RateLimiter", "source_key"]

_FORGET_AT_ONCE = 2
"""Full buckets to forget for each new one: more than one lets a table shrink, few keep every request short."""


def source_key(host: str) -> str:
    """Return what counts as one source: an IPv4 address, or the /64 of an IPv6 address."""
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Address(int(ipaddress.IPv6Address(host)) >> 64 << 64))


class _Bucket:
    """What one source has left."""

    __slots__ = ("since", "tokens")

    def __init__(self, tokens: float, since: float) -> None:
        self.tokens = tokens
        self.since = since


class RateLimiter:
    """A token bucket for every source, and one for all sources that the table has no room for."""

    def __init__(self, rate: float, burst: int, max_sources: int) -> None:
        """Args:
        rate: tokens a second, more than 0.
        burst: tokens that a bucket holds.
        max_sources: how many buckets there are beside the shared one.
        """
        self._rate = rate
        self._burst = float(burst)
        self._max_sources = max_sources
        self._buckets: dict[str, _Bucket] = {}
        self._shared = _Bucket(self._burst, 0.0)
        # One entry a bucket, with a time before which it is not full again; put right when that time has come.
        self._order: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, source: str, now: float, cost: float = 1) -> bool:
        """Take ``cost`` tokens of ``source``; False when it has fewer, and none are then taken."""
        bucket = self._buckets.get(source)
        if bucket is None:
            bucket = self._admit(source, now)
        tokens = self._tokens(bucket, now)
        allowed = tokens >= cost
        bucket.tokens = tokens - cost if allowed else tokens
        bucket.since = now
        return allowed

    def has_any(self, source: str, now: float) -> bool:
        """Whether ``source`` has a token to take; takes none."""
        bucket = self._buckets.get(source)
        if bucket is None:
            self._forget_full(now)
            if len(self._buckets) < self._max_sources:
                return True
            bucket = self._shared
        return self._tokens(bucket, now) >= 1

    def _tokens(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst, bucket.tokens + (now - bucket.since) * self._rate)

    def _admit(self, source: str, now: float) -> _Bucket:
        self._forget_full(now)
        if len(self._buckets) >= self._max_sources:
            return self._shared
        bucket = self._buckets[source] = _Bucket(self._burst, now)
        heapq.heappush(self._order, (now, source))
        return bucket

    def _forget_full(self, now: float) -> None:
        # An entry is put right only after a request of its source moved it, so requests pay for the work in advance.
        forgotten = 0
        while self._order and self._order[0][0] <= now and forgotten < _FORGET_AT_ONCE:
            source = self._order[0][1]
            bucket = self._buckets[source]
            full_at = bucket.since + (self._burst - bucket.tokens) / self._rate
            if full_at > now:
                heapq.heapreplace(self._order, (full_at, source))
            else:
                heapq.heappop(self._order)
                del self._buckets[source]
                forgotten += 1
