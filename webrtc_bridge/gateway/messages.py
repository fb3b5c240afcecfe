"""The JSON messages between a page and the gateway: what they are, and what is wrong with one that is not.

Every message is an object with a ``"type"``. Unknown members are ignored, so that a newer page can say more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from signalling.errors import DecodeError, PeerIdError
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.errors import BridgeError

__all__ = ["Answer", "Bye", "CandidateMessage", "Hello", "MessageError", "Offer", "PageMessage", "parse_message"]

MAX_NAME = 200
MAX_REASON = 200
MAX_CANDIDATE = 1024
_SESSION = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class MessageError(BridgeError):
    """A message of a page cannot be used; ``code`` is for programs, the text for people."""

    def __init__(self, code: str, text: str, session: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.session = session
        """The session it named, when that much could be read."""

    def to_json(self) -> dict[str, str]:
        """Return the ``"error"`` message that tells the page."""
        message = {"type": "error", "code": self.code, "message": str(self)}
        return message if self.session is None else {**message, "session": self.session}


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message: how the tab wants to be called on the roster."""

    name: str


@dataclass(frozen=True, slots=True)
class Offer:
    """The tab calls a peer."""

    session: str
    peer: PeerId
    sdp: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The tab answers a call."""

    session: str
    sdp: str


@dataclass(frozen=True, slots=True)
class CandidateMessage:
    """One candidate of the tab; None when there are no more."""

    session: str
    candidate: IceCandidate | None


@dataclass(frozen=True, slots=True)
class Bye:
    """The session needs no more signalling: connected, or given up."""

    session: str
    reason: str


PageMessage = Hello | Offer | Answer | CandidateMessage | Bye
_Fields = Mapping[str, Any]


def parse_message(text: str, max_sdp: int) -> PageMessage:
    """Return the message that ``text`` is.

    Raises:
        MessageError: it is none; the code is ``bad-json``, ``unknown-type`` or ``bad-message``.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("bad-json", "the message is not JSON") from None
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise MessageError("bad-message", 'the message is not an object with a "type"')
    reader = _READERS.get(value["type"])
    if reader is None:
        raise MessageError("unknown-type", f"unknown message type {value['type'][:40]!r}")
    session = value.get("session")
    try:
        return reader(value, max_sdp)
    except MessageError as error:
        error.session = session if isinstance(session, str) and _SESSION.match(session) else None
        raise


def _text(fields: _Fields, name: str, longest: int, *, empty: bool = False) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or len(value) > longest or (not value and not empty):
        raise MessageError("bad-message", f'"{name}" has to be a text of at most {longest} characters')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MessageError("bad-message", f'"{name}" has half a character in it') from None
    return value


def _session(fields: _Fields) -> str:
    value = fields.get("session")
    if not isinstance(value, str) or not _SESSION.match(value):
        raise MessageError("bad-message", '"session" has to be 1 to 64 letters, digits, "-" or "_"')
    return value


def _hello(fields: _Fields, max_sdp: int) -> Hello:
    return Hello(_text(fields, "name", MAX_NAME))


def _offer(fields: _Fields, max_sdp: int) -> Offer:
    session = _session(fields)
    try:
        peer = PeerId.parse(_text(fields, "peer", 128))
    except PeerIdError as error:
        raise MessageError("bad-message", f'"peer" is not a peer id: {error}') from None
    return Offer(session, peer, _text(fields, "sdp", max_sdp))


def _answer(fields: _Fields, max_sdp: int) -> Answer:
    return Answer(_session(fields), _text(fields, "sdp", max_sdp))


def _candidate(fields: _Fields, max_sdp: int) -> CandidateMessage:
    session = _session(fields)
    if "candidate" not in fields:
        raise MessageError("bad-message", '"candidate" is missing; null stands for the end of candidates')
    value = fields["candidate"]
    if value is None:
        return CandidateMessage(session, None)
    if not isinstance(value, dict):
        raise MessageError("bad-message", '"candidate" has to be an object or null')
    for name in ("candidate", "sdpMid", "usernameFragment"):
        if value.get(name) is not None:
            _text(value, name, MAX_CANDIDATE, empty=True)
    try:
        candidate = IceCandidate.from_json(value)
    except DecodeError as error:
        raise MessageError("bad-message", str(error)) from None
    return CandidateMessage(session, candidate if candidate.candidate else None)


def _bye(fields: _Fields, max_sdp: int) -> Bye:
    reason = fields.get("reason")
    return Bye(_session(fields), "" if reason is None else _text(fields, "reason", MAX_REASON, empty=True))


_READERS: dict[str, Callable[[_Fields, int], PageMessage]] = {
    "hello": _hello,
    "offer": _offer,
    "answer": _answer,
    "candidate": _candidate,
    "bye": _bye,
}
