"""Calls that are due at a time, in virtual time."""

from __future__ import annotations

import asyncio
import random
import weakref
from collections.abc import Callable
from contextvars import Context, ContextVar

import pytest

from stun.aio.alarms import Alarms
from tests.simulation.loop import VirtualTimeLoop, virtual_time

WHO: ContextVar[str] = ContextVar("WHO", default="nobody")


def alarms() -> Alarms:
    return Alarms.of(asyncio.get_running_loop())


def noting(log: list[tuple[float, object]], what: object) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    return lambda: log.append((loop.time(), what))


@virtual_time
async def test_calls_are_made_in_the_order_of_their_times_and_of_their_setting() -> None:
    ours, log = alarms(), []
    for number, at in enumerate((3.0, 1.0, 2.0, 1.0)):
        ours.set(at, noting(log, number), Context())
    await asyncio.sleep(10)
    assert log == [(1.0, 1), (1.0, 3), (2.0, 2), (3.0, 0)]
    assert ours.waiting == 0


@virtual_time
async def test_any_order_of_setting_and_cancelling_keeps_every_time() -> None:
    ours, log, rng = alarms(), [], random.Random(8)
    times = [rng.uniform(0, 50) for _ in range(500)]
    set_ = [ours.set(at, noting(log, at), Context()) for at in times]
    gone = set(rng.sample(range(500), 250))
    for number in gone:
        set_[number].cancel()
    await asyncio.sleep(100)
    kept = [at for number, at in enumerate(times) if number not in gone]
    assert [at for at, _ in log] == pytest.approx(sorted(kept))
    assert [at for _, at in log] == sorted(kept)


@virtual_time
async def test_a_call_that_was_cancelled_is_not_made() -> None:
    ours, log = alarms(), []
    first = ours.set(1.0, noting(log, "first"), Context())
    second = ours.set(2.0, noting(log, "second"), Context())
    first.cancel()
    first.cancel()
    assert ours.waiting == 1
    await asyncio.sleep(3)
    second.cancel()
    assert log == [(2.0, "second")]
    assert ours.waiting == 0


@virtual_time
async def test_a_call_may_cancel_another_that_is_due_with_it_and_set_one_for_now() -> None:
    ours, log, loop = alarms(), [], asyncio.get_running_loop()

    def first() -> None:
        other.cancel()
        ours.set(loop.time(), noting(log, "now"), Context())
        loop.call_soon(noting(log, "a turn later"))

    ours.set(1.0, first, Context())
    other = ours.set(1.0, noting(log, "other"), Context())
    await asyncio.sleep(2)
    # What is set for now waits until the loop has looked at its sockets.
    assert log == [(1.0, "a turn later"), (1.0, "now")]


@virtual_time
async def test_a_call_that_raises_is_reported_and_costs_the_others_nothing() -> None:
    loop, log, reported = asyncio.get_running_loop(), [], []
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    ours = alarms()
    ours.set(1.0, noting(log, "before"), Context())
    ours.set(1.0, lambda: [][0], Context())
    ours.set(1.0, noting(log, "after"), Context())
    await asyncio.sleep(2)
    assert log == [(1.0, "before"), (1.0, "after")]
    assert [type(error) for error in reported] == [IndexError]


@virtual_time
async def test_each_call_is_made_in_its_own_context() -> None:
    ours, log = alarms(), []
    for name in ("one", "other"):
        context = Context()
        context.run(WHO.set, name)
        ours.set(1.0, lambda: log.append(WHO.get()), context)
    await asyncio.sleep(2)
    assert (log, WHO.get()) == (["one", "other"], "nobody")


@virtual_time
async def test_a_thousand_alarms_are_one_timer_of_the_loop() -> None:
    loop, log = asyncio.get_running_loop(), []
    assert isinstance(loop, VirtualTimeLoop)
    ours, timers = alarms(), []
    call_at = loop.call_at
    loop.call_at = lambda when, *args, **options: timers.append(when) or call_at(when, *args, **options)
    for number in range(1000):
        ours.set(5.0 + number, noting(log, number), Context())
    assert timers == [5.0]
    ours.set(4.0, noting(log, "sooner"), Context())
    assert timers == [5.0, 4.0]
    loop.call_at = call_at
    await asyncio.sleep(4.5)
    assert log == [(4.0, "sooner")]


@virtual_time
async def test_what_was_cancelled_is_not_kept_until_its_time() -> None:
    class Owner:
        def call(self) -> None: ...

    ours, owner = alarms(), Owner()
    known = weakref.ref(owner)
    ours.set(600.0, owner.call, Context()).cancel()
    del owner
    assert known() is None
    for _ in range(10_000):
        ours.set(600.0, print, Context()).cancel()
    assert len(ours._entries) < 200


class Slow:
    """A loop whose turns take a quarter of a second; after the first ones its sockets have more to be read."""

    def __init__(self, ours: Alarms, backlogs: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._ours = ours
        self._backlogs = backlogs

    def turn(self) -> None:
        assert isinstance(self._loop, VirtualTimeLoop)
        self._loop.advance(0.25)
        if self._backlogs:
            self._backlogs -= 1
            self._ours.note_backlog()
        if self._loop.time() < 30:
            self._loop.call_soon(self.turn)


@virtual_time
async def test_a_loop_that_is_behind_reads_for_a_turn_before_it_makes_calls() -> None:
    ours, log = alarms(), []
    for at in (0.5, 1.5, 2.5, 20.5):
        ours.set(at, noting(log, at), Context())
    Slow(ours, backlogs=0).turn()
    await asyncio.sleep(40)
    waited = [made - float(str(at)) for made, at in log]
    assert [at for _, at in log] == [0.5, 1.5, 2.5, 20.5]
    assert all(0.25 <= each <= 0.75 for each in waited), "the turn that it became due in, and the one after"


@pytest.mark.parametrize(("backlogs", "made_at"), [(0, 2.0), (6, 2.0), (12, 3.25), (1000, 4.5)])
@virtual_time
async def test_calls_wait_while_sockets_have_more_to_be_read_but_not_for_ever(backlogs: int, made_at: float) -> None:
    ours, log = alarms(), []
    ours.set(1.5, noting(log, "due"), Context())
    Slow(ours, backlogs).turn()
    await asyncio.sleep(40)
    assert log == [(made_at, "due")]


@virtual_time
async def test_a_call_that_was_cancelled_makes_no_loop_late() -> None:
    ours, log = alarms(), []
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    ours.set(1.0, noting(log, "never"), Context()).cancel()
    ours.set(9.995, noting(log, "due"), Context())
    loop.advance(10.0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert log == [(10.0, "due")]
