from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.rate_limit import RateLimiter, source_key


def test_a_bucket_fills_again() -> None:
    limiter = RateLimiter(rate=2.0, burst=3, max_sources=10)
    assert [limiter.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [limiter.take("a", 0.5), limiter.take("a", 0.5)] == [True, False]
    assert [limiter.take("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_who_finds_the_table_full_shares_one_bucket() -> None:
    limiter = RateLimiter(rate=1.0, burst=2, max_sources=3)
    assert [limiter.take(source, 0.0) for source in "abc"] == [True] * 3
    assert [limiter.take(source, 0.0) for source in "defg"] == [True, True, False, False]
    assert len(limiter) == 3
    # Those in the table have lost nothing by it.
    assert [limiter.take(source, 0.0) for source in "abcabc"] == [True] * 3 + [False] * 3
    # The shared bucket fills as one.
    assert [limiter.take(source, 0.5) for source in "ab"] == [False, False]
    assert [limiter.take(source, 1.0) for source in "dd"] == [True, False]
    assert [limiter.has_any("e", 1.5), limiter.has_any("a", 1.5)] == [False, True]


def test_only_full_buckets_are_forgotten() -> None:
    limiter = RateLimiter(rate=1.0, burst=2, max_sources=2)
    assert limiter.take("a", 0.0)
    assert limiter.take("b", 0.0)
    assert limiter.take("b", 0.0)
    # At 1 s that of a is full again, which is as if a had never been there; that of b is not.
    assert [limiter.take("c", 1.0) for _ in range(3)] == [True, True, False]
    assert [limiter.take("b", 1.0) for _ in range(2)] == [True, False]
    assert len(limiter) == 2


def test_a_table_of_idle_sources_shrinks() -> None:
    limiter = RateLimiter(rate=10.0, burst=5, max_sources=1000)
    for number in range(1000):
        assert limiter.take(str(number), 0.0)
    for number in range(1000):
        assert limiter.take("late", 10.0 + number)
        assert limiter.take(f"later {number}", 10.0 + number)
    assert len(limiter) < 5


@pytest.mark.parametrize("sources", [10, 64, 65, 1000])
def test_rotating_sources_do_not_renew_their_bursts(sources: int) -> None:
    limiter = RateLimiter(rate=2.0, burst=4, max_sources=64)
    taken: dict[int, int] = {}
    for number in range(20_000):
        source = number % sources
        taken[source] = taken.get(source, 0) + limiter.take(str(source), number / 20_000)
    # Of one second: a source with a bucket has at most 4 + 2, and all without one have as much together.
    assert max(taken.values()) <= 6
    assert sum(taken.values()) <= 6 * min(sources, 64) + (6 if sources > 64 else 0)
    assert len(limiter) <= 64


@given(st.lists(st.tuples(st.integers(0, 7), st.floats(0, 2), st.integers(1, 5)), max_size=60), st.integers(1, 4))
def test_no_source_has_more_than_its_share_and_the_shared_one(
    steps: list[tuple[int, float, int]], max_sources: int
) -> None:
    rate, burst = 1.5, 4
    limiter = RateLimiter(rate, burst, max_sources)
    now = 0.0
    taken: dict[int, float] = {}
    for source, pause, cost in steps:
        now += pause
        if limiter.take(str(source), now, cost):
            taken[source] = taken.get(source, 0) + cost
        assert len(limiter) <= max_sources
    for total in taken.values():
        assert total <= 2 * (burst + rate * now) + 1e-6


def test_sources() -> None:
    assert source_key("192.0.2.1") == "192.0.2.1"
    assert source_key("2001:db8::1") == source_key("2001:db8::ffff:1") == "2001:db8::"
    assert source_key("2001:db8:0:1::1") != source_key("2001:db8::1")


def test_costs_and_asking_first() -> None:
    limiter = RateLimiter(1.0, 10, 5)
    assert limiter.has_any("a", 0.0)
    assert len(limiter) == 0  # asking keeps nothing
    assert not limiter.take("a", 0.0, 11)
    assert limiter.take("a", 0.0, 10)
    assert not limiter.has_any("a", 0.5)
    assert limiter.has_any("a", 1.0)
