from __future__ import annotations

import asyncio
import time

import pytest

from tests.simulation import Stalled, VirtualTimeLoop, run_virtual, virtual_time


def test_a_long_sleep_takes_no_real_time() -> None:
    async def main() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    before = time.monotonic()
    assert run_virtual(main()) == pytest.approx(3600)
    assert time.monotonic() - before < 5


def test_timers_fire_in_order_at_their_times() -> None:
    async def main() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        fired: list[tuple[str, float]] = []
        loop.call_later(2.0, lambda: fired.append(("second", loop.time())))
        loop.call_later(0.5, lambda: fired.append(("first", loop.time())))
        loop.call_later(1.0, lambda: fired.append(("never", loop.time()))).cancel()
        await asyncio.sleep(3)
        return fired

    assert run_virtual(main()) == [("first", pytest.approx(0.5)), ("second", pytest.approx(2.0))]


def test_waiting_for_nothing_is_an_error() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled):
        run_virtual(main())


def test_running_for_ever_is_an_error() -> None:
    async def main() -> None:
        for _ in range(1000):
            await asyncio.sleep(1)

    with pytest.raises(Stalled):
        run_virtual(main(), limit=100)


def test_a_task_left_behind_is_an_error() -> None:
    async def main() -> None:
        main.task = asyncio.create_task(asyncio.sleep(1000))  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match="left behind"):
        run_virtual(main())


def test_a_callback_that_raises_is_an_error() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(AssertionError, match="unhandled"):
        run_virtual(main())


def test_threads_are_refused() -> None:
    async def main() -> None:
        await asyncio.to_thread(time.monotonic)

    with pytest.raises(RuntimeError, match="virtual time"):
        run_virtual(main())


@pytest.mark.parametrize("seconds", [1, 10])
@virtual_time
async def test_the_decorator_takes_parameters(seconds: int) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await asyncio.Event().wait()
    assert loop.time() == pytest.approx(seconds)
