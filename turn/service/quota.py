"""How many allocations a user and an address may have, and how much they may relay (RFC 8656 sections 5 and 7.2)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

from stun.rate_limit import RateLimiter

__all__ = ["ByteBudget", "CountQuota", "TokenBucket", "take_from_all"]

K = TypeVar("K", bound=Hashable)


class TokenBucket:
    """So many bytes a second, with a bounded saving."""

    __slots__ = ("_burst", "_rate", "_since", "_tokens")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """Args:
        rate: bytes a second.
        burst: bytes that can be saved up; it starts full.
        now: monotonic seconds.
        """
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._since = now

    def has(self, size: int, now: float) -> bool:
        """Whether ``size`` bytes could be taken now."""
        return size <= self._refilled(now)

    def take(self, size: int, now: float) -> bool:
        """Take ``size`` bytes, or nothing and return False."""
        tokens = self._refilled(now)
        if size > tokens:
            return False
        self._tokens = tokens - size
        return True

    def borrow(self, size: int, now: float) -> float:
        """Take ``size`` bytes even where there are fewer; return the seconds to wait until the debt is paid."""
        self._tokens = self._refilled(now) - size
        return -self._tokens / self._rate if self._tokens < 0 else 0.0

    def _refilled(self, now: float) -> float:
        if now > self._since:
            self._tokens = min(self._burst, self._tokens + (now - self._since) * self._rate)
            self._since = now
        return self._tokens


def take_from_all(buckets: Sequence[TokenBucket], size: int, now: float) -> bool:
    """Take ``size`` bytes from each of several buckets; when one has fewer, none pays and False is returned."""
    if len(buckets) > 1 and not all(bucket.has(size, now) for bucket in buckets):
        return False
    return all(bucket.take(size, now) for bucket in buckets)


class CountQuota(Generic[K]):
    """So many at a time of each key; keys with none are forgotten."""

    __slots__ = ("_counts", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """How many of one key."""
        self._counts: Counter[K] = Counter()

    def __len__(self) -> int:
        return len(self._counts)

    def has_room(self, key: K, count: int = 1) -> bool:
        """Whether so many more are allowed."""
        return self._counts.get(key, 0) + count <= self.limit

    def has(self, key: K) -> bool:
        """Whether there is any of a key."""
        return key in self._counts

    def add(self, key: K) -> None:
        """Count one more."""
        self._counts[key] += 1

    def remove(self, key: K) -> None:
        """Count one less."""
        left = self._counts[key] - 1
        if left > 0:
            self._counts[key] = left
        else:
            del self._counts[key]


class ByteBudget:
    """Keeps what unauthenticated sources are sent near what they sent: only the excess is paid, from an allowance.

    A forged source so gains nothing from us: in the long run it is sent no more than was sent in its name plus
    ``rate`` bytes a second.
    """

    __slots__ = ("_limiter",)

    def __init__(self, rate: float, burst: int, sources: int) -> None:
        """Args:
        rate: bytes of excess a second for each source.
        burst: bytes of excess that a source may have saved.
        sources: how many sources are remembered.
        """
        self._limiter = RateLimiter(rate, burst, sources)

    def __len__(self) -> int:
        return len(self._limiter)

    def allows(self, source: str, request: int, response: int, now: float) -> bool:
        """Whether a response of so many bytes may answer a request of so many; pays for the excess when it may."""
        excess = response - request
        return excess <= 0 or self._limiter.take(source, now, excess)
