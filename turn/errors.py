"""The errors of this package; every one of them derives from :class:`TurnError`."""

from __future__ import annotations

__all__ = ["TurnError"]


class TurnError(Exception):
    """The root of everything that ``turn`` raises."""
