"""Tasks end, also those that swallow a cancellation."""

from __future__ import annotations

import asyncio

from tests.simulation.loop import virtual_time
from webrtc_bridge.ending import AGAIN, end_tasks


@virtual_time
async def test_every_task_ends_whatever_it_does() -> None:
    async def stubborn() -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                continue

    async def failing() -> None:
        raise ValueError

    tasks = [asyncio.create_task(work) for work in (stubborn(), failing(), asyncio.sleep(1000), asyncio.sleep(0))]
    await asyncio.sleep(0)
    await end_tasks(*tasks, None)
    assert all(task.done() for task in tasks)
    assert asyncio.get_running_loop().time() <= 3 * AGAIN
    await end_tasks()
