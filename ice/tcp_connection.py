"""One connection of a session: how it is asked for, why it is not opened, how far it is (RFC 6544)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stun.address import FiveTuple

__all__ = ["Connect", "ConnectError", "Connection", "Framing", "Phase"]


class Framing(enum.Enum):
    """How packets lie in the bytes of a connection."""

    ICE = "RFC 4571"
    """A length of 16 bits before each packet: between the two agents (RFC 6544 section 7.1)."""
    STUN = "RFC 8489"
    """By the lengths in STUN headers: with a STUN server."""


class ConnectError(enum.StrEnum):
    """Why a connection was not opened."""

    REFUSED = "refused"
    """RST: nobody listens there, or a NAT does not let us in (yet)."""
    UNREACHABLE = "unreachable"
    """ICMP, or no route."""
    TIMED_OUT = "timed out"
    IN_USE = "address in use"
    """The same five-tuple exists: the peer's connection has just arrived, or an old one is not forgotten yet."""
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Connect:
    """Effect: open the connection of ``path``; answer with ``path_opened`` or ``path_failed``, never from within.

    From an active base (port 9) any local port will do; from others it is the port that is listened on, too.
    """

    path: FiveTuple
    framing: Framing = Framing.ICE
    ttl: int | None = None
    """The IP time to live of the first SYN, or None for the system's; put back once the connection is open."""


class Phase(enum.Enum):
    """How far a connection is."""

    WANTED = enum.auto()
    """Waits for the head start of UDP, or for room."""
    OPENING = enum.auto()
    PAUSED = enum.auto()
    """The last attempt failed, another one follows."""
    OPEN = enum.auto()


@dataclass(slots=True, eq=False)
class Connection:
    """A connection that there is, or is to be."""

    path: FiveTuple
    phase: Phase
    since: float
    """When it was asked for, or accepted."""
    is_incoming: bool = False
    is_authentic: bool = False
    """Whether a check of the peer has authenticated on it."""
    attempts: int = 0
    at: float | None = None
    """When the phase ends by itself."""
