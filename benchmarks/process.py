"""Each benchmark in a process of its own.

What one leaves behind in the allocator changes the figures of the next: asyncio reads each datagram into 256 KiB, which
costs half as much once larger blocks have been freed before.
"""

from __future__ import annotations

import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from benchmarks.results import Result

__all__ = ["in_a_new_process", "measure"]


def in_a_new_process(name: str) -> list[Result]:
    """Run the benchmark ``name`` in a fresh interpreter and return its results."""
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as process:
        return process.submit(measure, name).result()


def measure(name: str) -> list[Result]:
    """Run the benchmark ``name`` in this process."""
    results: list[Result] = importlib.import_module(f"benchmarks.{name}").run()
    return results
