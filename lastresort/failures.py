"""What may go wrong in a command, in words that say what to do."""

from __future__ import annotations

import errno
import re

from browser_demo.errors import DemoError
from ice import IceError
from signalling.errors import DialError, NegotiationError, SignallingError
from stun.errors import StunError
from webrtc_bridge.errors import BridgeError

__all__ = ["EXPECTED", "explain"]

EXPECTED = (DemoError, BridgeError, SignallingError, IceError, StunError, OSError, TimeoutError)
"""Failures that are told in a line; anything else is a bug and keeps its traceback."""

NO_RESERVATION = "NO_RESERVATION"

_PREFIX = re.compile(r"cannot reach \w+: |/\S+: ")
"""What dials put in front of the reason: whom and where, once for each layer of the address."""


def explain(error: BaseException) -> tuple[str, str | None]:
    """Return what went wrong, and what to do about it when that is known."""
    message = str(error) or type(error).__name__
    match error:
        case DialError(failures=failures):
            return _dial_failure(message, list(failures.values()))
        case NegotiationError():
            return message, "The peer is there but does not serve that protocol."
        case OSError(errno=errno.EADDRINUSE):
            return message, "Another program has that port: choose one with --port or --listen (0 picks one)."
        case TimeoutError() if message == "TimeoutError":
            return "no answer in time", None
    return message, None


def _dial_failure(message: str, reasons: list[str]) -> tuple[str, str]:
    if reasons:
        whom = message.split(":", 1)[0]
        message = f"{whom}: " + "; ".join(dict.fromkeys(_innermost(reason) for reason in reasons))
    if NO_RESERVATION in message:
        return message, "The peer is not at that relay now: start it with `lastresort peer --relay …`."
    return message, "Is the peer (or the relay) running, and is the address complete?"


def _innermost(reason: str) -> str:
    while (prefix := _PREFIX.match(reason)) is not None:
        reason = reason[prefix.end() :]
    return reason
