"""What there is one of on each loop."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextvars import Context

import pytest

from stun.aio.alarms import Alarms
from stun.aio.end_of_turn import EndOfTurn
from tests.simulation.loop import virtual_time

Call = Callable[[], object]
Use = Callable[[Call], None]


def end_of_turn(never_made: Call) -> None:
    end = EndOfTurn.of(asyncio.get_running_loop())
    end.add(lambda: end.add(never_made))


def alarms(never_made: Call) -> None:
    ours = Alarms.of(asyncio.get_running_loop())
    ours.set(asyncio.get_running_loop().time() + 600, never_made, Context())


@pytest.mark.parametrize("use", [end_of_turn, alarms])
def test_a_loop_that_is_gone_leaves_nothing_behind(use: Use) -> None:
    async def main() -> weakref.ref[Call]:
        def never_made() -> None:
            raise AssertionError

        use(never_made)
        return weakref.ref(never_made)

    loop = asyncio.new_event_loop()
    left, gone = loop.run_until_complete(main()), weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert left() is None
    assert gone() is None


@virtual_time
async def test_a_loop_has_one_of_each_kind() -> None:
    loop = asyncio.get_running_loop()
    end, ours = EndOfTurn.of(loop), Alarms.of(loop)
    assert EndOfTurn.of(loop) is end
    assert Alarms.of(loop) is ours


def test_another_loop_has_another() -> None:
    loops = [asyncio.new_event_loop() for _ in range(2)]
    first, second = [Alarms.of(loop) for loop in loops]
    assert first is not second
    for loop in loops:
        loop.close()
