"""Copying between a stream and standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Protocol

from signalling.libp2p.aio.streams import Stream

__all__ = ["PROTOCOL", "StandardStreams", "pipe"]

PROTOCOL = "/lastresort/pipe/1.0.0"
"""What ``lastresort peer --pipe`` serves: bytes both ways, each half closed on its own."""

CHUNK = 64 * 1024


class ByteEnds(Protocol):
    """Where bytes come from and where they go."""

    async def read(self) -> bytes:
        """Return some bytes, ``b""`` at the end."""

    async def write(self, data: bytes) -> None:
        """Take all of ``data``."""


class StandardStreams:
    """Standard input and output, without blocking the loop whatever they are: a terminal, a pipe or a file."""

    def __init__(self) -> None:
        self._input = sys.stdin.fileno()
        self._output = sys.stdout.fileno()
        self._reader: asyncio.Future[bytes] | None = None

    async def read(self) -> bytes:
        """Return some bytes of standard input, ``b""`` at its end."""
        loop = asyncio.get_running_loop()
        try:
            await _readable(loop, self._input)
        except PermissionError:  # a regular file, which epoll refuses: it never blocks
            await asyncio.sleep(0)
        return os.read(self._input, CHUNK)

    async def write(self, data: bytes) -> None:
        """Write all of ``data`` to standard output."""
        await asyncio.to_thread(_write_all, self._output, data)


async def _readable(loop: asyncio.AbstractEventLoop, descriptor: int) -> None:
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def pipe(stream: Stream, ends: ByteEnds) -> tuple[int, int]:
    """Copy both ways until both directions have ended; return the bytes sent and received.

    The end of the input half-closes the stream; the end of the stream ends the copying, whatever is still to be read.

    Raises:
        SignallingError: the stream broke.
        OSError: an end broke.
    """
    sent = received = 0

    async def send() -> None:
        nonlocal sent
        while data := await ends.read():
            await stream.write(data)
            sent += len(data)
        await stream.close_write()

    sender = asyncio.create_task(send(), name="pipe to the peer")
    try:
        while data := await stream.read(CHUNK):
            await ends.write(data)
            received += len(data)
        if sender.done():
            sender.result()
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
    await stream.close()
    return sent, received
