"""Ending tasks for sure."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["end_tasks"]

AGAIN = 0.1
"""Seconds after which a task that goes on is cancelled again."""


async def end_tasks(*tasks: asyncio.Task[Any] | asyncio.Future[Any] | None) -> None:
    """Cancel tasks and return when all have ended; what they raised is dropped.

    Once is not always enough: ``asyncio.wait_for`` of Python 3.11, which aiortc's DTLS handshake uses, swallows a
    cancellation that comes in the same turn of the loop as the result it waits for.
    """
    pending = {task for task in tasks if task is not None and not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN)
    await asyncio.gather(*(task for task in tasks if task is not None), return_exceptions=True)
