"""Presence, ``/lastresort/presence/1.0.0``: who at a relay wants to be found (a protocol of this project).

A peer that wants to be listed opens one stream to the relay and sends an ``Announce``; a peer that wants to know who
is there subscribes, over the same stream. The relay pushes the whole roster to every subscriber after each change, at
most once per :attr:`PresenceConfig.push_interval`. An entry leaves the roster when its stream ends, and so when its
connection does. Nobody is listed who did not ask to be.

Every message is protobuf behind an unsigned-varint length; the length is the stream's business, not this module's::

    Request  { Announce announce = 1; bool subscribe = 2; bool withdraw = 3 }
    Announce { string name = 1; Kind kind = 2 }
    Roster   { repeated Entry peers = 1 }
    Entry    { bytes peer = 1; string name = 2; Kind kind = 3 }
    Kind     { NATIVE = 0; BROWSER = 1 }

:class:`PresenceRegistry` is the relay's side, a machine without I/O; the subscriber's side is only the codec.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

from signalling.errors import DecodeError, PeerIdError
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.presence_messages import AnnounceMessage, EntryMessage, RequestMessage, RosterMessage
from stun.machine import Deadline, Outbox

__all__ = [
    "PROTOCOL",
    "Announcement",
    "Drop",
    "Joined",
    "Left",
    "PeerKind",
    "PresenceConfig",
    "PresenceEntry",
    "PresenceRegistry",
    "Push",
    "Request",
    "clean_name",
    "decode_request",
    "decode_roster",
    "encode_request",
    "encode_roster",
]

PROTOCOL = "/lastresort/presence/1.0.0"
"""The protocol id of presence streams."""


class PeerKind(enum.IntEnum):
    """What sort of peer an entry stands for."""

    NATIVE = 0
    BROWSER = 1

    @property
    def label(self) -> str:
        """``"native"`` or ``"browser"``, as JSON messages spell it."""
        return self.name.lower()


@dataclass(frozen=True, kw_only=True, slots=True)
class PresenceConfig:
    """Limits of a presence registry and of its subscribers."""

    max_entries: int = 256
    """How many streams may be listed at once; an ``Announce`` beyond that ends its stream."""

    max_members: int = 512
    """How many presence streams may be open at once, listed or not."""

    max_streams_per_peer: int = 4
    """How many presence streams one peer may hold."""

    max_name_length: int = 48
    """Characters of a name that are kept."""

    max_request_size: int = 1024
    """Bytes of one request; a longer one ends its stream."""

    max_roster_size: int = 65536
    """Bytes of one roster that a subscriber accepts."""

    push_interval: float = 0.2
    """Seconds between two pushes of the roster; changes in between are sent together."""

    first_retry: float = 0.25
    """Seconds a client waits before it joins again the first time; doubled at every failure."""

    last_retry: float = 5.0
    """Seconds a client waits at most before it joins again."""

    request_rate: float = 1.0
    """Requests per second that a stream may go on sending."""

    request_burst: int = 8
    """Requests that a stream may send at once before :attr:`request_rate` counts."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a peer says of itself."""

    name: str
    kind: PeerKind = PeerKind.NATIVE


@dataclass(frozen=True, slots=True)
class PresenceEntry:
    """One line of the roster."""

    peer: PeerId
    name: str
    kind: PeerKind


@dataclass(frozen=True, slots=True)
class Request:
    """What a peer asks of the registry; the three wishes may come together."""

    announce: Announcement | None = None
    subscribe: bool = False
    withdraw: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """Effect: send this encoded roster to these members; it replaces any roster not sent yet."""

    members: tuple[int, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Drop:
    """Effect: reset this member's stream."""

    member: int
    reason: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Event: the roster has a new or a changed entry."""

    entry: PresenceEntry


@dataclass(frozen=True, slots=True)
class Left:
    """Event: a peer is on the roster no more."""

    peer: PeerId


def clean_name(text: str, limit: int) -> str:
    """Return ``text`` on one line, without control or formatting characters, cut to ``limit`` characters."""
    kept = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text[: 8 * limit])
    return " ".join(kept.split())[:limit].strip()


def encode_request(request: Request) -> bytes:
    """Return the protobuf of ``request``."""
    announce = None
    if request.announce is not None:
        announce = AnnounceMessage(name=request.announce.name, kind=int(request.announce.kind))
    message = RequestMessage(announce=announce, subscribe=request.subscribe or None, withdraw=request.withdraw or None)
    return message.serialize()


def decode_request(data: bytes, config: PresenceConfig) -> Request:
    """Return the request in ``data``; an unknown kind counts as native.

    Raises:
        DecodeError: not protobuf of this shape.
    """
    message = RequestMessage.parse(data)
    announce = None
    if message.announce is not None:
        name = clean_name(message.announce.name or "", config.max_name_length)
        announce = Announcement(name, _kind(message.announce.kind))
    return Request(announce, bool(message.subscribe), bool(message.withdraw))


def encode_roster(entries: Iterable[PresenceEntry]) -> bytes:
    """Return the protobuf of a roster."""
    peers = tuple(EntryMessage(peer=entry.peer.to_bytes(), name=entry.name, kind=int(entry.kind)) for entry in entries)
    return RosterMessage(peers=peers).serialize()


def decode_roster(data: bytes, config: PresenceConfig) -> tuple[PresenceEntry, ...]:
    """Return the entries of a roster; entries whose peer id is malformed are left out, names are cleaned.

    Raises:
        DecodeError: not protobuf of this shape.
    """
    entries = []
    for item in RosterMessage.parse(data).peers[: config.max_entries]:
        try:
            peer = PeerId.from_bytes(item.peer or b"")
        except PeerIdError:
            continue
        entries.append(PresenceEntry(peer, clean_name(item.name or "", config.max_name_length), _kind(item.kind)))
    return tuple(entries)


def _kind(value: int | None) -> PeerKind:
    return PeerKind.BROWSER if value == PeerKind.BROWSER else PeerKind.NATIVE


@dataclass(slots=True)
class _Member:
    peer: PeerId
    tokens: float
    refilled_at: float
    announcement: Announcement | None = None
    subscribed: bool = False


@dataclass(slots=True)
class PresenceRegistry:
    """The relay's roster: a machine fed whole messages of numbered streams ("members") and the time.

    Not a datagram machine: members stand where paths would. :attr:`refused` counts what was turned away.
    """

    config: PresenceConfig = field(default_factory=PresenceConfig)
    refused: int = 0
    _members: dict[int, _Member] = field(default_factory=dict)
    _box: Outbox[Push | Drop, Joined | Left] = field(default_factory=Outbox)
    _push_at: float | None = None
    _pushed_at: float = float("-inf")

    def attach(self, member: int, peer: PeerId, now: float) -> None:
        """A stream opened; ``member`` is a number of the caller's choice, unique among the streams that are open."""
        if member in self._members:
            raise ValueError(f"member {member} is attached already")
        same_peer = sum(known.peer == peer for known in self._members.values())
        if len(self._members) >= self.config.max_members or same_peer >= self.config.max_streams_per_peer:
            self._drop(member, "too many presence streams")
            return
        self._members[member] = _Member(peer, float(self.config.request_burst), now)

    def detach(self, member: int, now: float) -> None:
        """A stream ended; harmless for a member that is unknown or was dropped."""
        gone = self._members.pop(member, None)
        if gone is not None and gone.announcement is not None:
            self._after_leaving(gone.peer, now)

    def receive_message(self, member: int, data: bytes, now: float) -> None:
        """Take one request; a malformed or excessive one drops the member."""
        known = self._members.get(member)
        if known is None:
            return
        if len(data) > self.config.max_request_size or not self._pay(known, now):
            self._drop(member, "too much asked")
            self.detach(member, now)
            return
        try:
            request = decode_request(data, self.config)
        except DecodeError:
            self._drop(member, "malformed request")
            self.detach(member, now)
            return
        self._apply(member, known, request, now)

    def handle_timeout(self, now: float) -> None:
        """Push the roster when a push is due."""
        if self._push_at is None or now < self._push_at:
            return
        self._push_at, self._pushed_at = None, now
        subscribers = tuple(number for number, member in self._members.items() if member.subscribed)
        if subscribers:
            self._box.effects.append(Push(subscribers, encode_roster(self.roster())))

    def next_timeout(self) -> Deadline | None:
        """When the next push is due."""
        return None if self._push_at is None else Deadline(self._push_at, "roster push")

    def next_effect(self) -> Push | Drop | None:
        """The next thing to do for the driver."""
        return self._box.next_effect()

    def next_event(self) -> Joined | Left | None:
        """The next change of the roster."""
        return self._box.next_event()

    def roster(self) -> tuple[PresenceEntry, ...]:
        """Who is listed, a peer once (its latest announcement), in the order in which they came."""
        entries: dict[PeerId, PresenceEntry] = {}
        for member in self._members.values():
            if member.announcement is not None:
                kind, name = member.announcement.kind, member.announcement.name
                entries[member.peer] = PresenceEntry(member.peer, name, kind)
        return tuple(entries.values())

    def _apply(self, number: int, member: _Member, request: Request, now: float) -> None:
        if request.announce is not None and request.announce != member.announcement:
            listed = sum(other.announcement is not None for other in self._members.values())
            if member.announcement is None and listed >= self.config.max_entries:
                self._drop(number, "the roster is full")
                self.detach(number, now)
                return
            member.announcement = request.announce
            entry = PresenceEntry(member.peer, request.announce.name, request.announce.kind)
            self._box.events.append(Joined(entry))
            self._schedule(now)
        if request.withdraw and member.announcement is not None:
            member.announcement = None
            self._after_leaving(member.peer, now)
        if request.subscribe and not member.subscribed:
            member.subscribed = True
            self._schedule(now)

    def _after_leaving(self, peer: PeerId, now: float) -> None:
        if all(entry.peer != peer for entry in self.roster()):
            self._box.events.append(Left(peer))
        self._schedule(now)

    def _schedule(self, now: float) -> None:
        if self._push_at is None:
            self._push_at = max(now, self._pushed_at + self.config.push_interval)

    def _pay(self, member: _Member, now: float) -> bool:
        earned = (now - member.refilled_at) * self.config.request_rate
        member.tokens = min(float(self.config.request_burst), member.tokens + earned)
        member.refilled_at = now
        if member.tokens < 1:
            return False
        member.tokens -= 1
        return True

    def _drop(self, number: int, reason: str) -> None:
        self.refused += 1
        self._box.effects.append(Drop(number, reason))
