"""One libp2p stream on a data channel, without I/O: two halves that close on their own, and RESET.

The states are those of the libp2p WebRTC specification: a half is closed for good when FIN was answered with FIN_ACK,
and the channel is closed when both halves are. A peer that never answers is given ``fin_ack_timeout``.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass

from stun.machine import Deadline, Outbox, earliest
from webrtc_bridge.config import StreamConfig
from webrtc_bridge.errors import FramingError
from webrtc_bridge.framing import Flag, Frame, FrameDecoder, encode_frame, payload_limit

__all__ = [
    "CloseChannel",
    "DataReceived",
    "ReadFinished",
    "ReadState",
    "SendMessage",
    "StreamMachine",
    "WasReset",
    "WriteFinished",
    "WriteLost",
    "WriteState",
    "WriteStopped",
]


class ReadState(enum.Enum):
    """The half that brings the peer's data."""

    OPEN = "open"
    STOPPED = "we sent STOP_SENDING and wait for the peer's FIN"
    FINISHED = "the peer sent FIN"
    RESET = "reset"


class WriteState(enum.Enum):
    """The half that takes our data."""

    OPEN = "open"
    FIN_SENT = "we sent FIN and wait for FIN_ACK"
    FINISHED = "the peer has all we wrote, or will never say so"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class SendMessage:
    """Effect: send this as one binary message on the channel."""

    data: bytes


@dataclass(frozen=True, slots=True)
class CloseChannel:
    """Effect: close the channel once what was sent is out; ``at_once`` drops what waits, except the last message."""

    at_once: bool = False


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Event: the peer sent these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ReadFinished:
    """Event: the peer closed its writing half; no more data comes."""


@dataclass(frozen=True, slots=True)
class WriteStopped:
    """Event: the peer reads no more; our writing half was closed with a FIN."""


@dataclass(frozen=True, slots=True)
class WriteFinished:
    """Event: our writing half is closed for good; ``acknowledged`` tells whether the peer said so in time."""

    acknowledged: bool


@dataclass(frozen=True, slots=True)
class WriteLost:
    """Event: our writing half is dead, and why; what the peer wrote, and finished, is not."""

    reason: str


@dataclass(frozen=True, slots=True)
class WasReset:
    """Event: both halves are dead, and why."""

    reason: str


Effect = SendMessage | CloseChannel
Event = DataReceived | ReadFinished | WriteStopped | WriteFinished | WriteLost | WasReset


class StreamMachine:
    """The state of one stream; the owner executes effects and hands channel messages in."""

    def __init__(self, config: StreamConfig | None = None) -> None:
        self._config = config or StreamConfig()
        self._decoder = FrameDecoder(self._config.max_received_frame)
        self._payload = payload_limit(self._config.max_frame)
        self._outbox: Outbox[Effect, Event] = Outbox()
        self._fin_ack_by: Deadline | None = None
        self._fin_by: Deadline | None = None
        self._channel_closed = False
        self.read_state = ReadState.OPEN
        self.write_state = WriteState.OPEN
        self.counters: Counter[str] = Counter()
        """What was passed over, by reason."""

    @property
    def buffered(self) -> int:
        """Bytes held of a frame that is not complete yet."""
        return len(self._decoder)

    @property
    def done(self) -> bool:
        """Whether the channel is closed or about to be: nothing more will come of this stream."""
        return self._channel_closed

    @property
    def max_payload(self) -> int:
        """Bytes of data that one frame takes."""
        return self._payload

    def next_effect(self) -> Effect | None:
        """Return the next thing to do, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> Event | None:
        """Return the next thing to know, or None."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when ``handle_timeout`` is wanted, or None for never."""
        return None if self._channel_closed else earliest(self._fin_ack_by, self._fin_by)

    def handle_timeout(self, now: float) -> None:
        """Give up waiting for FIN_ACK or FIN when their time is over; calling early is harmless."""
        if self._channel_closed:
            return
        if self._fin_ack_by is not None and now >= self._fin_ack_by.at:
            self._finish_writing(acknowledged=False)
        if self._fin_by is not None and now >= self._fin_by.at:
            self._fin_by = None
            if self.read_state is ReadState.STOPPED:
                self.read_state = ReadState.FINISHED
        self._close_when_finished()

    def send(self, data: bytes) -> None:
        """Send up to :attr:`max_payload` bytes as one frame.

        Raises:
            RuntimeError: the writing half is not open, or ``data`` is longer than a frame takes.
        """
        if self.write_state is not WriteState.OPEN:
            raise RuntimeError(f"the writing half is not open: {self.write_state.value}")
        if len(data) > self._payload:
            raise RuntimeError(f"{len(data)} bytes do not fit a frame")
        if data:
            self._outbox.effects.append(SendMessage(encode_frame(data)))

    def close_write(self, now: float) -> None:
        """Send FIN; harmless when the half is closed or closing."""
        if self.write_state is not WriteState.OPEN:
            return
        self._send_flag(Flag.FIN)
        self.write_state = WriteState.FIN_SENT
        self._fin_ack_by = Deadline(now + self._config.fin_ack_timeout, "FIN_ACK")

    def close_read(self, now: float) -> None:
        """Send STOP_SENDING and drop what still arrives; harmless when the half is closed."""
        if self.read_state is not ReadState.OPEN:
            return
        self._send_flag(Flag.STOP_SENDING)
        self.read_state = ReadState.STOPPED
        self._fin_by = Deadline(now + self._config.fin_ack_timeout, "FIN after STOP_SENDING")

    def reset(self, reason: str = "reset by us") -> None:
        """Send RESET and close the channel; harmless when the stream is over."""
        if self._channel_closed:
            return
        self._send_flag(Flag.RESET)
        self._die(reason)
        self._close_channel(at_once=True)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take one message of the channel. Never raises, whatever it is."""
        if self._channel_closed:
            self.counters["after the end"] += 1
            return
        try:
            for frame in self._decoder.feed(data):
                self._receive_frame(frame, now)
                if self._channel_closed:
                    return
        except FramingError as error:
            self.counters["bad frame"] += 1
            self.reset(f"the peer broke the framing: {error}")
            return
        self._close_when_finished()

    def channel_closed(self, reason: str = "the channel was closed") -> None:
        """Take note that the channel is gone: a reset, unless both halves had finished."""
        if self._channel_closed:
            return
        self._channel_closed = True
        if self.read_state is not ReadState.FINISHED:
            self._die(reason)
        elif self.write_state is WriteState.FIN_SENT:
            # js-libp2p closes the channel when its two halves are closed, which may be before our FIN is acknowledged.
            self._finish_writing(acknowledged=False)
        elif self.write_state is WriteState.OPEN:
            self.write_state = WriteState.RESET  # what the peer had finished writing is still there to read
            self._outbox.events.append(WriteLost(reason))

    def _receive_frame(self, frame: Frame, now: float) -> None:
        if frame.message:
            if self.read_state is ReadState.OPEN:
                self._outbox.events.append(DataReceived(frame.message))
            else:
                self.counters["data after the end"] += 1
        if frame.flag is Flag.FIN:
            self._receive_fin()
        elif frame.flag is Flag.FIN_ACK:
            if self.write_state is WriteState.FIN_SENT:
                self._finish_writing(acknowledged=True)
        elif frame.flag is Flag.STOP_SENDING:
            if self.write_state is WriteState.OPEN:
                self.close_write(now)
                self._outbox.events.append(WriteStopped())
        elif frame.flag is Flag.RESET:
            self._die("reset by the peer")
            self._close_channel(at_once=True)

    def _receive_fin(self) -> None:
        self._send_flag(Flag.FIN_ACK)
        self._fin_by = None
        if self.read_state is ReadState.OPEN:
            self._outbox.events.append(ReadFinished())
        self.read_state = ReadState.FINISHED

    def _finish_writing(self, *, acknowledged: bool) -> None:
        self._fin_ack_by = None
        self.write_state = WriteState.FINISHED
        self._outbox.events.append(WriteFinished(acknowledged))

    def _send_flag(self, flag: Flag) -> None:
        self._outbox.effects.append(SendMessage(encode_frame(flag=flag)))

    def _die(self, reason: str) -> None:
        self.read_state, self.write_state = ReadState.RESET, WriteState.RESET
        self._outbox.events.append(WasReset(reason))

    def _close_when_finished(self) -> None:
        if self.read_state is ReadState.FINISHED and self.write_state is WriteState.FINISHED:
            self._close_channel(at_once=False)

    def _close_channel(self, *, at_once: bool) -> None:
        if not self._channel_closed:
            self._channel_closed = True
            self._outbox.effects.append(CloseChannel(at_once))
