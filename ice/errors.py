"""The errors of this package; every one of them derives from :class:`IceError`."""

from __future__ import annotations

__all__ = ["IceError"]


class IceError(ConnectionError):
    """The root of everything that ``ice`` raises."""
