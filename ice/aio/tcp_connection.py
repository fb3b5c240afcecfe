"""One TCP connection of a session: RFC 4571 frames in and out with few copies and few system calls.

asyncio's transports hand on what they read piece by piece and make a system call for each write. Here a wake-up reads
as much as there is into one buffer that all connections of a loop share, frames are cut out of it with a single copy
each, and what is sent in one turn of the loop after the first packet leaves together. A connection holds no more than
the beginning of a frame whose rest has not come.
"""

from __future__ import annotations

import asyncio
import mmap
import socket
from collections.abc import Callable
from weakref import WeakKeyDictionary

from ice.tcp import Framing
from ice.tcp_config import TcpConfig
from stun.errors import StunFramingError
from stun.framing import StunStreamDecoder

__all__ = ["TcpConnection"]

_SHARED_BUFFER = 256 * 1024
_FRAMES_A_TURN = 256
_FLUSH_AT = 64 * 1024
_LINGER = 2.0
# From so many bytes a buffer on it is cheaper to let the kernel collect them than to copy them together first.
_GATHER_FROM = 2048 if hasattr(socket.socket, "sendmsg") else 1 << 30

Receiver = Callable[[bytes], None]
"""Takes one packet; must not raise."""


class _Scratch:
    """What the connections of one loop read into, one after the other: nothing stays in it beyond a wake-up."""

    __slots__ = ("__weakref__", "buffer", "view")

    def __init__(self) -> None:
        self.buffer = mmap.mmap(-1, _SHARED_BUFFER)  # Of which only what has been used takes memory.
        self.view = memoryview(self.buffer)

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> _Scratch:
        """Return that of a loop."""
        scratch = _SCRATCHES.get(loop)
        if scratch is None:
            scratch = _SCRATCHES[loop] = cls()
        return scratch


_SCRATCHES: WeakKeyDictionary[asyncio.AbstractEventLoop, _Scratch] = WeakKeyDictionary()


class TcpConnection:
    """A connected, non-blocking socket that is ours from now on.

    Args:
        connected: the socket.
        receiver: takes each packet; an empty frame is none (RFC 4571 section 2).
        gone: called once when the peer or the network ends the connection; not after our :meth:`close`.
        framing: how packets lie in the bytes.
        config: sizes.
        loop: the loop that watches the socket.
    """

    __slots__ = (
        "_backlog",
        "_closed",
        "_closing",
        "_corked",
        "_decoder",
        "_gone",
        "_held",
        "_held_size",
        "_limit",
        "_linger",
        "_loop",
        "_max_packet",
        "_receiver",
        "_rest",
        "_scratch",
        "_socket",
        "_writing",
        "dropped",
    )

    def __init__(
        self,
        connected: socket.socket,
        receiver: Receiver,
        gone: Callable[[], None],
        framing: Framing,
        config: TcpConfig,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.dropped = 0
        """Packets that were not sent because too much waited already."""
        self._socket = connected
        self._receiver = receiver
        self._gone = gone
        self._limit = config.max_write_buffer
        self._max_packet = config.max_packet
        self._loop = loop
        self._decoder = StunStreamDecoder() if framing is Framing.STUN else None
        self._scratch = _Scratch.of(loop)
        self._rest = b""  # What was read and not handed on: less than a frame, or more where readers have to catch up.
        self._held: list[bytes] = []
        self._held_size = 0
        self._corked = False
        self._backlog = bytearray()
        self._writing = False
        self._closing = False
        self._closed = False
        self._linger: asyncio.TimerHandle | None = None
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop.add_reader(connected.fileno(), self._readable)

    # -- out --

    def send(self, packet: bytes, extra: int = 0) -> bool:
        """Send one packet; False when it was dropped: closed, too long, or more than the limit and ``extra`` waits."""
        size = len(packet)
        waiting = self._held_size + size
        if waiting + len(self._backlog) > self._limit + extra or size > 0xFFFF or self._closing:
            self.dropped += 1
            return False
        held = self._held
        if self._decoder is None:
            held.append(size.to_bytes(2, "big"))
        held.append(packet)
        self._held_size = waiting + 2
        if not self._corked:
            self._corked = True
            self._loop.call_soon(self._uncork)
            self._flush()
        elif waiting >= _FLUSH_AT:
            self._flush()
        return True

    def send_check(self, packet: bytes) -> bool:
        """As :meth:`send`, for STUN, which is not dropped before twice as much waits."""
        return self.send(packet, self._limit)

    def _uncork(self) -> None:
        self._corked = False
        if self._held:
            self._flush()

    def _flush(self) -> None:
        if self._closed:
            return
        held, self._held = self._held, []
        size, self._held_size = self._held_size, 0
        if self._backlog:
            self._backlog += b"".join(held)
            return
        try:
            if size >= _GATHER_FROM * len(held):
                sent, data = self._socket.sendmsg(held), None
            else:
                data = b"".join(held)
                sent = self._socket.send(data)
        except BlockingIOError:
            sent, data = 0, None
        except OSError:
            self._lost()
            return
        if sent < size:
            self._backlog += (b"".join(held) if data is None else data)[sent:]
            if self._backlog:
                self._watch_writing(True)

    def _writable(self) -> None:
        try:
            sent = self._socket.send(self._backlog)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        del self._backlog[:sent]
        if not self._backlog:
            self._watch_writing(False)
            if self._linger is not None:
                self._free()

    def _watch_writing(self, wanted: bool) -> None:
        if wanted is self._writing:
            return
        self._writing = wanted
        if wanted:
            self._loop.add_writer(self._socket.fileno(), self._writable)
        else:
            self._loop.remove_writer(self._socket.fileno())

    # -- in --

    def _readable(self) -> None:
        view, kept = self._scratch.view, self._restore()
        try:
            count = self._socket.recv_into(view[kept:])
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if count == 0:
            self._lost()
        elif self._decoder is not None:
            self._cut_messages(self._decoder, bytes(view[:count]))
        else:
            self._cut(kept + count)

    def _restore(self) -> int:
        """Lay what was kept at the front of the buffer, and return its length."""
        kept = len(self._rest)
        if kept:
            self._scratch.view[:kept] = self._rest
        return kept

    def _cut_messages(self, decoder: StunStreamDecoder, data: bytes) -> None:
        try:
            messages = decoder.receive(data)
        except StunFramingError:
            self._lost()
            return
        for message in messages:
            self._receiver(message)

    def _cut(self, end: int) -> None:
        """Hand on the frames that are complete, so many a turn of the loop that readers keep up."""
        buffer, view, receiver, limit = self._scratch.buffer, self._scratch.view, self._receiver, self._max_packet
        start = 0
        for _ in range(_FRAMES_A_TURN):
            if end - start < 2:
                break
            size = buffer[start] << 8 | buffer[start + 1]
            stop = start + 2 + size
            if size > limit:
                self._lost()
                return
            if stop > end:
                break
            if size:
                receiver(bytes(view[start + 2 : stop]))
                if self._closing:
                    return
            start = stop
        else:
            self._loop.remove_reader(self._socket.fileno())
            self._loop.call_soon(self._go_on)
        self._rest = bytes(view[start:end])

    def _go_on(self) -> None:
        if not self._closing:
            self._loop.add_reader(self._socket.fileno(), self._readable)
            self._cut(self._restore())

    # -- the end --

    def _lost(self) -> None:
        if self._closed:
            return
        was_closing = self._closing
        self._free()
        if not was_closing:
            self._gone()

    def close(self) -> None:
        """Close after what was sent, or a little later if the peer does not read; harmless twice."""
        if self._closing:
            return
        self._closing = True
        if self._held:
            self._flush()
        if self._closed:
            return
        if not self._backlog:
            self._free()
            return
        self._loop.remove_reader(self._socket.fileno())
        self._linger = self._loop.call_later(_LINGER, self._free)

    def _free(self) -> None:
        if self._closed:
            return
        self._closing = self._closed = True
        if self._linger is not None:
            self._linger.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
            self._watch_writing(False)
        self._socket.close()
