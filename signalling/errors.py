"""The errors of this package; every one of them derives from :class:`SignallingError`."""

from __future__ import annotations

__all__ = ["SignallingError"]


class SignallingError(Exception):
    """The root of everything that ``signalling`` raises."""
