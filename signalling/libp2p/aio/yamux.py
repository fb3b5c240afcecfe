"""yamux over a secured asyncio transport: a :class:`Muxer` whose streams are :class:`RawStream`.

The muxer is the transport's protocol, so bytes go from the event loop through decryption into the streams' buffers
without a task in between. Writes are gathered and sent once per turn of the loop, and wait while the transport is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque

from signalling.errors import ConnectionClosed, DecodeError, LimitExceeded
from signalling.libp2p.aio.streams import DEFAULT_READ
from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.noise import NoiseTransport
from signalling.libp2p.roles import Role
from signalling.libp2p.yamux import Yamux
from signalling.libp2p.yamux_events import (
    GoAwayReceived,
    SessionEnded,
    StreamOpened,
    StreamReadable,
    StreamWritable,
)
from signalling.libp2p.yamux_stream import YamuxStream

__all__ = ["YamuxMuxer", "YamuxRawStream"]

logger = logging.getLogger("signalling")

_FLUSH_AT = 128 * 1024
"""Queued bytes that are sent at once instead of at the end of the loop's turn."""


class _Waiters:
    """Tasks that wait for the same thing, woken in order."""

    __slots__ = ("_futures", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._futures: deque[asyncio.Future[None]] = deque()

    async def wait(self) -> None:
        future = self._loop.create_future()
        self._futures.append(future)
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():
                self.wake_one()  # the wake-up was ours, and somebody else can use it
            raise
        finally:
            with contextlib.suppress(ValueError):
                self._futures.remove(future)

    def wake_one(self) -> None:
        while self._futures:
            future = self._futures.popleft()
            if not future.done():
                future.set_result(None)
                return

    def wake_all(self) -> None:
        for _ in range(len(self._futures)):
            self.wake_one()


class YamuxRawStream:
    """One yamux stream; a :class:`~signalling.libp2p.aio.streams.RawStream`."""

    __slots__ = ("_muxer", "_readable", "_stream", "_writable")

    def __init__(self, muxer: YamuxMuxer, stream: YamuxStream) -> None:
        self._muxer = muxer
        self._stream = stream
        self._readable: asyncio.Future[None] | None = None
        self._writable: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<YamuxRawStream {self._stream.id}>"

    async def read(self, max_bytes: int = DEFAULT_READ) -> bytes:
        """Return 1 to ``max_bytes`` bytes, or ``b""`` at the end of the stream; see :meth:`RawStream.read`."""
        while True:
            data = self._stream.read(max_bytes)
            if data is not None:
                self._muxer.schedule_flush()
                return data
            self._readable = asyncio.get_running_loop().create_future()
            try:
                await self._readable
            finally:
                self._readable = None

    async def write(self, data: bytes) -> None:
        """Send ``data``; returns when the muxer took it all; see :meth:`RawStream.write`."""
        rest: bytes | memoryview = data if isinstance(data, bytes) else bytes(data)
        muxer, stream = self._muxer, self._stream
        while True:
            while muxer.congested:
                await muxer.drained()
            part = rest if len(rest) <= _FLUSH_AT else memoryview(rest)[:_FLUSH_AT]
            taken = stream.send(part)
            muxer.schedule_flush()
            if taken == len(rest):
                return
            rest = memoryview(rest)[taken:]
            if taken < len(part):
                await self._wait_writable()

    async def _wait_writable(self) -> None:
        """Wait for credit."""
        while self._stream.starved:
            self._writable = asyncio.get_running_loop().create_future()
            try:
                await self._writable
            finally:
                self._writable = None

    async def close_write(self) -> None:
        """Half-close: the peer reads end of stream after what was written."""
        self._stream.close_write()
        self._muxer.schedule_flush()

    async def close_read(self) -> None:
        """Stop reading: what still arrives is thrown away."""
        self._stream.close_read()
        self.wake()
        self._muxer.schedule_flush()

    async def close(self) -> None:
        """Close both halves without losing what was written."""
        self._stream.close_write()
        await self.close_read()

    async def reset(self) -> None:
        """Abort both halves at once."""
        self._stream.reset()
        self.wake()
        self._muxer.schedule_flush()

    def wake(self) -> None:
        """Let waiting calls look again (for the muxer)."""
        self.wake_reader()
        self.wake_writer()

    def wake_reader(self) -> None:
        """Let a waiting read look again (for the muxer)."""
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def wake_writer(self) -> None:
        """Let a waiting write look again (for the muxer)."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)


class YamuxMuxer(asyncio.Protocol):
    """The driver of one :class:`~signalling.libp2p.yamux.Yamux` session over a secured transport.

    It becomes the transport's protocol when it is made; ``received`` is what was already decrypted for it.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        noise: NoiseTransport,
        role: Role,
        received: bytes = b"",
        config: YamuxConfig | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config or YamuxConfig()
        self._transport = transport
        self._noise = noise
        self._session = Yamux(role, self._loop.time(), self._config)
        self._paused = False
        self._flush_scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._drain_waiters = _Waiters(self._loop)
        self._open_waiters = _Waiters(self._loop)
        self._accept_waiters = _Waiters(self._loop)
        self._closed: asyncio.Future[None] = self._loop.create_future()
        transport.set_write_buffer_limits(high=self._config.send_buffer)
        transport.set_protocol(self)
        if received:
            self._session.receive_data(received, self._loop.time())
            self._after_input()
        self._arm_timer()

    @property
    def closed(self) -> bool:
        """Whether no stream can be opened any more."""
        return self._session.going_away

    @property
    def close_reason(self) -> str | None:
        """Why the session is over; None while it lives."""
        return self._session.ended

    async def open_stream(self) -> YamuxRawStream:
        """Open a stream; waits while too many of ours are not acknowledged; see :meth:`Muxer.open_stream`."""
        session = self._session
        while not session.ready_to_open() and not session.going_away:
            if len(session) >= self._config.max_streams:
                raise LimitExceeded(f"{len(session)} streams are open")
            await self._open_waiters.wait()
        stream = self._wrap(session.open_stream())
        self._open_waiters.wake_one()
        self.schedule_flush()
        return stream

    async def accept_stream(self) -> YamuxRawStream:
        """Wait for the next stream that the peer opens; see :meth:`Muxer.accept_stream`."""
        while True:
            stream = self._session.accept(self._loop.time())
            if stream is not None:
                self._accept_waiters.wake_one()
                self._arm_timer()
                return self._wrap(stream)
            if self._session.ended is not None:
                raise ConnectionClosed(self._session.ended)
            await self._accept_waiters.wait()

    async def close(self) -> None:
        """Tell the peer, send what is queued, and close the connection. Harmless twice."""
        self._session.close()
        self._after_input()
        await self.wait_closed()

    async def wait_closed(self) -> None:
        """Return when the connection is gone."""
        await asyncio.shield(self._closed)

    def _wrap(self, stream: YamuxStream) -> YamuxRawStream:
        raw = YamuxRawStream(self, stream)
        stream.owner = raw
        return raw

    @property
    def congested(self) -> bool:
        """Whether the transport is full, so that writers have to wait (for the streams)."""
        return self._paused and self._session.ended is None

    async def drained(self) -> None:
        """Wait for the transport (for the streams)."""
        await self._drain_waiters.wait()

    def schedule_flush(self) -> None:
        """Send what is queued by the end of this turn of the loop, at once when it is much (for the streams)."""
        if self._session.queued_bytes >= _FLUSH_AT:
            self._flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush_scheduled_now)

    def _flush_scheduled_now(self) -> None:
        self._flush_scheduled = False
        self._flush()

    def _flush(self) -> None:
        if self._paused and self._session.ended is None:
            return
        data = self._session.next_effect()
        if data is not None and not self._transport.is_closing():
            self._transport.write(self._noise.encrypt(data))

    def data_received(self, data: bytes) -> None:
        """Take ciphertext from the transport."""
        try:
            parts = self._noise.decrypt(data)
        except DecodeError as error:
            self._session.lose(str(error))
        else:
            now = self._loop.time()
            for part in parts:
                self._session.receive_data(part, now)
        self._after_input()

    def eof_received(self) -> None:
        """The peer closed the byte stream: so do we, as the transport does by itself when this returns None."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone: every stream ends."""
        self._session.lose("the peer closed the connection" if exc is None else f"the connection was lost: {exc}")
        self._after_input()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        """The transport is full: writers wait."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport has room again."""
        self._paused = False
        self._flush()
        if not self._paused:
            self._drain_waiters.wake_all()

    def _after_input(self) -> None:
        """Tell the streams what happened, and send what the session has to say."""
        session = self._session
        while (event := session.next_event()) is not None:
            match event:
                case StreamReadable(YamuxStream(owner=YamuxRawStream() as raw)):
                    raw.wake_reader()
                case StreamWritable(None):
                    self._open_waiters.wake_one()
                case StreamWritable(YamuxStream(owner=YamuxRawStream() as raw)):
                    raw.wake_writer()
                case StreamOpened():
                    self._accept_waiters.wake_one()
                case GoAwayReceived() if not len(session):
                    session.close("the peer closed the connection")
                case SessionEnded(reason):
                    self._shut_down(reason)
        if session.queued_bytes:
            self.schedule_flush()

    def _shut_down(self, reason: str) -> None:
        """Flush, close the transport, and give up on a peer that does not take the rest in time."""
        logger.debug("yamux session over: %s", reason)
        self._flush()
        self._transport.close()
        self._open_waiters.wake_all()
        self._accept_waiters.wake_all()
        self._drain_waiters.wake_all()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._config.close_timeout, self._transport.abort)

    def _arm_timer(self) -> None:
        """Make sure that the timer goes off by the session's deadline; going off too early is harmless."""
        deadline = self._session.next_timeout()
        if deadline is None or (self._timer is not None and self._timer.when() <= deadline.at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline.at, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        self._session.handle_timeout(self._loop.time())
        self._after_input()
        self._arm_timer()
