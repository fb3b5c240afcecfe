"""The errors of this package; every one of them derives from :class:`BridgeError`."""

from __future__ import annotations

__all__ = ["BridgeError"]


class BridgeError(Exception):
    """The root of everything that ``webrtc_bridge`` raises."""
