"""The protobuf messages of ``/lastresort/presence/1.0.0``; what they mean is in :mod:`signalling.libp2p.presence`."""

from __future__ import annotations

from dataclasses import dataclass

from signalling.libp2p.wire import Kind, Message, optional, repeated

__all__ = ["AnnounceMessage", "EntryMessage", "RequestMessage", "RosterMessage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceMessage(Message):
    """What a peer says of itself: a name and a ``PeerKind``."""

    name: str | None = optional(1, Kind.STRING)
    kind: int | None = optional(2, Kind.ENUM)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMessage(Message):
    """Peer to relay: any of three wishes."""

    announce: AnnounceMessage | None = optional(1, AnnounceMessage)
    subscribe: bool | None = optional(2, Kind.BOOL)
    withdraw: bool | None = optional(3, Kind.BOOL)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryMessage(Message):
    """One peer of a roster."""

    peer: bytes | None = optional(1, Kind.BYTES)
    name: str | None = optional(2, Kind.STRING)
    kind: int | None = optional(3, Kind.ENUM)


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterMessage(Message):
    """Relay to peer: everybody who is listed."""

    peers: tuple[EntryMessage, ...] = repeated(1, EntryMessage)
