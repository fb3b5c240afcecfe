"""The errors of this package; every one of them derives from :class:`TurnError`."""

from __future__ import annotations

__all__ = ["TurnError", "TurnFramingError", "TurnParseError"]


class TurnError(Exception):
    """The root of everything that ``turn`` raises."""


class TurnParseError(TurnError, ValueError):
    """The bytes are not a ChannelData message (RFC 8656 section 12.4)."""


class TurnFramingError(TurnError, ValueError):
    """A byte stream lost its framing or exceeded a limit; the connection has to go."""
