from __future__ import annotations

from dataclasses import replace

from ice.candidate import Candidate
from ice.telling import TellingOrder
from tests.ice.builders import local


def candidate(component: int, foundation: str) -> Candidate:
    return replace(local(1, foundation), component=component)


def test_a_higher_component_waits_for_the_foundation_of_the_lower() -> None:
    order = TellingOrder([2, 1])
    early = candidate(2, "f")
    assert order.found(early) == []
    first = candidate(1, "f")
    assert order.found(first) == [first, early]
    assert order.found(again := candidate(2, "f")) == [again]


def test_a_component_that_has_told_all_holds_nobody_up() -> None:
    order = TellingOrder([1, 2])
    held = candidate(2, "g")
    assert order.found(held) == []
    assert not order.is_complete
    assert order.completed(1) == [held]
    assert order.completed(2) == []
    assert order.is_complete


def test_a_component_of_which_nothing_is_worth_waiting_for_holds_nobody_up_and_may_still_tell() -> None:
    order = TellingOrder([1, 2])
    held = candidate(2, "g")
    order.found(held)
    assert order.settled(1) == [held]
    assert not order.is_complete
    late = candidate(1, "h")
    assert order.found(late) == [late]


def test_three_components_are_a_chain_and_numbers_may_be_missing() -> None:
    order = TellingOrder([1, 3, 7])
    third, seventh = candidate(3, "f"), candidate(7, "f")
    assert order.found(seventh) == order.found(third) == []
    first = candidate(1, "f")
    assert order.found(first) == [first, third, seventh]


def test_one_component_is_told_at_once_and_in_its_order() -> None:
    order = TellingOrder([1])
    for foundation in ("b", "a", "b"):
        one = candidate(1, foundation)
        assert order.found(one) == [one]
