"""ChannelData, the framing of relayed data, and how it shares a stream with STUN (RFC 8656 sections 12.4 to 12.6)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from stun.message import HEADER_LENGTH, MAX_MESSAGE
from turn.errors import TurnFramingError, TurnParseError

__all__ = [
    "CHANNEL_MAX",
    "CHANNEL_MAX_RFC_5766",
    "CHANNEL_MIN",
    "ChannelData",
    "TurnStreamDecoder",
    "cut_read",
    "encode_channel_data",
    "parse_channel_data",
]

CHANNEL_MIN = 0x4000
"""The lowest channel number (section 12)."""
CHANNEL_MAX = 0x4FFF
"""The highest channel number (section 12)."""
CHANNEL_MAX_RFC_5766 = 0x7FFF
"""The highest channel number of the older RFC 5766, which its clients still pick from."""

LEAST_MESSAGE = 4
"""Bytes of the smallest message, ChannelData without data."""


class ChannelData(NamedTuple):
    """One ChannelData message."""

    channel: int
    data: bytes


def encode_channel_data(channel: int, data: bytes, *, padded: bool) -> bytes:
    """Return a ChannelData message.

    Args:
        channel: 0x4000..0x4FFF.
        data: up to 65,535 bytes.
        padded: fill up to four bytes, which streams must and datagrams need not (section 12.5).

    Raises:
        ValueError: ``channel`` or the length of ``data`` is out of range.
    """
    if not CHANNEL_MIN <= channel <= CHANNEL_MAX:
        raise ValueError(f"channel 0x{channel:04x} is not in 0x4000..0x4fff")
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes do not fit a ChannelData message")
    head = channel.to_bytes(2, "big") + len(data).to_bytes(2, "big")
    return head + data + bytes(-len(data) % 4) if padded else head + data


def parse_channel_data(data: bytes) -> ChannelData:
    """Read one ChannelData message of a datagram, padded or not (section 12.6).

    Raises:
        TurnParseError: it is short, truncated, or the channel number is reserved. No other error is raised.
    """
    if len(data) < 4:
        raise TurnParseError(f"{len(data)} bytes are too short for ChannelData")
    channel = data[0] << 8 | data[1]
    if not CHANNEL_MIN <= channel <= CHANNEL_MAX:
        raise TurnParseError(f"channel 0x{channel:04x} is reserved")
    stop = 4 + (data[2] << 8 | data[3])
    if stop > len(data):
        raise TurnParseError("truncated ChannelData")
    return ChannelData(channel, data[4:stop])


def cut_read(data: bytes, most: int) -> Iterator[bytes]:
    """Cut what was read from a stream into pieces, each of which completes at most ``most`` messages.

    Who takes the messages out after every piece needs no longer queue, however small they are. The end of the stream,
    ``b""``, is a piece, too.
    """
    step = LEAST_MESSAGE * most
    if len(data) <= step:
        yield data
        return
    for start in range(0, len(data), step):
        yield data[start : start + step]


class TurnStreamDecoder:
    """Cuts a TCP or TLS stream into STUN messages and (padded) ChannelData messages.

    What comes out starts with 0..3 for STUN and 0x40..0x4F for ChannelData, padding included.
    """

    __slots__ = ("_buffer", "_first", "_limit")

    def __init__(self, limit: int = MAX_MESSAGE, last_channel: int = CHANNEL_MAX) -> None:
        """Args:
        limit: bytes of the largest message to take, header and padding included.
        last_channel: the highest channel number to take.
        """
        self._buffer = bytearray()
        self._first = last_channel >> 8
        self._limit = limit

    @property
    def pending(self) -> int:
        """Bytes of the incomplete message."""
        return len(self._buffer)

    def take_pending(self) -> bytes:
        """Take out the bytes of the incomplete message: what follows a ConnectionBind is no message (RFC 6062)."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest

    def receive(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the messages that are now complete.

        Raises:
            TurnFramingError: what follows is neither STUN nor ChannelData, or longer than the limit.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        while len(buffer) - start >= 4:
            length = _message_length(buffer, start, self._first)
            if length > self._limit:
                raise TurnFramingError(f"a message of {length} bytes where {self._limit} are allowed")
            if start + length > len(buffer):
                break
            messages.append(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]
        return messages


def _message_length(buffer: bytearray, start: int, last: int) -> int:
    first = buffer[start]
    length = buffer[start + 2] << 8 | buffer[start + 3]
    if first <= 3 and length & 3 == 0:
        return HEADER_LENGTH + length
    if 0x40 <= first <= last:
        return 4 + length + (-length % 4)
    raise TurnFramingError("the stream carries neither STUN nor ChannelData")
