"""Telling protocols that share a port apart by their first byte (RFC 7983, and RFC 8656 section 12 for channels)."""

from __future__ import annotations

import enum
from typing import Final

from stun.values import COOKIE

__all__ = ["PacketKind", "classify", "is_stun"]


class PacketKind(enum.Enum):
    """What a datagram may be, by its first byte."""

    STUN = "stun"
    ZRTP = "zrtp"
    DTLS = "dtls"
    TURN_CHANNEL = "turn-channel"
    RTP = "rtp"
    UNKNOWN = "unknown"
    """To be dropped in a session that multiplexes the others."""


def _kind(first: int) -> PacketKind:
    for kind, low, high in (
        (PacketKind.STUN, 0, 3),
        (PacketKind.ZRTP, 16, 19),
        (PacketKind.DTLS, 20, 63),
        (PacketKind.TURN_CHANNEL, 64, 79),
        (PacketKind.RTP, 128, 191),
    ):
        if low <= first <= high:
            return kind
    return PacketKind.UNKNOWN


_KINDS: Final = tuple(_kind(first) for first in range(256))


def classify(first_byte: int) -> PacketKind:
    """Return what a datagram that starts with ``first_byte`` (0..255) is to be treated as."""
    return _KINDS[first_byte]


def is_stun(data: bytes) -> bool:
    """Return whether the bytes look like a STUN message: two zero bits, the magic cookie and a whole header.

    Cheap enough for every datagram of a data path. True is not yet proof: application data may begin alike, and
    :func:`stun.message.parse` and FINGERPRINT decide.
    """
    return len(data) >= 20 and data[0] < 4 and data[4:8] == COOKIE
