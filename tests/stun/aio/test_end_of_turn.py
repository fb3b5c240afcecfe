"""Calls at the end of a turn of the loop."""

from __future__ import annotations

import asyncio

from stun.aio.end_of_turn import EndOfTurn
from tests.simulation.loop import virtual_time


@virtual_time
async def test_calls_are_made_once_the_turn_is_over_in_their_order() -> None:
    end, called = EndOfTurn.of(asyncio.get_running_loop()), []
    for number in range(3):
        end.add(lambda number=number: called.append(number))
    assert called == []
    await asyncio.sleep(0)
    assert called == [0, 1, 2]


@virtual_time
async def test_what_a_call_asks_for_belongs_to_the_next_turn() -> None:
    end, called = EndOfTurn.of(asyncio.get_running_loop()), []

    def ask() -> None:
        called.append("first")
        end.add(lambda: called.append("second"))

    end.add(ask)
    await asyncio.sleep(0)
    assert called == ["first"]
    await asyncio.sleep(0)
    assert called == ["first", "second"]


@virtual_time
async def test_a_call_that_raises_is_reported_and_costs_the_others_nothing() -> None:
    loop, called, reported = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    end = EndOfTurn.of(loop)
    for call in (lambda: called.append(1), lambda: [][0], lambda: called.append(3)):
        end.add(call)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert called == [1, 3]
    assert [type(error) for error in reported] == [IndexError]
