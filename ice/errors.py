"""The errors of this package; every one of them derives from :class:`IceError`, a ``ConnectionError``."""

from __future__ import annotations

import enum

__all__ = [
    "CandidateError",
    "ConsentLostError",
    "FailureReason",
    "IceError",
    "MuxError",
    "NoPathError",
    "RelayLostError",
    "SessionClosedError",
    "error_for",
]


class FailureReason(enum.StrEnum):
    """Why a session has no path, or no longer one."""

    NO_CANDIDATE_PAIRS = "no candidate of the peer can be paired with one of ours"
    CHECKS_FAILED = "every connectivity check failed"
    CHECKS_TIMED_OUT = "no connectivity check succeeded in time"
    NOT_NOMINATED = "checks succeeded, but the controlling peer nominated no pair"
    NOMINATION_FAILED = "the nominated pair did not answer the nomination"
    CONSENT_EXPIRED = "the peer stopped answering (consent expired, RFC 7675)"
    CONSENT_REVOKED = "the peer ended the session (consent revoked, RFC 7675)"
    RELAY_LOST = "the TURN server that carried the session relays for us no longer"
    CLOSED = "the session was closed"


class IceError(ConnectionError):
    """The root of everything that ``ice`` raises."""

    def __init__(self, message: str = "", reason: FailureReason | None = None) -> None:
        super().__init__(message or (reason.value if reason else "ICE failed"))
        self.reason = reason
        """The reason as a value to compare with, or None where there is none."""


class NoPathError(IceError):
    """The checks ended without a usable pair (RFC 8445 section 8.1.2)."""


class ConsentLostError(IceError):
    """The path had worked and is gone (RFC 7675 section 5.1)."""


class RelayLostError(ConsentLostError):
    """The path led through an allocation that is gone; the message names the server and says why."""


class SessionClosedError(IceError):
    """The session was closed by its owner."""


class MuxError(IceError):
    """A mux is full or closed, or the user name fragment is another session's already."""


class CandidateError(IceError, ValueError):
    """A text is not an ICE candidate, or a description has credentials that RFC 8839 section 5.4 forbids."""


_ERRORS: dict[FailureReason, type[IceError]] = {
    FailureReason.CONSENT_EXPIRED: ConsentLostError,
    FailureReason.CONSENT_REVOKED: ConsentLostError,
    FailureReason.RELAY_LOST: RelayLostError,
    FailureReason.CLOSED: SessionClosedError,
}


def error_for(reason: FailureReason, detail: str = "") -> IceError:
    """Return (not raise) the exception that stands for ``reason``; its message ends in ``detail`` if there is any."""
    return _ERRORS.get(reason, NoPathError)(f"{reason.value}: {detail}" if detail else reason.value, reason)
