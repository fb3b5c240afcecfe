"""What the TURN server asks of its driver (effects) and tells its operator (events).

Relayed datagrams are neither: they take the short way through :class:`turn.service.data.DataPlane`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stun.address import FiveTuple, TransportAddress, TransportProtocol

__all__ = [
    "AllocationCreated",
    "AllocationEnded",
    "AllocationMoved",
    "AllocationRefused",
    "CloseRelay",
    "DialPeer",
    "DropPeer",
    "EndReason",
    "OpenRelay",
    "PeerFailure",
    "RelayFailure",
    "SendToPeer",
    "ServerEvent",
    "Splice",
]


# -- effects; beside these the server makes stun.machine.Transmit and stun.machine.Release --


@dataclass(frozen=True, slots=True)
class OpenRelay:
    """Bind a relayed transport address; answer with ``relay_opened`` or ``relay_failed``, at once or later."""

    address: TransportAddress
    protocol: TransportProtocol
    """UDP for a datagram socket, TCP for a listening one."""


@dataclass(frozen=True, slots=True)
class CloseRelay:
    """Free a relayed transport address. Connections that it carries are told of by :class:`DropPeer`."""

    address: TransportAddress
    protocol: TransportProtocol


@dataclass(frozen=True, slots=True)
class SendToPeer:
    """Send one UDP datagram from a relayed address."""

    relay: TransportAddress
    peer: TransportAddress
    data: bytes
    dont_fragment: bool = False
    """Whether to set the DF bit."""


@dataclass(frozen=True, slots=True)
class DialPeer:
    """Connect to a peer over TCP from a relayed address; answer with ``peer_connected`` or ``peer_failed``.

    Nothing is read from the connection until it is spliced, so what the peer sends waits in the kernel.
    """

    connection: int
    relay: TransportAddress
    peer: TransportAddress


@dataclass(frozen=True, slots=True)
class Splice:
    """From now on carry bytes between the client's stream ``path`` and a peer's connection, with back-pressure.

    Bytes of ``path`` no longer come here; tell ``path_closed`` and ``peer_closed`` when the two ends are gone.
    """

    connection: int
    path: FiveTuple
    early: bytes
    """What the client sent behind its ConnectionBind."""


@dataclass(frozen=True, slots=True)
class DropPeer:
    """Close the connection to a peer, or stop dialling it; no answer is wanted."""

    connection: int


class RelayFailure(enum.Enum):
    """Why a relayed address could not be bound."""

    IN_USE = "the port is taken"
    UNAVAILABLE = "the address is not there, or descriptors have run out"


class PeerFailure(enum.Enum):
    """Why a peer could not be dialled."""

    FAILED = "refused or unreachable"
    UNSUPPORTED = "this host cannot dial from a relayed address"


# -- events --


class EndReason(enum.Enum):
    """Why an allocation ended."""

    EXPIRED = "expired"
    DELETED = "deleted by its client"
    DISCONNECTED = "its connection is gone"
    CLOSED = "the server stops"


@dataclass(frozen=True, slots=True)
class AllocationCreated:
    """A client has relayed addresses now."""

    number: int
    path: FiveTuple
    username: str
    relays: tuple[TransportAddress, ...]
    """As they are advertised."""
    lifetime: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class AllocationRefused:
    """A client with good credentials got no allocation."""

    path: FiveTuple
    username: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class AllocationMoved:
    """A client came back at another address (RFC 8016)."""

    number: int
    before: FiveTuple
    path: FiveTuple


@dataclass(frozen=True, slots=True)
class AllocationEnded:
    """An allocation is gone, with what it relayed."""

    number: int
    path: FiveTuple
    username: str
    reason: EndReason
    seconds: float
    """How long it lived."""
    packets_to_peers: int
    bytes_to_peers: int
    packets_to_client: int
    bytes_to_client: int


ServerEvent = AllocationCreated | AllocationRefused | AllocationMoved | AllocationEnded
"""Everything that ``next_event`` returns."""
