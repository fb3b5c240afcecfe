from __future__ import annotations

from stun.rate_limit import RateLimiter, source_key


def test_a_bucket_fills_again() -> None:
    limiter = RateLimiter(rate=2.0, burst=3, max_sources=10)
    assert [limiter.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert [limiter.take("a", 0.5), limiter.take("a", 0.5)] == [True, False]
    assert [limiter.take("a", 100.0) for _ in range(4)] == [True, True, True, False]


def test_the_table_is_bounded() -> None:
    limiter = RateLimiter(rate=1.0, burst=1, max_sources=3)
    for number in range(10):
        assert limiter.take(str(number), 0.0)
    assert len(limiter) == 3
    assert not limiter.take("9", 0.0)
    assert limiter.take("0", 0.0)


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
