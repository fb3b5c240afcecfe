"""The errors of this package; every one of them derives from :class:`SignallingError`.

Two families: what was handed in is not well formed (also a ``ValueError``), and a conversation ended (also a
``ConnectionError``, so that code which knows nothing of libp2p handles it as it handles sockets).
"""

from __future__ import annotations

__all__ = [
    "CircuitRefused",
    "ConnectionClosed",
    "DecodeError",
    "DialError",
    "EnvelopeError",
    "HandshakeError",
    "IdentifyError",
    "KeyDecodeError",
    "LimitExceeded",
    "LimitedConnection",
    "MessageTooLarge",
    "MultiaddrError",
    "NegotiationError",
    "PeerIdError",
    "PeerIdMismatch",
    "ProtocolViolation",
    "SignallingError",
    "StreamClosed",
    "StreamReset",
]


class SignallingError(Exception):
    """The root of everything that ``signalling`` raises."""


class DecodeError(SignallingError, ValueError):
    """Bytes or text do not follow their format."""


class KeyDecodeError(DecodeError):
    """A serialised key is malformed or of a type that is not supported."""


class PeerIdError(DecodeError):
    """A peer id is malformed."""


class MultiaddrError(DecodeError):
    """A multiaddr is malformed or names an unknown protocol."""


class EnvelopeError(DecodeError):
    """A signed envelope is malformed, of another type than expected, or its signature does not verify."""


class MessageTooLarge(DecodeError):
    """A length prefix announces more than the receiver's limit."""


class ConnectionClosed(SignallingError, ConnectionError):
    """The connection is gone: closed by us, by the peer, or lost. ``str()`` says why."""


class StreamClosed(ConnectionClosed):
    """This half of the stream is closed, or the connection below it is gone."""


class StreamReset(ConnectionClosed):
    """One side reset the stream: what was in flight is lost."""


class HandshakeError(SignallingError, ConnectionError):
    """A connection could not be secured or multiplexed."""


class PeerIdMismatch(HandshakeError):
    """The peer proved another identity than the one dialled."""


class NegotiationError(SignallingError, ConnectionError):
    """No protocol in common, or multistream-select broke off."""


class ProtocolViolation(SignallingError, ConnectionError):
    """The peer broke the protocol, and the conversation was ended."""


class LimitExceeded(SignallingError):
    """A limit of ours would be exceeded (streams, circuits, connections)."""


class LimitedConnection(SignallingError, ConnectionError):
    """The peer is reached only through a relay with limits, and the protocol did not opt in to such connections."""


class IdentifyError(SignallingError):
    """What a peer says about itself contradicts who it is, or cannot be read."""


class CircuitRefused(SignallingError, ConnectionError):
    """A relay, or the target behind it, refused; ``status`` is its code (circuit relay v2), None without one."""

    def __init__(self, message: str, status: int | None) -> None:
        super().__init__(message)
        self.status = status


class DialError(SignallingError, ConnectionError):
    """A peer was reached at none of its addresses; ``failures`` holds what went wrong, by the text of the address."""

    def __init__(self, message: str, failures: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.failures = failures or {}
