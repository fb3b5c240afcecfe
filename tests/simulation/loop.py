"""An asyncio event loop whose clock jumps: nothing in it ever waits for real time.

The loop runs what is ready; when nothing is, it sets its clock to the next timer. A test that waits 30 seconds for
consent to expire takes a millisecond, and takes the same path every time. There are no file descriptors in here: what
talks to a network talks to :mod:`tests.simulation.world`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

__all__ = ["Stalled", "VirtualTimeLoop", "run_virtual", "virtual_time"]

P = ParamSpec("P")
T = TypeVar("T")


class Stalled(RuntimeError):
    """Nothing is ready, no timer is set and nothing from outside can arrive: the test would wait for ever."""


class _Selector:
    """Where the base loop would wait for sockets: moves the clock instead."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stalled("every task waits and no timer is set")
        if timeout > 0:
            self._loop.advance(timeout)
        return []


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """The loop. ``time()`` starts at ``start`` seconds and moves only by jumps."""

    def __init__(self, start: float = 0.0, limit: float = 24 * 3600.0) -> None:
        super().__init__()
        self._virtual_now = start
        self._limit = start + limit
        self._clock_resolution = 1e-9
        self._selector = _Selector(self)
        self.problems: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _loop, context: self.problems.append(context))

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._virtual_now

    def advance(self, seconds: float) -> None:
        """Move the clock forward.

        Raises:
            Stalled: the clock passed the limit, so the program re-arms timers for ever.
        """
        self._virtual_now += seconds
        if self._virtual_now > self._limit:
            raise Stalled(f"still running after {self._limit} virtual seconds")

    def _process_events(self, event_list: list[Any]) -> None:
        """There is no descriptor, hence no event."""

    def _write_to_self(self) -> None:
        """There is no other thread to be woken from."""

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        """Refuse: a thread runs in real time."""
        raise RuntimeError("threads have no place in virtual time")


def run_virtual(main: Coroutine[Any, Any, T], *, limit: float = 24 * 3600.0) -> T:
    """Run ``main`` in virtual time and return its result.

    Raises:
        AssertionError: ``main`` left tasks behind, or a callback or an abandoned task raised.
        Stalled: ``main`` would wait for ever, or runs for more than ``limit`` virtual seconds.
    """
    loop = VirtualTimeLoop(limit=limit)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        result, leftovers = runner.run(_with_leftovers(main))
    assert not leftovers, f"tasks left behind: {leftovers}"
    assert not loop.problems, f"unhandled in the loop: {loop.problems}"
    return result


async def _with_leftovers(main: Awaitable[T]) -> tuple[T, list[str]]:
    result = await main
    for _ in range(3):  # A cancelled task needs a turn of the loop to end.
        await asyncio.sleep(0)
    current = asyncio.current_task()
    return result, [repr(task) for task in asyncio.all_tasks() if task is not current and not task.done()]


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Decorate an async test so that it runs in virtual time; fixtures and parameters work as usual."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_virtual(test(*args, **kwargs))

    return run
