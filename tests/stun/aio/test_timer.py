"""The one timer of a machine, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stun.aio.timer import MachineTimer
from stun.machine import Deadline
from tests.simulation.loop import VirtualTimeLoop, virtual_time


class Clockwork:
    """A machine that is all deadlines."""

    def __init__(self, *deadlines: float) -> None:
        self.deadlines = list(deadlines)
        self.woken: list[float] = []
        self.looked = 0

    def next_timeout(self) -> Deadline | None:
        self.looked += 1
        return Deadline(self.deadlines[0], "next") if self.deadlines else None

    def handle_timeout(self, now: float) -> None:
        self.woken.append(now)
        self.deadlines.pop(0)


class Pump:
    """A driver of nothing."""

    def __init__(self, pump: Callable[[], None]) -> None:
        self.pump = pump


def wound_up(*deadlines: float) -> tuple[Clockwork, MachineTimer]:
    machine = Clockwork(*deadlines)
    timer = MachineTimer(machine, Pump(lambda: timer.arm()))
    timer.arm()
    return machine, timer


@virtual_time
async def test_every_deadline_is_kept() -> None:
    machine, _ = wound_up(1.0, 2.5, 2.5, 40.0)
    await asyncio.sleep(100)
    assert machine.woken == [1.0, 2.5, 2.5, 40.0]


@virtual_time
async def test_a_deadline_that_comes_nearer_moves_the_timer_and_one_that_recedes_does_not() -> None:
    machine, timer = wound_up(5.0)
    await asyncio.sleep(0)
    machine.deadlines = [3.0]
    timer.arm()
    await asyncio.sleep(3.5)
    assert machine.woken == [3.0]
    machine.deadlines = [10.0]
    timer.arm()
    await asyncio.sleep(0)
    for receding in (10.05, 10.1, 10.2):
        machine.deadlines = [receding]
        timer.arm()
        await asyncio.sleep(0)
    looked = machine.looked
    await asyncio.sleep(6.6)
    # It woke at 10 s, saw that it was early, and went to sleep again without a word to the machine.
    assert (machine.woken, machine.looked) == ([3.0], looked + 1)
    await asyncio.sleep(5)
    assert machine.woken == [3.0, 10.2]


@virtual_time
async def test_a_deadline_that_has_moved_on_far_takes_the_timer_with_it() -> None:
    machine, timer = wound_up(5.0)
    await asyncio.sleep(0)
    machine.deadlines = [20.0]
    timer.arm()
    await asyncio.sleep(0)
    looked = machine.looked
    await asyncio.sleep(19)
    assert (machine.woken, machine.looked) == ([], looked)
    await asyncio.sleep(2)
    assert machine.woken == [20.0]


@virtual_time
async def test_a_deadline_that_is_gone_wakes_nobody() -> None:
    machine, timer = wound_up(5.0)
    await asyncio.sleep(0)
    machine.deadlines.clear()
    timer.arm()
    await asyncio.sleep(0)
    looked = machine.looked
    await asyncio.sleep(10)
    assert (machine.woken, machine.looked) == ([], looked)


@virtual_time
async def test_the_machine_is_asked_once_in_a_turn_of_the_loop() -> None:
    machine, timer = wound_up(5.0)
    for soonest in (4.0, 3.0, 2.0):
        machine.deadlines = [soonest]
        timer.arm()
    assert machine.looked == 0
    await asyncio.sleep(0)
    assert machine.looked == 1
    await asyncio.sleep(10)
    assert machine.woken == [2.0]


@virtual_time
async def test_a_timer_that_was_stopped_is_not_armed_again() -> None:
    machine, timer = wound_up(5.0)
    timer.stop()
    timer.stop()
    timer.arm()
    await asyncio.sleep(10)
    assert machine.woken == []


@virtual_time
async def test_a_machine_may_stop_its_timer() -> None:
    machine = Clockwork(1.0, 2.0)
    timer = MachineTimer(machine, Pump(lambda: timer.stop()))
    timer.arm()
    await asyncio.sleep(10)
    assert machine.woken == [1.0]


@virtual_time
async def test_a_loop_that_is_behind_reads_before_the_machine_repeats_itself() -> None:
    loop = asyncio.get_running_loop()
    machine, timer = wound_up(1.0, 50.0)
    assert isinstance(loop, VirtualTimeLoop)

    def busy() -> None:
        loop.advance(2.0)  # Past the deadline, in one callback.
        loop.call_soon(answered)  # What waits at a socket is handled in the next turn.

    def answered() -> None:
        machine.deadlines.pop(0)
        timer.arm()

    loop.call_at(0.5, busy)
    await asyncio.sleep(10)
    assert machine.woken == []
    await asyncio.sleep(60)
    assert machine.woken == [50.0]


@virtual_time
async def test_a_loop_that_stays_behind_wakes_the_machine_all_the_same() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    machine, _ = wound_up(1.0)
    for number in range(5):
        loop.call_at(0.5 + number / 10, loop.advance, 2.0)
    await asyncio.sleep(20)
    assert len(machine.woken) == 1
