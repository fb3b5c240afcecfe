"""Plain classes that are values."""

from __future__ import annotations

import pytest

from stun.address import FiveTuple, TransportAddress
from stun.machine import Deadline, Transmit
from stun.plain import Plain

PATH = FiveTuple(TransportAddress("192.0.2.1", 1), TransportAddress("198.51.100.1", 3478))

VALUES = [Deadline(1.0, "x"), Transmit(b"", PATH)]


def test_two_of_one_class_that_say_the_same_are_equal() -> None:
    assert Deadline(1.0, "x") == Deadline(1.0, "x")
    assert len({Deadline(1.0, "x"), Deadline(1.0, "x"), Transmit(b"", PATH), Transmit(b"", PATH)}) == 2


@pytest.mark.parametrize("other", [None, (1.0, "x"), Transmit(b"x", PATH), Deadline(1.0, "y"), Deadline(2.0, "x")])
def test_others_are_not(other: object) -> None:
    assert Deadline(1.0, "x") != other


def test_the_text_is_what_makes_it() -> None:
    assert repr(Deadline(1.0, "x")) == "Deadline(at=1.0, why='x')"
    assert repr(Transmit(b"data", PATH)) == f"Transmit(data=b'data', path={PATH!r})"


def test_it_matches_by_position_and_by_name() -> None:
    match Deadline(1.0, "x"):
        case Deadline(at, why="x"):
            assert at == 1.0
        case _:
            pytest.fail("it is a Deadline")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_it_has_room_for_nothing_else(value: Plain) -> None:
    with pytest.raises(AttributeError):
        value.other = 1  # type: ignore[attr-defined]
