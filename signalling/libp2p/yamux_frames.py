"""The frames of yamux: a 12-byte header, and a payload behind data frames (yamux specification)."""

from __future__ import annotations

import enum
import struct

__all__ = ["HEADER", "HEADER_SIZE", "MAX_LENGTH", "FrameType", "GoAwayCode", "encode_header"]

HEADER = struct.Struct("!BBHII")
"""Version, type, flags, stream id, length."""

HEADER_SIZE = HEADER.size

MAX_LENGTH = 2**32 - 1
"""The largest window, stream id and opaque ping value."""

VERSION = 0

SYN = 0x1
ACK = 0x2
FIN = 0x4
RST = 0x8


class FrameType(enum.IntEnum):
    """What a frame is, and what its length field means."""

    DATA = 0
    """Length of the payload."""
    WINDOW_UPDATE = 1
    """Bytes added to the sender's window."""
    PING = 2
    """An opaque value."""
    GO_AWAY = 3
    """A :class:`GoAwayCode`."""


class GoAwayCode(enum.IntEnum):
    """Why a session ends."""

    NORMAL = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


def encode_header(frame_type: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return a frame's header."""
    return HEADER.pack(VERSION, frame_type, flags, stream_id, length)
