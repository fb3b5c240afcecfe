"""The errors of this package; every one of them derives from :class:`TurnError`.

What a server refuses is told by a class of its own, so that an application can say *why* there is no relay: each names
the server and carries the code.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Self

from stun.address import TransportAddress

__all__ = [
    "TurnAddressFamilyError",
    "TurnAllocationMismatchError",
    "TurnBadRequestError",
    "TurnCapacityError",
    "TurnClosedError",
    "TurnConfigError",
    "TurnConnectionExistsError",
    "TurnConnectionTimeoutError",
    "TurnCredentialsError",
    "TurnDowngradeError",
    "TurnError",
    "TurnExpiredError",
    "TurnForbiddenError",
    "TurnFramingError",
    "TurnIntegrityError",
    "TurnLimitError",
    "TurnMobilityError",
    "TurnParseError",
    "TurnPeerFamilyError",
    "TurnProtocolError",
    "TurnQuotaError",
    "TurnRedirectError",
    "TurnResolveError",
    "TurnServerError",
    "TurnStaleNonceError",
    "TurnTimeoutError",
    "TurnTlsError",
    "TurnTransportError",
    "TurnUnknownAttributeError",
    "TurnUnreachableError",
    "TurnWrongUserError",
    "error_of_code",
]


class TurnError(Exception):
    """The root of everything that ``turn`` raises."""

    def __init__(
        self, message: str = "", *, server: str = "", code: int | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(f"{server}: {message}" if server else message)
        self.server = server
        """Which server, as in its URI or as ``host:port (protocol)``; empty where there is none."""
        self.code = code
        """The ERROR-CODE of the server's response (300..699), or None when it is not the server who says so."""
        self.retry_after = retry_after
        """Seconds after which asking again may help; None when it will not help without a change."""

    def again(self) -> Self:
        """Return the same error for another caller: a raised one carries the trail of the first."""
        return copy.copy(self)


class TurnParseError(TurnError, ValueError):
    """The bytes are not a ChannelData message (RFC 8656 section 12.4)."""


class TurnConfigError(TurnError, ValueError):
    """The settings of a server make no sense; says which one."""


class TurnFramingError(TurnError, ValueError):
    """A byte stream lost its framing or exceeded a limit; the connection has to go."""


class TurnLimitError(TurnError):
    """A limit of our own configuration is reached; the server was not asked."""


# -- the way to the server


class TurnResolveError(TurnError, OSError):
    """The server's name has no address."""


class TurnUnreachableError(TurnError, ConnectionError):
    """The server could not be connected to, or the connection to it is gone."""


class TurnTlsError(TurnError, ConnectionError):
    """TLS or DTLS with the server failed; the message says why, for example that its certificate is self-signed."""


class TurnTimeoutError(TurnError, TimeoutError):
    """The server did not answer within the whole retransmission schedule (RFC 8489 section 6.2)."""


class TurnClosedError(TurnError, ConnectionError):
    """The allocation was closed by us."""


# -- authentication


class TurnIntegrityError(TurnError):
    """*Integrity violated*: only responses with a wrong or missing signature came (RFC 8489 section 9.2.5)."""


class TurnDowngradeError(TurnError):
    """A challenge promised password algorithms and had none that we may use: somebody bids us down (9.2.5)."""


class TurnCredentialsError(TurnError):
    """401: user name or password are wrong, expired, or missing (RFC 8489 section 9.2.4)."""


class TurnStaleNonceError(TurnError):
    """438 time after time: the server finds every nonce stale."""


class TurnWrongUserError(TurnError):
    """441: the allocation belongs to another user name (RFC 8656 section 5)."""


# -- what a server refuses


class TurnRedirectError(TurnError):
    """300: the server names another one to ask (RFC 8489 section 10)."""

    alternates: tuple[TransportAddress, ...] = ()
    """Where to ask instead."""
    domain: str | None = None
    """ALTERNATE-DOMAIN, the name that the certificate of the alternate server shows."""
    is_signed: bool = False
    """Whether the response was signed; only then may it be followed (RFC 8489 section 10)."""


class TurnBadRequestError(TurnError):
    """400: the server finds the request malformed, or a channel out of step."""


class TurnForbiddenError(TurnError):
    """403: the server's policy forbids the transport or the peer (RFC 8656 sections 7.4 and 10.2)."""


class TurnMobilityError(TurnError):
    """405: the server does not let allocations move (RFC 8016 section 3.1)."""


class TurnUnknownAttributeError(TurnError):
    """420: the server does not know an attribute that we need understood, such as DONT-FRAGMENT."""


class TurnAllocationMismatchError(TurnError):
    """437: there is no allocation on this path, or there is one already (RFC 8656 section 5)."""


class TurnAddressFamilyError(TurnError):
    """440: the server relays no such address family (RFC 8656 section 7.4)."""


class TurnTransportError(TurnError):
    """442: the server does not relay this transport protocol (RFC 8656 section 7.4)."""


class TurnPeerFamilyError(TurnError):
    """443: the peer is of another address family than the relayed address (RFC 8656 section 10)."""


class TurnConnectionExistsError(TurnError):
    """446: there is a connection to this peer already (RFC 6062 section 5.2)."""


class TurnConnectionTimeoutError(TurnError):
    """447: the server could not connect to the peer (RFC 6062 section 5.2)."""


class TurnQuotaError(TurnError):
    """486: the user has as many allocations as the server grants (RFC 8656 section 7.4)."""


class TurnCapacityError(TurnError):
    """508: the server is out of addresses or ports (RFC 8656 section 7.4)."""


class TurnServerError(TurnError):
    """500 and others: the server failed."""


class TurnProtocolError(TurnError):
    """The server's response makes no sense: an attribute that has to be there is missing or unknown."""


class TurnExpiredError(TurnError):
    """The allocation ran out before the server confirmed a Refresh."""


_PAUSE = 60.0
_BY_CODE: dict[int, tuple[type[TurnError], str, float | None]] = {
    300: (TurnRedirectError, "the server names another one", None),
    400: (TurnBadRequestError, "the server finds the request malformed", None),
    401: (TurnCredentialsError, "user name or password are wrong or expired", None),
    403: (TurnForbiddenError, "the server's policy forbids this", None),
    405: (TurnMobilityError, "the server grants no mobility", None),
    420: (TurnUnknownAttributeError, "the server does not know an attribute of the request", None),
    437: (TurnAllocationMismatchError, "the server has no allocation, or an old one, on this path", 120.0),
    438: (TurnStaleNonceError, "the server finds every nonce stale", None),
    440: (TurnAddressFamilyError, "the server does not relay this address family", None),
    441: (TurnWrongUserError, "the allocation belongs to another user name", None),
    442: (TurnTransportError, "the server does not relay this transport protocol", None),
    443: (TurnPeerFamilyError, "the peer's address family is not that of the relayed address", None),
    446: (TurnConnectionExistsError, "there is a connection to this peer already", None),
    447: (TurnConnectionTimeoutError, "the server could not connect to the peer", 10.0),
    486: (TurnQuotaError, "the user's quota of allocations is used up", _PAUSE),
    508: (TurnCapacityError, "the server is out of capacity", _PAUSE),
}


def error_of_code(code: int, reason: str, server: str, details: Sequence[str] = ()) -> TurnError:
    """Return the error for an error response.

    Args:
        code: its ERROR-CODE.
        reason: the server's reason phrase.
        server: which server, for people.
        details: more to say, such as which peers.
    """
    kind, meaning, pause = _BY_CODE.get(code, (TurnServerError, "the server failed", _PAUSE))
    said = f"{code} {reason}".rstrip("\0 ")  # coturn pads reasons with zeros
    text = "; ".join([f"{meaning} ({said})", *details])
    return kind(text, server=server, code=code, retry_after=pause)
