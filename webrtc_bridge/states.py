"""The states of a peer connection, in the words of the W3C."""

from __future__ import annotations

import enum

__all__ = ["ConnectionState", "SignalingState"]


class ConnectionState(enum.StrEnum):
    """``RTCPeerConnectionState``."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class SignalingState(enum.StrEnum):
    """``RTCSignalingState``, without the provisional ones."""

    STABLE = "stable"
    HAVE_LOCAL_OFFER = "have-local-offer"
    HAVE_REMOTE_OFFER = "have-remote-offer"
