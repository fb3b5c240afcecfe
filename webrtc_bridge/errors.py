"""The errors of this package; every one of them derives from :class:`BridgeError`."""

from __future__ import annotations

__all__ = ["BridgeError", "FramingError", "NegotiationFailed", "PeerClosed", "PeerFailed", "SdpError"]


class BridgeError(Exception):
    """The root of everything that ``webrtc_bridge`` raises."""


class SdpError(BridgeError, ValueError):
    """A session description or a candidate cannot be used; the text says why."""


class FramingError(BridgeError, ValueError):
    """The peer broke the framing of a libp2p data-channel stream."""


class PeerFailed(BridgeError, ConnectionError):
    """The peer connection could not be made, or broke; the text says why."""


class PeerClosed(PeerFailed):
    """The peer connection is closed, by either side."""


class NegotiationFailed(BridgeError, ConnectionError):
    """The exchange of descriptions and candidates over the relayed connection did not lead to a peer connection."""
