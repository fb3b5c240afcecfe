"""The errors of this package; every one of them derives from :class:`DemoError`."""

from __future__ import annotations

__all__ = ["CheckFailed", "DemoError", "FileRefused"]


class DemoError(Exception):
    """The root of everything that ``browser_demo`` raises."""


class FileRefused(DemoError):
    """The other side does not take, or does not give, a file; ``str()`` says why."""


class CheckFailed(DemoError):
    """The headless trip did not end on a direct path that carried the bytes; ``str()`` says what was missing."""
