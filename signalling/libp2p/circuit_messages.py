"""The messages of circuit relay v2: what a client says to a relay (hop) and a relay to a target (stop).

Messages are protobuf behind a length; the length prefix is the stream's business. The type is always written, zero too.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from signalling.errors import DecodeError
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.wire import Kind, Message, optional, repeated

__all__ = [
    "HOP_PROTOCOL",
    "STOP_PROTOCOL",
    "HopMessage",
    "HopType",
    "Limit",
    "LimitMessage",
    "PeerMessage",
    "ReservationMessage",
    "Status",
    "StopMessage",
    "StopType",
    "readable_addresses",
]

HOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/hop"
STOP_PROTOCOL = "/libp2p/circuit/relay/0.2.0/stop"


class Status(enum.IntEnum):
    """Why a relay or a target refused, or that it did not."""

    UNUSED = 0
    OK = 100
    RESERVATION_REFUSED = 200
    RESOURCE_LIMIT_EXCEEDED = 201
    PERMISSION_DENIED = 202
    CONNECTION_FAILED = 203
    NO_RESERVATION = 204
    MALFORMED_MESSAGE = 400
    UNEXPECTED_MESSAGE = 401


class HopType(enum.IntEnum):
    """``HopMessage.Type``."""

    RESERVE = 0
    CONNECT = 1
    STATUS = 2


class StopType(enum.IntEnum):
    """``StopMessage.Type``."""

    CONNECT = 0
    STATUS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a relay allows on a relayed connection; 0 means no limit of that kind."""

    duration: int = 0
    """Seconds until the relay resets the connection (js-libp2p means milliseconds)."""
    data: int = 0
    """Bytes in each direction until the relay resets the connection (some relays count both together)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitMessage(Message):
    """``Limit`` on the wire."""

    duration: int | None = optional(1, Kind.UINT32)
    data: int | None = optional(2, Kind.UINT64)

    @classmethod
    def of(cls, limit: Limit | None) -> LimitMessage | None:
        """Return the message for ``limit``; None, which is absent on the wire, for none."""
        return None if limit is None else cls(duration=limit.duration, data=limit.data)

    def limit(self) -> Limit | None:
        """Return the limit, or None when both numbers are 0: that is no limit."""
        if not self.duration and not self.data:
            return None
        return Limit(duration=self.duration or 0, data=self.data or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerMessage(Message):
    """``Peer`` on the wire."""

    id: bytes | None = optional(1, Kind.BYTES)
    addresses: tuple[bytes, ...] = repeated(2, Kind.BYTES)

    def peer_id(self) -> PeerId:
        """Return whom it names.

        Raises:
            DecodeError: the id is absent or no peer id.
        """
        if self.id is None:
            raise DecodeError("the peer has no id")
        return PeerId.from_bytes(self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservationMessage(Message):
    """``Reservation`` on the wire."""

    expire: int | None = optional(1, Kind.UINT64)
    addresses: tuple[bytes, ...] = repeated(2, Kind.BYTES)
    voucher: bytes | None = optional(3, Kind.BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class HopMessage(Message):
    """What a client and a relay say to each other. An unknown ``type`` or ``status`` stays a plain number."""

    type: int | None = optional(1, Kind.ENUM)
    peer: PeerMessage | None = optional(2, PeerMessage)
    reservation: ReservationMessage | None = optional(3, ReservationMessage)
    limit: LimitMessage | None = optional(4, LimitMessage)
    status: int | None = optional(5, Kind.ENUM)


@dataclass(frozen=True, slots=True, kw_only=True)
class StopMessage(Message):
    """What a relay and a target say to each other."""

    type: int | None = optional(1, Kind.ENUM)
    peer: PeerMessage | None = optional(2, PeerMessage)
    limit: LimitMessage | None = optional(3, LimitMessage)
    status: int | None = optional(4, Kind.ENUM)


def readable_addresses(encoded: Sequence[bytes], limit: int) -> tuple[Multiaddr, ...]:
    """Return at most ``limit`` of the addresses, each once, those left out that cannot be read."""
    found: dict[Multiaddr, None] = {}
    for data in encoded:
        try:
            found[Multiaddr.from_bytes(data)] = None
        except DecodeError:
            continue
        if len(found) == limit:
            break
    return tuple(found)
