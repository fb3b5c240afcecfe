"""Unsigned varints as multiformats defines them: LEB128, minimal, at most nine bytes (63 bits)."""

from __future__ import annotations

from signalling.errors import DecodeError

__all__ = ["MAX_VARINT", "MAX_VARINT_BYTES", "decode_varint", "encode_varint"]

MAX_VARINT_BYTES = 9
"""The longest encoding that is allowed."""

MAX_VARINT = (1 << 63) - 1
"""The largest value that nine bytes hold."""


def encode_varint(value: int) -> bytes:
    """Return the minimal encoding of ``value``.

    Raises:
        ValueError: ``value`` is negative or needs more than 63 bits.
    """
    if 0 <= value < 0x80:
        return value.to_bytes()
    if not 0 <= value <= MAX_VARINT:
        raise ValueError(f"{value} is not in 0..2**63-1")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | bytearray | memoryview, offset: int = 0) -> tuple[int, int] | None:
    """Return ``(value, size)`` of the varint at ``offset``, or None when ``data`` ends within it.

    Raises:
        DecodeError: the encoding is not minimal, or longer than nine bytes.
    """
    value = shift = 0
    for index in range(offset, min(len(data), offset + MAX_VARINT_BYTES)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if byte == 0 and index > offset:
                raise DecodeError("the varint is not minimal")
            return value, index - offset + 1
        shift += 7
    if len(data) - offset >= MAX_VARINT_BYTES:
        raise DecodeError("the varint is longer than nine bytes")
    return None
