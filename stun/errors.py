"""The errors of this package; every one of them derives from :class:`StunError`."""

from __future__ import annotations

__all__ = [
    "StunAuthenticationError",
    "StunCertificateError",
    "StunConfigurationError",
    "StunError",
    "StunFramingError",
    "StunHandshakeError",
    "StunLinkError",
    "StunParseError",
    "StunResponseError",
    "StunTimeoutError",
    "StunUriError",
]


class StunError(Exception):
    """The root of everything that ``stun`` raises."""


class StunParseError(StunError, ValueError):
    """The bytes are not a STUN message that RFC 8489 section 6.3 lets a receiver process."""


class StunFramingError(StunError, ValueError):
    """A byte stream lost its framing or exceeded a limit; the connection has to go."""


class StunUriError(StunError, ValueError):
    """A text is not a ``stun:``, ``stuns:``, ``turn:`` or ``turns:`` URI (RFC 7064, RFC 7065)."""


class StunTimeoutError(StunError, TimeoutError):
    """No response arrived within the whole retransmission schedule (RFC 8489 section 6.2)."""


class StunAuthenticationError(StunError):
    """Credentials were refused, or a response could not be authenticated (RFC 8489 section 9)."""


class StunResponseError(StunError):
    """The server answered with an error response."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        """The ERROR-CODE, 300..699."""
        self.reason = reason
        """The reason phrase, for people."""


class StunLinkError(StunError, ConnectionError):
    """There is no path to a server: it refuses, is unreachable, or does not answer in time."""

    def __init__(self, server: str, problem: str) -> None:
        super().__init__(f"{server}: {problem}")
        self.server = server
        """Which server, by name, address and transport, for people."""
        self.problem = problem
        """What is wrong, for people."""


class StunHandshakeError(StunLinkError):
    """TLS or DTLS with a server failed for another reason than its certificate."""


class StunCertificateError(StunHandshakeError):
    """The certificate of a server is not trusted: self-signed, of an unknown issuer, expired, or for another name."""


class StunConfigurationError(StunHandshakeError, ValueError):
    """TLS or DTLS was not tried: the server name that was asked for is none, or there is nothing to trust."""
