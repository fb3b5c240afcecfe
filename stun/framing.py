"""Cutting a byte stream into messages: plain STUN over TCP (RFC 8489 section 6.2.2) and RFC 4571 frames.

A decoder keeps at most one incomplete message. It raises :class:`~stun.errors.StunFramingError` when the stream makes
no sense any more; the machine that owns it then gives the connection up.
"""

from __future__ import annotations

from stun.errors import StunFramingError
from stun.message import HEADER_LENGTH, MAX_MESSAGE

__all__ = ["FrameDecoder", "StunStreamDecoder", "encode_frame"]


class StunStreamDecoder:
    """Cuts a stream that carries nothing but STUN messages, by the length in their headers."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        """Args:
        limit: bytes of the largest message to take, header included.
        """
        self._buffer = bytearray()
        self._limit = limit

    @property
    def pending(self) -> int:
        """Bytes of the incomplete message."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the messages that are now complete.

        Raises:
            StunFramingError: what follows is no STUN message, or one longer than the limit. Messages before it in the
                same ``data`` are lost with it, as is the connection.
        """
        buffer = self._buffer
        buffer += data
        messages: list[bytes] = []
        start = 0
        while len(buffer) - start >= 4:
            length = HEADER_LENGTH + (buffer[start + 2] << 8 | buffer[start + 3])
            if buffer[start] > 3 or length & 3:
                raise StunFramingError("the stream does not carry STUN messages")
            if length > self._limit:
                raise StunFramingError(f"a message of {length} bytes where {self._limit} are allowed")
            if start + length > len(buffer):
                break
            messages.append(bytes(buffer[start : start + length]))
            start += length
        del buffer[:start]
        return messages


def encode_frame(data: bytes) -> bytes:
    """Return one RFC 4571 frame: a 16-bit length and the packet.

    Raises:
        ValueError: the packet has more than 65,535 bytes.
    """
    if len(data) > 0xFFFF:
        raise ValueError(f"a packet of {len(data)} bytes does not fit a frame")
    return len(data).to_bytes(2, "big") + data


class FrameDecoder:
    """Cuts a stream of RFC 4571 frames; a null packet comes out as ``b""``."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = 0xFFFF) -> None:
        """Args:
        limit: bytes of the largest packet to take.
        """
        self._buffer = bytearray()
        self._limit = limit

    @property
    def pending(self) -> int:
        """Bytes of the incomplete frame."""
        return len(self._buffer)

    def receive(self, data: bytes) -> list[bytes]:
        """Take the next bytes and return the packets that are now complete.

        Raises:
            StunFramingError: a frame is longer than the limit.
        """
        buffer = self._buffer
        buffer += data
        packets: list[bytes] = []
        start = 0
        while len(buffer) - start >= 2:
            length = buffer[start] << 8 | buffer[start + 1]
            if length > self._limit:
                raise StunFramingError(f"a frame of {length} bytes where {self._limit} are allowed")
            stop = start + 2 + length
            if stop > len(buffer):
                break
            packets.append(bytes(buffer[start + 2 : stop]))
            start = stop
        del buffer[:start]
        return packets
