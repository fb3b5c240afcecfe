"""The errors of this package; every one of them derives from :class:`StunError`."""

from __future__ import annotations

__all__ = ["StunError"]


class StunError(Exception):
    """The root of everything that ``stun`` raises."""
