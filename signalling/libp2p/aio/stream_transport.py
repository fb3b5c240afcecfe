"""An asyncio transport over any raw stream, so that a relayed pipe or a WebSocket is upgraded as TCP is."""

from __future__ import annotations

import asyncio
from typing import Any

from signalling.libp2p.aio.streams import RawStream

__all__ = ["StreamTransport"]

_HIGH_WATER = 64 * 1024


class StreamTransport(asyncio.Transport):
    """Feeds an :class:`asyncio.Protocol` from a raw stream, and writes to the stream in order with back-pressure."""

    def __init__(self, stream: RawStream, protocol: asyncio.BaseProtocol) -> None:
        """Take over ``stream``; ``protocol`` is told of the connection in this turn of the loop."""
        super().__init__()
        self._stream = stream
        self._protocol = protocol
        self._high = _HIGH_WATER
        self._low = _HIGH_WATER // 4
        self._pending = bytearray()
        self._paused = False
        self._closing = False
        self._aborted = False
        self._lost = False
        self._writer_runs = False
        self._readable = asyncio.Event()
        self._readable.set()
        self._writable = asyncio.Event()
        protocol.connection_made(self)
        self._reader = asyncio.create_task(self._read_loop(), name="stream transport reader")
        self._writer = asyncio.create_task(self._write_loop(), name="stream transport writer")

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``default``: a stream has no socket."""
        return default

    def is_closing(self) -> bool:
        """Whether :meth:`close` or :meth:`abort` was called, or the stream ended."""
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take over."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol in charge."""
        return self._protocol

    def is_reading(self) -> bool:
        """Whether data is being delivered."""
        return self._readable.is_set() and not self._closing

    def pause_reading(self) -> None:
        """Deliver nothing more until :meth:`resume_reading`; one chunk may still be under way."""
        self._readable.clear()

    def resume_reading(self) -> None:
        """Deliver again."""
        self._readable.set()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the bytes of unsent data at which the protocol is paused and resumed."""
        self._high = _HIGH_WATER if high is None else high
        self._low = self._high // 4 if low is None else low

    def get_write_buffer_size(self) -> int:
        """Return the bytes that wait for the stream."""
        return len(self._pending)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return self._low, self._high

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue ``data``."""
        if self._closing or not data:
            return
        self._pending += data
        self._writable.set()
        if len(self._pending) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return False: closing closes both halves."""
        return False

    def close(self) -> None:
        """Send what is queued, then close the stream."""
        if not self._closing:
            self._closing = True
            self._reader.cancel()
            self._writable.set()

    def abort(self) -> None:
        """Reset the stream; what is queued is lost."""
        if self._aborted:
            return
        self._closing = self._aborted = True
        self._pending.clear()
        self._reader.cancel()
        if self._writer_runs:  # a task cancelled before its first step would never give the stream back
            self._writer.cancel()

    async def _read_loop(self) -> None:
        error: ConnectionError | None = None
        try:
            while True:
                await self._readable.wait()
                data = await self._stream.read()
                if self._closing:
                    return
                if not data:
                    break
                protocol = self._protocol
                if isinstance(protocol, asyncio.Protocol):
                    protocol.data_received(data)
        except ConnectionError as exc:
            error = exc
        if not self._closing:
            self._closing = True
            if error is not None:
                self._pending.clear()
            self._writable.set()
            self._end(error)

    async def _write_loop(self) -> None:
        """Write until the transport closes, then give the stream back and tell the protocol."""
        error: ConnectionError | None = None
        finished = False
        self._writer_runs = True
        try:
            if not self._aborted:
                await self._drain()
                await self._stream.close()
                finished = True
        except ConnectionError as exc:
            error = exc
        except asyncio.CancelledError:
            if not self._aborted:
                raise
        finally:
            self._closing = True
            self._reader.cancel()
            if not finished:
                await self._stream.reset()
            self._end(error)

    async def _drain(self) -> None:
        """Send what is queued, until the transport closes and nothing is left."""
        while self._pending or not self._closing:
            if not self._pending:
                self._writable.clear()
                await self._writable.wait()
                continue
            data = bytes(self._pending)
            self._pending.clear()
            await self._stream.write(data)
            if self._paused and len(self._pending) <= self._low:
                self._paused = False
                self._protocol.resume_writing()

    def _end(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(error)
