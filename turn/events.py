"""What a TURN client tells its application: frozen events; relayed data is none of them (it takes a shorter way)."""

from __future__ import annotations

from dataclasses import dataclass

from stun.address import FiveTuple, TransportAddress
from stun.values import Icmp
from turn.errors import TurnError

__all__ = [
    "Allocated",
    "AllocationFailed",
    "AllocationLost",
    "ChannelBound",
    "ChannelFailed",
    "Closed",
    "ConnectionAttempted",
    "CredentialsWanted",
    "FamilyLost",
    "MoveFailed",
    "Moved",
    "PeerConnectFailed",
    "PeerConnected",
    "PeerUnreachable",
    "PermissionFailed",
    "PermissionGranted",
    "TurnEvent",
]


@dataclass(frozen=True, slots=True)
class Allocated:
    """The server relays for us from now on (RFC 8656 section 7.3)."""

    relayed: tuple[TransportAddress, ...]
    """The relayed transport addresses: one, or one of each family."""
    mapped: TransportAddress
    """Our address as the server sees it: a server-reflexive address."""
    lifetime: int
    """Seconds that the server granted at first; the client refreshes in time."""
    family_errors: tuple[TurnError, ...] = ()
    """Why a family of a dual allocation is missing."""
    reservation_token: bytes | None = None
    """The token for the next higher port, with EVEN_AND_RESERVE_NEXT; it is good for at least 30 seconds."""
    mobile: bool = False
    """Whether the allocation may move to another local address (RFC 8016)."""
    software: str | None = None
    """SOFTWARE of the server."""


@dataclass(frozen=True, slots=True)
class AllocationFailed:
    """There is no allocation, and why."""

    error: TurnError


@dataclass(frozen=True, slots=True)
class AllocationLost:
    """There was an allocation; it is gone with its permissions and channels, and why."""

    error: TurnError


@dataclass(frozen=True, slots=True)
class FamilyLost:
    """One relayed address of a dual allocation was given back."""

    family: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The allocation was given back at our own wish, and the server has confirmed it or had its time to."""


@dataclass(frozen=True, slots=True)
class PermissionGranted:
    """Peers at this host may send to the relayed address, and we to them (9); told once, not with every refresh."""

    host: str


@dataclass(frozen=True, slots=True)
class PermissionFailed:
    """The server does not let us talk to this host."""

    host: str
    error: TurnError


@dataclass(frozen=True, slots=True)
class ChannelBound:
    """Data to and from this peer goes over a channel (12)."""

    peer: TransportAddress
    channel: int


@dataclass(frozen=True, slots=True)
class ChannelFailed:
    """No channel for this peer; its data goes on in indications."""

    peer: TransportAddress
    error: TurnError


@dataclass(frozen=True, slots=True)
class PeerUnreachable:
    """An ICMP error came back for what was relayed to this peer (11.5, 11.6)."""

    peer: TransportAddress
    icmp: Icmp


@dataclass(frozen=True, slots=True)
class PeerConnected:
    """The server is connected to this peer; the connection id has to be bound at once (RFC 6062 section 4.3)."""

    peer: TransportAddress
    connection_id: int


@dataclass(frozen=True, slots=True)
class PeerConnectFailed:
    """The server could not, or would not, connect to this peer."""

    peer: TransportAddress
    error: TurnError


@dataclass(frozen=True, slots=True)
class ConnectionAttempted:
    """A peer has connected to the relayed address; bind the id within 30 seconds to take it (RFC 6062 section 4.4)."""

    peer: TransportAddress
    connection_id: int


@dataclass(frozen=True, slots=True)
class Moved:
    """The allocation has moved to a new path (RFC 8016 section 3.2)."""

    path: FiveTuple


@dataclass(frozen=True, slots=True)
class MoveFailed:
    """The allocation stays where it was."""

    path: FiveTuple
    error: TurnError


@dataclass(frozen=True, slots=True)
class CredentialsWanted:
    """The credentials run out soon, or the server has refused them: answer with ``renew`` or ``renewal_failed``."""

    server_name: str | None = None
    """For whom an access token is wanted (RFC 7635 section 6.1); None where a name and a password are."""


TurnEvent = (
    Allocated
    | AllocationFailed
    | AllocationLost
    | FamilyLost
    | Closed
    | PermissionGranted
    | PermissionFailed
    | ChannelBound
    | ChannelFailed
    | PeerUnreachable
    | PeerConnected
    | PeerConnectFailed
    | ConnectionAttempted
    | Moved
    | MoveFailed
    | CredentialsWanted
)
