"""Who takes over from whom, and how one may get there (RFC 8445 section 8.1.1, RFC 5245, renomination)."""

from __future__ import annotations

import pytest

from ice.description import Description
from ice.selection import MoveBy, how_to_move, takes_over
from tests.ice.builders import pair

PWD = "password-password-password"


def description(*options: str, lite: bool = False) -> Description:
    return Description("abcd", PWD, lite=lite, options=options)


OURS = description("trickle", "ice2", "renomination")


def test_of_several_nominated_pairs_the_best_is_used_unless_it_is_silent() -> None:
    low, high = pair(1, 1), pair(2, 9)
    assert takes_over(None, low, True)
    assert takes_over(low, high, True)
    assert not takes_over(high, low, True)
    assert not takes_over(high, high, False)
    assert takes_over(high, low, False)


def test_a_later_nomination_wins_and_an_earlier_one_never() -> None:
    low, high = pair(1, 1), pair(2, 9)
    assert takes_over(high, low, True, newer=1)
    assert not takes_over(low, high, True, newer=-1)
    assert not takes_over(low, high, False, newer=-1)
    assert takes_over(None, low, True, newer=-1)


@pytest.mark.parametrize(
    ("theirs", "up", "down"),
    [
        (description("renomination"), MoveBy.RENOMINATION, MoveBy.RENOMINATION),
        (description("ice2", "renomination"), MoveBy.RENOMINATION, MoveBy.RENOMINATION),
        (description("trickle"), MoveBy.NOMINATION, MoveBy.RESTART),
        (description(), MoveBy.NOMINATION, MoveBy.RESTART),
        (description("ice2"), MoveBy.RESTART, MoveBy.RESTART),
        (description(lite=True), MoveBy.RESTART, MoveBy.RESTART),
    ],
)
def test_how_to_move(theirs: Description, up: MoveBy, down: MoveBy) -> None:
    low, high = pair(1, 1), pair(2, 9)
    assert how_to_move(low, high, OURS, theirs) is up
    assert how_to_move(high, low, OURS, theirs) is down


def test_who_does_not_offer_renomination_does_not_use_it() -> None:
    low, high = pair(1, 1), pair(2, 9)
    assert how_to_move(low, high, description("ice2"), description("ice2", "renomination")) is MoveBy.RESTART
