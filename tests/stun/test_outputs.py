"""What every machine hands out: deadlines and effects."""

from __future__ import annotations

import pytest

from stun.address import FiveTuple, TransportAddress
from stun.machine import Deadline, Release, Transmit, earliest

PATH = FiveTuple(TransportAddress("192.0.2.1", 1), TransportAddress("198.51.100.1", 3478))


def test_the_earliest_of_several_deadlines_and_of_two_for_one_time_the_first() -> None:
    soon, late, also = Deadline(1.0, "soon"), Deadline(2.0, "late"), Deadline(1.0, "also soon")
    assert earliest(None, late, soon, None, also) is soon
    assert earliest(also, soon) is also
    assert earliest(None, None) is None
    assert earliest() is None


def test_outputs_compare_by_what_they_say() -> None:
    assert Deadline(1.0, "x") == Deadline(1.0, "x")
    assert Deadline(1.0, "x") != Deadline(1.0, "y")
    assert Deadline(1.0, "x") != (1.0, "x")
    assert Transmit(b"data", PATH) == Transmit(b"data", PATH)
    assert Transmit(b"data", PATH) != Transmit(b"other", PATH)
    assert len({Transmit(b"data", PATH), Transmit(b"data", PATH), Release(PATH)}) == 2
    assert repr(Deadline(1.0, "x")) == "Deadline(at=1.0, why='x')"
    assert repr(Transmit(b"data", PATH)) == f"Transmit(data=b'data', path={PATH!r})"


def test_a_transmit_matches_by_position() -> None:
    match Transmit(b"data", PATH):
        case Transmit(data, path):
            assert (data, path) == (b"data", PATH)
        case _:
            pytest.fail("it is a Transmit")
