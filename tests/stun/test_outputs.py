"""What every machine hands out: deadlines and effects."""

from __future__ import annotations

from stun.machine import Deadline, earliest


def test_the_earliest_of_several_deadlines_and_of_two_for_one_time_the_first() -> None:
    soon, late, also = Deadline(1.0, "soon"), Deadline(2.0, "late"), Deadline(1.0, "also soon")
    assert earliest(None, late, soon, None, also) is soon
    assert earliest(also, soon) is also
    assert earliest(None, None) is None
    assert earliest() is None
