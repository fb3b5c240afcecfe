"""Copying between a stream and standard input and output.

The pipe protocol sends data in length-prefixed chunks; an empty chunk is the end of one side's data. A side that has
seen the other's end half-closes the stream, so the end of the *stream* says that everything arrived. A bare half-close
would not: it says only that a muxer took the bytes, and a process that then exits takes those with it that are still in
its own or a relay's buffers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import Protocol

from signalling.errors import ConnectionClosed, StreamClosed
from signalling.libp2p.aio.streams import Stream

__all__ = ["PROTOCOL", "StandardStreams", "pipe"]

PROTOCOL = "/lastresort/pipe/1.0.0"
"""What ``lastresort peer --pipe`` serves: bytes both ways, each direction ends on its own."""

CHUNK = 64 * 1024

logger = logging.getLogger("lastresort")


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


class PlainEnd:
    """The far end of a stream that carries bare bytes, such as an echo."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def read(self) -> bytes:
        """Return some bytes of the peer, ``b""`` at their end."""
        return await self.stream.read(CHUNK)

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        await self.stream.write(data)

    async def end(self) -> None:
        """Say that we send no more."""
        await self.stream.close_write()

    async def finish(self) -> None:
        """Both directions have ended: close."""
        await self.stream.close()


class ChunkedEnd(PlainEnd):
    """The far end of the pipe protocol."""

    async def read(self) -> bytes:
        """Return the next chunk of the peer, ``b""`` at its end.

        Raises:
            StreamClosed: the stream ended before the peer said that its data had.
        """
        data = await self.stream.read_delimited(CHUNK)
        if data is None:
            raise StreamClosed("the peer was cut off")
        return data

    async def write(self, data: bytes) -> None:
        """Send a chunk."""
        await self.stream.write_delimited(data)

    async def end(self) -> None:
        """Say that we send no more."""
        await self.stream.write_delimited(b"")

    async def finish(self) -> None:
        """Confirm that everything arrived, and wait until the peer confirms the same."""
        try:
            await self.stream.close_write()
            while await self.stream.read(CHUNK):
                pass
            await self.stream.close()
        except ConnectionClosed as error:
            # The peer's end has been seen, so nothing of it is missing; it was quicker to leave than its confirmation.
            logger.debug("the pipe's peer left without confirming: %s", error)


async def pipe(stream: Stream, ends: ByteEnds) -> tuple[int, int]:
    """Copy both ways until both directions have ended; return the bytes sent and received.

    The end of one direction does not stop the other: only when the connection is gone is what is still to be read left
    where it is.

    Raises:
        SignallingError: the stream broke.
        OSError: an end broke.
    """
    sent = received = 0
    far = ChunkedEnd(stream) if stream.protocol == PROTOCOL else PlainEnd(stream)

    async def send() -> None:
        nonlocal sent
        while data := await ends.read():
            await far.write(data)
            sent += len(data)
        await far.end()

    sender = asyncio.create_task(send(), name="pipe to the peer")
    gone = asyncio.create_task(stream.connection.wait_closed(), name="pipe's connection")
    try:
        while data := await far.read():
            await ends.write(data)
            received += len(data)
        await asyncio.wait((sender, gone), return_when=asyncio.FIRST_COMPLETED)
        if sender.done():
            sender.result()
            await far.finish()
    finally:
        for task in (sender, gone):
            task.cancel()
        await asyncio.gather(sender, gone, return_exceptions=True)
    return sent, received
