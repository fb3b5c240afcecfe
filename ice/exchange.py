"""The port to any signalling: what two sides tell each other, and its form as lines of JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, Protocol

from ice.candidate import Candidate
from ice.description import DEFAULT_PACING, Description, EndOfCandidates
from ice.errors import CandidateError, IceError

__all__ = ["Exchange", "ExchangeError", "Item", "decode_item", "encode_item"]

Item = Description | Candidate | EndOfCandidates
"""What goes through an exchange: a description, candidates as they are found, their end (RFC 8838); and again at every
ICE restart."""

_MAX_OPTIONS = 16


class ExchangeError(IceError):
    """The signalling broke: it ended too early, or carried something that is not ICE."""


class Exchange(Protocol):
    """A way to the peer through any signalling: it delivers every item once and in order (RFC 8838 section 9)."""

    async def send(self, item: Item) -> None:
        """Tell the peer ``item``."""

    def __aiter__(self) -> AsyncIterator[Item]:
        """Iterate over what the peer tells, until the signalling ends."""


def encode_item(item: Item) -> str:
    """Return ``item`` as one line of JSON, without a line break."""
    match item:
        case Description():
            message: dict[str, Any] = {
                "type": "description",
                "ufrag": item.ufrag,
                "pwd": item.pwd,
                "lite": item.lite,
                "options": list(item.options),
                "pacing": item.pacing,
            }
        case Candidate():
            message = {"type": "candidate", "candidate": item.to_sdp()}
        case EndOfCandidates():
            message = {"type": "end-of-candidates", "ufrag": item.ufrag}
    return json.dumps(message, separators=(",", ":"))


def decode_item(line: str | bytes) -> Item | None:
    """Return what a line of JSON says, or None when it is of a type that this version does not know.

    Raises:
        ExchangeError: the line is not JSON, or not an item.
    """
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ExchangeError("the signalling carried a line that is not JSON") from None
    if not isinstance(message, dict):
        raise ExchangeError("the signalling carried JSON that is not an object")
    try:
        match message.get("type"):
            case "description":
                return _description(message)
            case "candidate":
                return Candidate.from_sdp(_text(message, "candidate"))
            case "end-of-candidates":
                return EndOfCandidates(_text(message, "ufrag"))
            case _:
                return None
    except CandidateError as error:
        raise ExchangeError(f"the signalling carried a bad item: {error}") from error


def _description(message: dict[str, Any]) -> Description:
    options = message.get("options", [])
    if not isinstance(options, list) or len(options) > _MAX_OPTIONS or not all(isinstance(o, str) for o in options):
        raise ExchangeError("the signalling carried bad ice-options")
    return Description(
        ufrag=_text(message, "ufrag"),
        pwd=_text(message, "pwd"),
        lite=message.get("lite") is True,
        options=tuple(options),
        pacing=_pacing(message.get("pacing", DEFAULT_PACING)),
    )


def _pacing(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ExchangeError("the signalling carried a pacing that is no number")
    return float(value)


def _text(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise ExchangeError(f"the signalling carried an item without {name}")
    return value
