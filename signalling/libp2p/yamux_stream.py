"""One stream of a yamux session: its two windows, its unread bytes and its two halves."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from signalling.errors import StreamClosed, StreamReset
from signalling.libp2p.yamux_frames import FIN, RST, SYN, FrameType

if TYPE_CHECKING:
    from signalling.libp2p.yamux import Yamux

__all__ = ["YamuxStream"]

_COALESCE = 4096
"""Bytes up to which chunks are merged, so that a peer that sends single bytes costs us no object for each."""


class YamuxStream:
    """A stream, as the session's owner handles it. Made only by :class:`~signalling.libp2p.yamux.Yamux`.

    Nothing here waits: :meth:`send` says how much the window took, :meth:`read` returns None when nothing is there,
    and the session's events say when to try again.
    """

    __slots__ = (
        "_chunks",
        "_session",
        "_target",
        "acknowledged",
        "buffered",
        "flags",
        "id",
        "owner",
        "receive_window",
        "remote_closed",
        "reset_reason",
        "send_window",
        "starved",
        "stopped_reading",
        "write_closed",
    )

    def __init__(self, session: Yamux, stream_id: int, flags: int) -> None:
        """``flags`` ride on the next frame that is sent: SYN on our streams, ACK on the peer's."""
        self._session = session
        self._chunks: deque[bytes | bytearray] = deque()
        self._target = session.config.initial_window
        self.id = stream_id
        self.owner: object = None
        """Whatever the driver ties to the stream."""
        self.flags = flags
        self.acknowledged = False
        self.send_window = session.config.initial_window
        self.receive_window = session.config.initial_window
        self.buffered = 0
        """Bytes that arrived and are unread."""
        self.write_closed = False
        """We sent FIN."""
        self.remote_closed = False
        """The peer sent FIN."""
        self.stopped_reading = False
        """We no longer want what the peer sends."""
        self.starved = False
        """The owner was told that the window is shut, and is owed an event when it opens."""
        self.reset_reason: str | None = None
        """Why the stream broke off, if it did."""

    def __repr__(self) -> str:
        return f"<YamuxStream {self.id}>"

    @property
    def readable(self) -> bool:
        """Whether :meth:`read` returns or raises at once, rather than None."""
        return bool(self.buffered or self.remote_closed or self.stopped_reading or self.reset_reason is not None)

    def read(self, max_bytes: int) -> bytes | None:
        """Return up to ``max_bytes`` bytes, ``b""`` at the end of the stream, None when there is nothing yet.

        Raises:
            StreamReset: the stream broke off, and everything that arrived before is read.
            StreamClosed: :meth:`close_read` was called.
        """
        if not self._chunks:
            if self.stopped_reading:
                raise StreamClosed("the stream was closed for reading")
            if self.remote_closed:
                return b""
            if self.reset_reason is not None:
                raise StreamReset(self.reset_reason)
            return None
        data = self._take(max_bytes)
        self.buffered -= len(data)
        self._session.consumed(self, len(data))
        return data

    def _take(self, max_bytes: int) -> bytes:
        chunk = self._chunks[0]
        if len(chunk) > max_bytes:
            if isinstance(chunk, bytes):
                chunk = self._chunks[0] = bytearray(chunk)  # whose front is cut off without moving the rest
            data = bytes(chunk[:max_bytes])
            del chunk[:max_bytes]
            return data
        self._chunks.popleft()
        return bytes(chunk)

    def deliver(self, data: bytes) -> None:
        """Queue what the peer sent (for the session; the window is already charged)."""
        self.buffered += len(data)
        if len(data) >= _COALESCE:
            self._chunks.append(data)
            return
        last = self._chunks[-1] if self._chunks else None
        if isinstance(last, bytearray) and len(last) + len(data) <= 16 * _COALESCE:
            last += data
        else:
            self._chunks.append(bytearray(data))

    def send(self, data: bytes | memoryview) -> int:
        """Queue as much of ``data`` as the window takes; return how many bytes that was.

        When it is less than all, a ``StreamWritable`` event says when to go on.

        Raises:
            StreamReset: the stream broke off.
            StreamClosed: :meth:`close_write` was called.
        """
        if self.reset_reason is not None:
            raise StreamReset(self.reset_reason)
        if self.write_closed:
            raise StreamClosed("the stream was closed for writing")
        taken = min(len(data), self.send_window)
        self.starved = taken < len(data)
        self.send_window -= taken
        self._session.queue_data(self, data if taken == len(data) else memoryview(data)[:taken])
        return taken

    def close_write(self) -> None:
        """Half-close: send FIN. Harmless twice and after a reset."""
        if self.write_closed or self.reset_reason is not None:
            return
        self.write_closed = True
        self.starved = False
        self._session.queue_frame(FrameType.WINDOW_UPDATE, self.take_flags() | FIN, self.id, 0)
        self._session.settle(self)

    def close_read(self) -> None:
        """Throw away what is unread and what still comes. Harmless twice and after a reset."""
        if self.stopped_reading:
            return
        self.stopped_reading = True
        self._discard()
        self._session.settle(self)

    def reset(self, reason: str = "the stream was reset by us") -> None:
        """Abort both halves: send RST. Harmless twice, and on a stream that is over."""
        if self.reset_reason is not None:
            return
        if self.write_closed and (self.remote_closed or self.stopped_reading):
            self.stopped_reading = True
            self._discard()
            self._session.settle(self)
            return
        owed = self.take_flags()
        if not owed & SYN:  # the peer has never heard of a stream whose SYN is still owed
            self._session.queue_frame(FrameType.WINDOW_UPDATE, owed | RST, self.id, 0)
        self.broke_off(reason)
        self._session.settle(self)

    def broke_off(self, reason: str, *, keep_unread: bool = False) -> None:
        """Note that the stream is dead (for the session)."""
        self.reset_reason = reason
        self.starved = False
        if not keep_unread:
            self._discard()

    def _discard(self) -> None:
        dropped, self.buffered = self.buffered, 0
        self._chunks.clear()
        self._session.consumed(self, dropped)

    def take_flags(self) -> int:
        """Return SYN or ACK if it is still owed, once (for the session)."""
        flags, self.flags = self.flags, 0
        return flags

    def top_up(self, room: int) -> int:
        """Return how much credit the peer is due now, 0 for not yet (for the session).

        Window and unread bytes together never exceed the target. The target doubles, within ``room`` more bytes and the
        configured maximum, whenever the reader has emptied the stream by the time that half of the window is used up.
        """
        delta = self._target - self.receive_window - self.buffered
        if delta < self._target // 2 or self.remote_closed or self.reset_reason is not None:
            return 0
        if self.buffered == 0:
            growth = min(self._target, self._session.config.max_window - self._target, room)
            if growth > 0:
                self._target += growth
                delta += growth
        self.receive_window += delta
        return delta
