"""What may go wrong in a command, in words that say what to do."""

from __future__ import annotations

import errno

from browser_demo.errors import DemoError
from ice import IceError
from signalling.errors import CircuitRefused, DialError, NegotiationError, SignallingError
from stun.errors import StunError
from webrtc_bridge.errors import BridgeError

__all__ = ["EXPECTED", "explain"]

EXPECTED = (DemoError, BridgeError, SignallingError, IceError, StunError, OSError, TimeoutError)
"""Failures that are told in a line; anything else is a bug and keeps its traceback."""

NO_RESERVATION = 204


def explain(error: BaseException) -> tuple[str, str | None]:
    """Return what went wrong, and what to do about it when that is known."""
    message = str(error) or type(error).__name__
    match error:
        case DialError(failures=failures):
            reasons = [f"{address}: {reason}" for address, reason in failures.items()]
            if reasons and not any(reason in message for reason in failures.values()):
                message = "\n  ".join([message, *reasons])
            return message, "Is the peer (or the relay) running, and is the address complete?"
        case CircuitRefused(status=status) if status == NO_RESERVATION:
            return message, "The peer is not at that relay now: start it with `lastresort peer --relay …`."
        case NegotiationError():
            return message, "The peer is there but does not serve that protocol."
        case OSError(errno=errno.EADDRINUSE):
            return message, "Another program has that port: choose one with --port or --listen (0 picks one)."
        case TimeoutError():
            return "no answer in time" if message == "TimeoutError" else message, None
    return message, None
