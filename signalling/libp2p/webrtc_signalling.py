"""The ``/webrtc-signaling/0.0.1`` conversation: one offer, one answer, candidates both ways (libp2p webrtc spec).

Messages are protobuf, ``{type, data}``; the length prefix is the stream's business, not this module's. The candidate of
an ``ICE_CANDIDATE`` message is the JSON of ``RTCIceCandidate.toJSON()``. The end of candidates is not specified:
js-libp2p never sends it, others send ``null``, ``""`` or a message of type 3; all of them are understood.

:class:`SignallingSession` holds the order of the conversation for one side. A peer that breaks it ends the session
with :class:`SignallingFailed`; what is merely strange (an unknown type, an unreadable candidate, too many of them) is
passed over and counted.
"""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from signalling.errors import DecodeError
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.wire import Kind, Message, optional
from stun.machine import Outbox

__all__ = [
    "SIGNALLING_PROTOCOL",
    "EndOfCandidates",
    "IceCandidate",
    "MessageType",
    "RemoteDescription",
    "SignallingFailed",
    "SignallingItem",
    "SignallingMessage",
    "SignallingRole",
    "SignallingSession",
    "Transmission",
    "answer_message",
    "candidate_message",
    "offer_message",
    "parse_candidate",
]

SIGNALLING_PROTOCOL = "/webrtc-signaling/0.0.1"


class MessageType(enum.IntEnum):
    """``Message.Type``; the last one is py-libp2p's own."""

    SDP_OFFER = 0
    SDP_ANSWER = 1
    ICE_CANDIDATE = 2
    ICE_DONE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class SignallingMessage(Message):
    """One message of the conversation. js-libp2p writes both fields always, a type of 0 too."""

    type: int | None = optional(1, Kind.ENUM)
    data: str | None = optional(2, Kind.STRING)


class SignallingRole(enum.Enum):
    """Which side of the conversation this is: the dialler offers, the listener answers."""

    DIALLER = "dialler"
    LISTENER = "listener"


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCandidate:
    """``RTCIceCandidateInit``: a candidate as browsers write it."""

    candidate: str
    """The candidate attribute, as the peer wrote it: node peers put ``a=`` before ``candidate:``."""
    sdp_mid: str | None = None
    """``sdpMid``."""
    sdp_mline_index: int | None = None
    """``sdpMLineIndex``."""
    username_fragment: str | None = None
    """``usernameFragment``."""

    def to_json(self) -> dict[str, str | int | None]:
        """Return the object that ``RTCIceCandidate.toJSON()`` would."""
        return {
            "candidate": self.candidate,
            "sdpMid": self.sdp_mid,
            "sdpMLineIndex": self.sdp_mline_index,
            "usernameFragment": self.username_fragment,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> IceCandidate:
        """Read such an object; members of another type than expected count as absent.

        Raises:
            DecodeError: there is no ``candidate`` text.
        """
        candidate = value.get("candidate")
        if not isinstance(candidate, str):
            raise DecodeError("the candidate object has no candidate text")
        mid, index, fragment = value.get("sdpMid"), value.get("sdpMLineIndex"), value.get("usernameFragment")
        return cls(
            candidate=candidate,
            sdp_mid=mid if isinstance(mid, str) else None,
            sdp_mline_index=index if isinstance(index, int) and not isinstance(index, bool) else None,
            username_fragment=fragment if isinstance(fragment, str) else None,
        )


@dataclass(frozen=True, slots=True)
class EndOfCandidates:
    """The peer has no more candidates."""


@dataclass(frozen=True, slots=True)
class RemoteDescription:
    """The peer's offer (at the listener) or answer (at the dialler)."""

    type: MessageType
    sdp: str


@dataclass(frozen=True, slots=True)
class SignallingFailed:
    """The peer broke the conversation; nothing further comes."""

    reason: str


@dataclass(frozen=True, slots=True)
class Transmission:
    """Effect: write one message to the stream."""

    message: bytes


SignallingItem = RemoteDescription | IceCandidate | EndOfCandidates | SignallingFailed


_OWN = {
    SignallingRole.DIALLER: MessageType.SDP_OFFER,
    SignallingRole.LISTENER: MessageType.SDP_ANSWER,
}

_EXPECTED = {
    SignallingRole.DIALLER: MessageType.SDP_ANSWER,
    SignallingRole.LISTENER: MessageType.SDP_OFFER,
}


def offer_message(sdp: str) -> bytes:
    """Return the message that carries an offer."""
    return SignallingMessage(type=MessageType.SDP_OFFER, data=sdp).serialize()


def answer_message(sdp: str) -> bytes:
    """Return the message that carries an answer."""
    return SignallingMessage(type=MessageType.SDP_ANSWER, data=sdp).serialize()


def candidate_message(candidate: IceCandidate | None) -> bytes:
    """Return the message that carries a candidate; None stands for the end of candidates and is sent as ``null``."""
    value = None if candidate is None else candidate.to_json()
    data = json.dumps(value, separators=(",", ":"))
    return SignallingMessage(type=MessageType.ICE_CANDIDATE, data=data).serialize()


_MESSAGES = {MessageType.SDP_OFFER: offer_message, MessageType.SDP_ANSWER: answer_message}


def parse_candidate(data: str) -> IceCandidate | EndOfCandidates:
    """Read the data of an ``ICE_CANDIDATE`` message.

    Raises:
        DecodeError: neither a candidate object nor one of the ways to say "no more".
    """
    if not data.strip():
        return EndOfCandidates()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DecodeError("the candidate is not JSON") from error
    if value is None or value == "":
        return EndOfCandidates()
    if not isinstance(value, dict):
        raise DecodeError("the candidate is not an object")
    candidate = IceCandidate.from_json(value)
    return candidate if candidate.candidate else EndOfCandidates()


class SignallingSession:
    """One side of one signalling conversation, without I/O."""

    def __init__(self, role: SignallingRole, config: SignallingConfig | None = None) -> None:
        self._config = config or SignallingConfig()
        self._awaited: MessageType | None = _EXPECTED[role]
        self._ended = False
        self._role = role
        self._sent_description = False
        self._early: list[IceCandidate | EndOfCandidates] = []
        self._candidates = 0
        self._ignored = 0
        self._outbox: Outbox[Transmission, SignallingItem] = Outbox()
        self.counters: Counter[str] = Counter()
        """What was passed over, by reason."""

    @property
    def ended(self) -> bool:
        """Whether the conversation is over: failed, or closed by the peer."""
        return self._ended

    def next_effect(self) -> Transmission | None:
        """Return the next message to write, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> SignallingItem | None:
        """Return the next thing that the peer said, or None."""
        return self._outbox.next_event()

    def send_description(self, kind: MessageType, sdp: str) -> None:
        """Send our offer (as dialler) or our answer (as listener).

        Raises:
            RuntimeError: the kind is the other side's, it was sent before, or the listener has not got the offer yet.
        """
        if kind is not _OWN[self._role]:
            raise RuntimeError(f"a {self._role.value} does not send an {kind.name}")
        if self._sent_description:
            raise RuntimeError("the description was sent before")
        if kind is MessageType.SDP_ANSWER and self._awaited is not None:
            raise RuntimeError("an answer needs the offer first")
        self._sent_description = True
        self._outbox.effects.append(Transmission(_MESSAGES[kind](sdp)))

    def send_candidate(self, candidate: IceCandidate | None) -> None:
        """Send a candidate of ours; None sends nothing, as js-libp2p does: the end of candidates is unspecified.

        Raises:
            RuntimeError: our description was not sent yet.
        """
        if not self._sent_description:
            raise RuntimeError("candidates follow the description")
        if candidate is not None:
            self._outbox.effects.append(Transmission(candidate_message(candidate)))

    def receive_message(self, message: bytes) -> None:
        """Take one message of the peer. Never raises, whatever it is."""
        if self._ended:
            self.counters["after the end"] += 1
            return
        try:
            parsed = SignallingMessage.parse(message)
        except DecodeError:
            self._pass_over("unreadable message")
            return
        number, data = parsed.type, parsed.data or ""
        if number in (MessageType.SDP_OFFER, MessageType.SDP_ANSWER):
            self._receive_description(MessageType(number), data)
        elif number == MessageType.ICE_CANDIDATE:
            self._receive_candidate(data)
        elif number == MessageType.ICE_DONE:
            self._deliver(EndOfCandidates())
        else:
            self._pass_over("unknown type")

    def receive_eof(self) -> None:
        """The peer closed its half of the stream: an end of candidates, or a failure before its description came."""
        if self._ended:
            return
        if self._awaited is not None:
            self._fail(f"the peer closed the stream before its {self._awaited.name}")
            return
        self._ended = True
        self._outbox.events.append(EndOfCandidates())

    def _receive_description(self, kind: MessageType, sdp: str) -> None:
        if kind is not self._awaited:
            self._fail(f"the peer sent an unexpected {kind.name}")
            return
        self._awaited = None
        self._outbox.events.append(RemoteDescription(kind, sdp))
        self._outbox.events.extend(self._early)
        self._early.clear()

    def _receive_candidate(self, data: str) -> None:
        try:
            item = parse_candidate(data)
        except DecodeError:
            self._pass_over("unreadable candidate")
            return
        if isinstance(item, IceCandidate):
            if self._candidates >= self._config.max_candidates:
                self.counters["too many candidates"] += 1
                return
            self._candidates += 1
        self._deliver(item)

    def _deliver(self, item: IceCandidate | EndOfCandidates) -> None:
        if self._awaited is None:
            self._outbox.events.append(item)
        elif len(self._early) < self._config.max_early_candidates:
            self._early.append(item)
        else:
            self.counters["too many early candidates"] += 1

    def _pass_over(self, reason: str) -> None:
        self.counters[reason] += 1
        self._ignored += 1
        if self._ignored > self._config.max_ignored:
            self._fail("the peer sent too much that is not understood")

    def _fail(self, reason: str) -> None:
        self._ended = True
        self._early.clear()
        self._outbox.events.append(SignallingFailed(reason))
