"""A yamux session without I/O: many streams over one byte stream, each with its own flow control.

A byte-stream machine: feed :meth:`Yamux.receive_data`, send what :meth:`Yamux.next_effect` returns, drain the events.
Application data are not events: an event says that a stream *became* readable, and the stream is then read.
"""

from __future__ import annotations

from collections import deque

from signalling.errors import ConnectionClosed, LimitExceeded
from signalling.libp2p import yamux_events as event
from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.roles import Role
from signalling.libp2p.yamux_frames import (
    ACK,
    FIN,
    HEADER,
    HEADER_SIZE,
    MAX_LENGTH,
    RST,
    SYN,
    VERSION,
    FrameType,
    GoAwayCode,
)
from signalling.libp2p.yamux_keepalive import Keepalive
from signalling.libp2p.yamux_output import FrameQueue
from signalling.libp2p.yamux_stream import YamuxStream
from stun.machine import Deadline, earliest

__all__ = ["YAMUX_PROTOCOL", "Yamux"]

YAMUX_PROTOCOL = "/yamux/1.0.0"


class Yamux:
    """One side of a session."""

    def __init__(self, role: Role, now: float, config: YamuxConfig | None = None) -> None:
        """Start a session at ``now``; the initiator opens odd streams, the responder even ones."""
        self.config = config or YamuxConfig()
        self.events: deque[event.YamuxEvent] = deque()
        self.ended: str | None = None
        """Why the session is over; None while it lives."""
        self.buffered = 0
        """Unread bytes over all streams."""
        self.refused_streams = 0
        """Streams of the peer that were reset because of a limit."""
        self.dropped_frames = 0
        """Frames for streams that are gone."""
        self._output = FrameQueue(self.config.max_frame)
        self._lingering: dict[YamuxStream, float] = {}
        self._now = now
        self._streams: dict[int, YamuxStream] = {}
        self._backlog: deque[YamuxStream] = deque()
        self._unacknowledged = 0
        self._opening_wanted = False
        self._owed_acks: dict[YamuxStream, float] = {}
        self._next_id = 1 if role is Role.INITIATOR else 2
        self._remote_parity = 0 if role is Role.INITIATOR else 1
        self._going_away = False
        self._header = bytearray()
        self._payload_left = 0
        self._payload_stream: YamuxStream | None = None
        self._payload_fin = False
        self._keepalive = Keepalive(self.config, now)

    def __len__(self) -> int:
        """Return how many streams are open."""
        return len(self._streams)

    def ready_to_open(self) -> bool:
        """Whether :meth:`open_stream` succeeds now; if not, a ``StreamWritable(None)`` says when to ask again."""
        ready = (
            self.ended is None
            and not self._going_away
            and self._unacknowledged < self.config.max_unacknowledged
            and len(self._streams) < self.config.max_streams
        )
        self._opening_wanted = self._opening_wanted or not ready
        return ready

    @property
    def queued_bytes(self) -> int:
        """Bytes that :meth:`next_effect` is going to return."""
        return self._output.queued_bytes

    @property
    def going_away(self) -> bool:
        """Whether the peer said that it takes no new streams, or the session is over."""
        return self._going_away or self.ended is not None

    def open_stream(self) -> YamuxStream:
        """Open a stream; its SYN rides on its first data if that is sent before the next :meth:`next_effect`.

        Raises:
            ConnectionClosed: the session is over, or the peer takes no new streams.
            LimitExceeded: too many streams are open or not acknowledged.
        """
        if self.ended is not None:
            raise ConnectionClosed(self.ended)
        if self._going_away or self._next_id > MAX_LENGTH:
            raise ConnectionClosed("the peer takes no new streams")
        if not self.ready_to_open():
            raise LimitExceeded(f"{len(self._streams)} streams are open, {self._unacknowledged} not acknowledged")
        stream = YamuxStream(self, self._next_id, SYN)
        self._next_id += 2
        self._streams[stream.id] = stream
        self._unacknowledged += 1
        self._owed_acks[stream] = 0.0
        return stream

    def accept(self, now: float) -> YamuxStream | None:
        """Return the oldest stream that the peer opened and nobody accepted, or None.

        Its acknowledgement rides on the first data, or goes out by itself after ``config.ack_delay``.
        """
        while self._backlog:
            stream = self._backlog.popleft()
            if stream.reset_reason is None:
                if stream.flags:
                    self._owed_acks[stream] = now + self.config.ack_delay
                return stream
        return None

    @property
    def round_trip(self) -> float | None:
        """Seconds that the last answered keepalive ping took; None before the first."""
        return self._keepalive.round_trip

    def close(self, reason: str = "the connection was closed by us") -> None:
        """End the session: every stream that is not finished breaks off. Harmless twice."""
        self._end(reason, GoAwayCode.NORMAL)

    def lose(self, reason: str) -> None:
        """End the session because the connection below it is gone or of no use. Harmless twice."""
        self._end(reason, None)

    def next_event(self) -> event.YamuxEvent | None:
        """Return and remove the oldest event, or None."""
        return self.events.popleft() if self.events else None

    def next_effect(self) -> bytes | None:
        """Return and remove everything that is to be sent, or None when there is nothing."""
        self._flush_flags(0.0)
        return self._output.take()

    def next_timeout(self) -> Deadline | None:
        """When an acknowledgement, a ping or the end of a silent peer or stream is due."""
        if self.ended is not None:
            return None
        deadline: Deadline | None = self._keepalive.next_timeout()
        if self._owed_acks:
            deadline = earliest(deadline, Deadline(next(iter(self._owed_acks.values())), "yamux acknowledgement"))
        if self._lingering:
            deadline = earliest(deadline, Deadline(next(iter(self._lingering.values())), "yamux lingering stream"))
        return deadline

    def handle_timeout(self, now: float) -> None:
        """Do what is due at ``now``."""
        if self.ended is not None:
            return
        self._now = now
        self._flush_flags(now)
        for stream, due in list(self._lingering.items()):
            if due > now:
                break
            self.queue_frame(FrameType.WINDOW_UPDATE, RST, stream.id, 0)
            self._forget(stream)
        if self._keepalive.expired(now):
            self._end("the peer does not answer", GoAwayCode.NORMAL)
        elif (opaque := self._keepalive.next_ping(now)) is not None:
            self.queue_frame(FrameType.PING, SYN, 0, opaque)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what arrived; ``b""`` is the end of the byte stream. Ignored once the session is over."""
        if not data:
            self.lose("the peer closed the connection")
        self._now = now
        self._keepalive.heard(now)
        offset, size = 0, len(data)
        while offset < size and self.ended is None:
            if self._payload_left:
                offset = self._receive_payload(data, offset)
            elif self._header or size - offset < HEADER_SIZE:
                take = HEADER_SIZE - len(self._header)
                self._header += data[offset : offset + take]
                offset += take
                if len(self._header) == HEADER_SIZE:
                    header, self._header = self._header, bytearray()
                    self._receive_header(header, 0, now)
            else:
                self._receive_header(data, offset, now)
                offset += HEADER_SIZE

    def _receive_header(self, data: bytes | bytearray, offset: int, now: float) -> None:
        version, kind, flags, stream_id, length = HEADER.unpack_from(data, offset)
        if version != VERSION:
            self._violated(f"version {version}")
        elif kind == FrameType.DATA or kind == FrameType.WINDOW_UPDATE:
            self._receive_stream_frame(kind, flags, stream_id, length)
        elif kind == FrameType.PING:
            self._receive_ping(flags, length, now)
        elif kind == FrameType.GO_AWAY:
            self._receive_go_away(length)
        else:
            self._violated(f"a frame of type {kind}")

    def _receive_stream_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        stream = self._streams.get(stream_id)
        if flags & SYN:
            if stream is not None or stream_id == 0 or stream_id & 1 != self._remote_parity:
                self._violated(f"a new stream with the id {stream_id}")
                return
            stream = self._admit(stream_id)
        if kind == FrameType.DATA:
            if stream is not None and length > stream.receive_window:
                self._violated(f"{length} bytes on stream {stream_id} exceed its window of {stream.receive_window}")
                return
            self._payload_left = length
            self._payload_stream = None if stream is None or stream.remote_closed else stream
            self._payload_fin = bool(flags & FIN)
        if stream is None:
            self._receive_for_nobody(kind, flags, stream_id, length)
            return
        if flags & ACK and not stream.acknowledged:
            self._acknowledge(stream)
        if flags & RST:
            self._payload_stream = None
            stream.broke_off("the peer reset the stream")
            self._wake(stream)
            self.settle(stream)
            return
        if kind == FrameType.WINDOW_UPDATE:
            self._widen(stream, length)
        if flags & FIN and not self._payload_left:
            self._finish(stream)

    def _admit(self, stream_id: int) -> YamuxStream | None:
        """Return the peer's new stream, or None after refusing it."""
        full = len(self._streams) >= self.config.max_streams or len(self._backlog) >= self.config.max_unaccepted
        if full:
            self.refused_streams += 1
            self._answer(FrameType.WINDOW_UPDATE, RST, stream_id, 0)
            return None
        stream = YamuxStream(self, stream_id, ACK)
        stream.acknowledged = True
        self._streams[stream_id] = stream
        self._backlog.append(stream)
        self.events.append(event.StreamOpened())
        return stream

    def _receive_for_nobody(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """Take a frame of a stream that is gone; a peer that still sends data learns that nobody reads it."""
        self.dropped_frames += 1
        if kind == FrameType.DATA and length and not flags & (SYN | FIN | RST):
            self._answer(FrameType.WINDOW_UPDATE, RST, stream_id, 0)

    def _receive_payload(self, data: bytes, offset: int) -> int:
        """Hand on what has arrived of the current frame's payload; return where the rest of ``data`` starts."""
        part = data[offset : offset + self._payload_left]
        self._payload_left -= len(part)
        stream = self._payload_stream
        if stream is not None and stream.reset_reason is None:
            stream.receive_window -= len(part)
            self._deliver(stream, part)
            if self._payload_fin and not self._payload_left and stream.reset_reason is None:
                self._finish(stream)
        return offset + len(part)

    def _deliver(self, stream: YamuxStream, data: bytes) -> None:
        if stream.stopped_reading:
            self._credit(stream)
            return
        if self.buffered + len(data) > self.config.max_session_buffer:
            stream.reset("too much unread data in this session")
            self._wake(stream)
            return
        self.buffered += len(data)
        if not stream.buffered:
            self.events.append(event.StreamReadable(stream))
        stream.deliver(data)

    def _finish(self, stream: YamuxStream) -> None:
        if not stream.remote_closed:
            stream.remote_closed = True
            if not stream.buffered:
                self.events.append(event.StreamReadable(stream))
            self.settle(stream)

    def _widen(self, stream: YamuxStream, credit: int) -> None:
        stream.send_window += credit
        if stream.starved and credit:
            stream.starved = False
            self.events.append(event.StreamWritable(stream))

    def _acknowledge(self, stream: YamuxStream) -> None:
        stream.acknowledged = True
        self._unacknowledged -= 1
        self._may_open()

    def _may_open(self) -> None:
        if self._opening_wanted and self._unacknowledged < self.config.max_unacknowledged:
            self._opening_wanted = False
            self.events.append(event.StreamWritable(None))

    def _receive_ping(self, flags: int, opaque: int, now: float) -> None:
        if flags & SYN:
            self._answer(FrameType.PING, ACK, 0, opaque)
        elif flags & ACK:
            self._keepalive.answered(opaque, now)

    def _receive_go_away(self, code: int) -> None:
        if code == GoAwayCode.NORMAL:
            if not self._going_away:
                self._going_away = True
                self.events += (event.GoAwayReceived(), event.StreamWritable(None))
        else:
            self._end(f"the peer ended the session with code {code}", None)

    def queue_frame(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """Queue a frame without payload (for the streams)."""
        if self.ended is None:
            self._output.frame(kind, flags, stream_id, length)

    def queue_data(self, stream: YamuxStream, data: bytes | memoryview) -> None:
        """Queue data frames (for the streams); an empty ``data`` sends nothing."""
        if data:
            self._output.data(stream.take_flags(), stream.id, data)

    def _answer(self, kind: int, flags: int, stream_id: int, length: int) -> None:
        """Queue a frame that the peer provoked; a peer that provokes many and reads none is cut off."""
        if self._output.answer(kind, flags, stream_id, length) > self.config.max_pending_answers:
            self._end("the peer does not read our answers", GoAwayCode.PROTOCOL_ERROR)

    def _flush_flags(self, now: float) -> None:
        """Send SYN and ACK of the streams that had no data to carry them: SYN at once, ACK when it is due."""
        for stream, due in list(self._owed_acks.items()) if self._owed_acks else ():
            if not stream.flags:
                del self._owed_acks[stream]
            elif due <= now:
                del self._owed_acks[stream]
                self.queue_frame(FrameType.WINDOW_UPDATE, stream.take_flags(), stream.id, 0)

    def consumed(self, stream: YamuxStream, count: int) -> None:
        """Note that ``count`` unread bytes are gone (for the streams)."""
        self.buffered -= count
        self._credit(stream)
        self.settle(stream)

    def _credit(self, stream: YamuxStream) -> None:
        credit = stream.top_up(self.config.max_session_buffer - self.buffered) if self.ended is None else 0
        if credit:
            self.queue_frame(FrameType.WINDOW_UPDATE, stream.take_flags(), stream.id, credit)

    def settle(self, stream: YamuxStream) -> None:
        """Forget ``stream`` if it is over: reset, or closed by both sides and read to its end (for the streams).

        One that we closed both ways and the peer did not close lingers, so that the peer can finish in peace.
        """
        if stream.reset_reason is not None or (stream.write_closed and stream.remote_closed and not stream.buffered):
            self._forget(stream)
        elif stream.write_closed and stream.stopped_reading and self.ended is None:
            self._lingering.setdefault(stream, self._now + self.config.linger)

    def _forget(self, stream: YamuxStream) -> None:
        if self._streams.pop(stream.id, None) is None:
            return
        self._owed_acks.pop(stream, None)
        self._lingering.pop(stream, None)
        if not stream.acknowledged:
            stream.acknowledged = True
            self._unacknowledged -= 1
        self._may_open()

    def _wake(self, stream: YamuxStream) -> None:
        self.events += (event.StreamReadable(stream), event.StreamWritable(stream))

    def _violated(self, what: str) -> None:
        self._end(f"the peer broke the yamux protocol: {what}", GoAwayCode.PROTOCOL_ERROR)

    def _end(self, reason: str, code: GoAwayCode | None) -> None:
        """End the session; ``code`` is told to the peer, None when there is no point."""
        if self.ended is not None:
            return
        if code is not None:
            self._flush_flags(0.0)
            self.queue_frame(FrameType.GO_AWAY, 0, 0, code)
        self.ended = reason
        for stream in self._streams.values():
            if stream.reset_reason is None and not (stream.write_closed and stream.remote_closed):
                stream.broke_off(reason, keep_unread=True)
            self._wake(stream)
        self._streams.clear()
        self._backlog.clear()
        self._owed_acks.clear()
        self._lingering.clear()
        self._unacknowledged = 0
        self.events += (event.StreamWritable(None), event.SessionEnded(reason, code or GoAwayCode.NORMAL))
