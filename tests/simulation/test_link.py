from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulation import Link, LinkProfile


def link(seed: int = 1, **profile: float) -> Link:
    return Link(LinkProfile(**profile), random.Random(seed))  # type: ignore[arg-type]


def test_a_perfect_wire_delivers_at_once() -> None:
    assert link().arrivals(5.0, 1200) == (5.0,)


def test_latency_is_added() -> None:
    assert link(latency=0.1).arrivals(5.0, 1200) == (pytest.approx(5.1),)


@given(st.integers(0, 1000))
def test_jitter_keeps_the_order_and_its_bounds(seed: int) -> None:
    wire = link(seed, latency=0.1, jitter=0.05)
    arrivals = [wire.arrivals(index * 0.001, 100)[0] for index in range(100)]
    assert arrivals == sorted(arrivals)
    assert all(0.1 <= arrival - index * 0.001 <= 0.15 + 1e-9 for index, arrival in enumerate(arrivals))


def test_loss_and_duplication_come_in_their_shares() -> None:
    wire = link(loss=0.2, duplication=0.1)
    copies = [len(wire.arrivals(float(index), 100)) for index in range(10_000)]
    assert copies.count(0) == pytest.approx(2000, rel=0.1)
    assert copies.count(2) == pytest.approx(800, rel=0.15)


def test_reordering_lets_later_datagrams_overtake() -> None:
    wire = link(reordering=0.2, reordering_delay=0.01)
    arrivals = [wire.arrivals(index * 0.001, 100)[0] for index in range(1000)]
    assert arrivals != sorted(arrivals)
    overtaken = sum(arrival - index * 0.001 > 0.009 for index, arrival in enumerate(arrivals))
    assert overtaken == pytest.approx(200, rel=0.25)


def test_bandwidth_spaces_datagrams_and_the_queue_is_finite() -> None:
    wire = link(bandwidth=8_000, queue=300)  # 1000 bytes a second
    assert wire.arrivals(0.0, 100) == (pytest.approx(0.1),)
    assert wire.arrivals(0.0, 100) == (pytest.approx(0.2),)
    assert wire.arrivals(0.0, 100) == (pytest.approx(0.3),)
    assert wire.arrivals(0.0, 100) == ()
    assert wire.arrivals(0.1, 100) == (pytest.approx(0.4),)
    assert wire.arrivals(10.0, 100) == (pytest.approx(10.1),)


def test_an_unplugged_wire_loses_everything() -> None:
    wire = link()
    wire.up = False
    assert wire.arrivals(0.0, 100) == ()


def test_the_seed_decides_everything() -> None:
    def run(seed: int) -> list[tuple[float, ...]]:
        wire = Link(LinkProfile.lossy(), random.Random(seed))
        return [wire.arrivals(float(index), 100) for index in range(200)]

    assert run(7) == run(7)
    assert run(7) != run(8)
