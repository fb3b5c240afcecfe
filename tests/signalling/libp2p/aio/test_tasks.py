from __future__ import annotations

import asyncio

from signalling.libp2p.aio.tasks import TaskSet
from tests.simulation.loop import virtual_time


@virtual_time
async def test_what_runs_is_cancelled_and_awaited() -> None:
    ended = []

    async def work(number: int) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(1)
            ended.append(number)

    tasks = TaskSet()
    for number in range(3):
        tasks.spawn(work(number), "work")
    await asyncio.sleep(0)
    assert len(tasks) == 3
    await tasks.close()
    assert sorted(ended) == [0, 1, 2]
    assert len(tasks) == 0
    await tasks.close()


@virtual_time
async def test_a_task_may_close_the_set_it_is_in() -> None:
    tasks = TaskSet()
    done = []

    async def close() -> None:
        await tasks.close()
        done.append(True)

    await tasks.spawn(close(), "closer")
    assert done == [True]


@virtual_time
async def test_a_failure_is_told_to_the_loop() -> None:
    told: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))

    async def fail() -> None:
        raise ZeroDivisionError

    tasks = TaskSet()
    tasks.spawn(fail(), "the sum")
    await asyncio.sleep(0.1)
    assert told == ["the sum failed"]
    assert len(tasks) == 0
