"""The frames of libp2p streams on data channels (libp2p WebRTC specification, "Multiplexing").

A frame is an unsigned-varint length and a protobuf ``Message { flag = 1; message = 2 }``. The specification gives every
frame a data-channel message of its own, but js-libp2p sends prefix and body as two messages, so a channel is read as a
byte stream.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from signalling.errors import DecodeError
from signalling.libp2p.varint import decode_varint
from signalling.libp2p.wire import Kind, Message, delimit, optional
from webrtc_bridge.errors import FramingError

__all__ = ["Flag", "Frame", "FrameDecoder", "encode_frame", "payload_limit"]


class Flag(enum.IntEnum):
    """``Message.Flag``. FIN is 0, so a flag counts when it is present, whatever its value."""

    FIN = 0
    STOP_SENDING = 1
    RESET = 2
    FIN_ACK = 3


class Frame(NamedTuple):
    """One frame: data, a flag, or both (the data then comes first)."""

    flag: Flag | None
    message: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message(Message):
    flag: int | None = optional(1, Kind.ENUM)
    message: bytes | None = optional(2, Kind.BYTES)


def encode_frame(message: bytes = b"", flag: Flag | None = None) -> bytes:
    """Return one frame, its length prefix included."""
    return delimit(_Message(flag=flag, message=message or None).serialize())


@functools.cache
def payload_limit(max_frame: int) -> int:
    """Return how many data bytes fit a frame of ``max_frame`` bytes without a flag: 16379 for 16384.

    Raises:
        ValueError: not even one byte fits.
    """
    payload = max_frame
    while payload > 0 and len(encode_frame(bytes(payload))) > max_frame:
        payload -= 1
    if payload <= 0:
        raise ValueError(f"no data fits a frame of {max_frame} bytes")
    return payload


class FrameDecoder:
    """Cuts a byte stream into frames."""

    def __init__(self, max_frame: int) -> None:
        """Take frames of up to ``max_frame`` bytes, length prefix not counted."""
        self._max_frame = max_frame
        self._buffer = bytearray()

    def __len__(self) -> int:
        """Bytes of the frame that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes and yield the frames that they complete.

        Raises:
            FramingError: a length is malformed or over the limit, or a body is not protobuf. Nothing can be read on.
        """
        self._buffer += data
        offset = 0
        try:
            while (header := self._header(offset)) is not None:
                length, size = header
                start = offset + size
                if len(self._buffer) - start < length:
                    break
                offset = start + length
                yield _decode_body(bytes(self._buffer[start:offset]))
        finally:
            del self._buffer[:offset]

    def _header(self, offset: int) -> tuple[int, int] | None:
        try:
            header = decode_varint(self._buffer, offset)
        except DecodeError as error:
            raise FramingError(f"bad frame length: {error}") from error
        if header is not None and header[0] > self._max_frame:
            raise FramingError(f"a frame of {header[0]} bytes exceeds the limit of {self._max_frame}")
        return header


def _decode_body(body: bytes) -> Frame:
    try:
        message = _Message.parse(body)
    except DecodeError as error:
        raise FramingError("a frame is not a protobuf message") from error
    # A flag that this version does not know is passed over, as protobuf passes over unknown enum values.
    flag = _FLAGS.get(message.flag) if message.flag is not None else None
    return Frame(flag, message.message or b"")


_FLAGS = {flag.value: flag for flag in Flag}
