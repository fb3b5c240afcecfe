"""What an agent tells its application (RFC 8445; names after the W3C's RTCIceTransport)."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from ice.candidate import Candidate
from ice.description import Description
from ice.errors import FailureReason
from ice.pair import CandidatePair
from ice.roles import Role
from ice.state import State
from stun.plain import Plain

__all__ = [
    "CandidateErrorFound",
    "ErrorStage",
    "Event",
    "GatheringCompleted",
    "GatheringSettled",
    "LocalCandidateFound",
    "PairSelected",
    "RestartReason",
    "RestartWanted",
    "Restarted",
    "RoleChanged",
    "State",
    "StateChanged",
]


@dataclass(frozen=True, slots=True)
class LocalCandidateFound:
    """A candidate to tell the peer."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class GatheringSettled:
    """All local candidates that are worth waiting for are known; it comes before the end of candidates, or with it.

    What may follow until then is of STUN servers that have been silent over TCP for ``gathering_grace``.
    """

    ufrag: str


@dataclass(frozen=True, slots=True)
class GatheringCompleted:
    """No more local candidates come: tell the peer the end of candidates for ``ufrag`` (RFC 8838 section 13)."""

    ufrag: str


class StateChanged(Plain):
    """The session went from ``old`` to ``new``."""

    __slots__ = ("new", "old", "reason")

    __match_args__: Final = ("old", "new", "reason")

    def __init__(self, old: State, new: State, reason: FailureReason | None = None) -> None:
        self.old: Final = old
        self.new: Final = new
        self.reason: Final = reason
        """Why, when ``new`` is FAILED or CLOSED."""


class PairSelected(Plain):
    """Data goes along ``pair`` from now on."""

    __slots__ = ("pair",)

    __match_args__: Final = ("pair",)

    def __init__(self, pair: CandidatePair) -> None:
        self.pair: Final = pair


@dataclass(frozen=True, slots=True)
class Restarted:
    """An ICE restart has begun (RFC 8445 section 9): tell the peer ``description``, then the candidates that follow."""

    description: Description
    by_peer: bool
    """Whether the peer's new description began it, and this one is the answer."""


class RestartReason(enum.StrEnum):
    """Why a session would be better off with an ICE restart."""

    PATH_DEAD = "the path in use does not answer, and no other may be used without a restart"
    BETTER_PATH = "there is a better path, and it may not be used without a restart"


@dataclass(frozen=True, slots=True)
class RestartWanted:
    """The session asks to be restarted; until then it stays as it is. It asks seldom, and not for ever."""

    reason: RestartReason


@dataclass(frozen=True, slots=True)
class RoleChanged:
    """A role conflict was repaired by changing our role to this one (RFC 8445 section 7.3.1.1)."""

    role: Role


class ErrorStage(enum.StrEnum):
    """What a TURN server failed at."""

    GATHERING = "gathering"
    """There is no relayed candidate of it."""
    PERMISSION = "permission"
    """It relays, but not to one of the peer's addresses."""
    RELAYING = "relaying"
    """It did relay, and has stopped."""


@dataclass(frozen=True, slots=True)
class CandidateErrorFound:
    """Why a relayed candidate is missing, or gone (fields after the W3C's RTCPeerConnectionIceErrorEvent)."""

    url: str
    """The server, as it was configured."""
    address: str | None
    """Our own address that it was asked from; None where it is not known or not to be shown."""
    port: int | None
    """The port of ``address``."""
    error_code: int
    """The code that the server said (300..699), or 701 when the server could not be reached or said nothing."""
    error_text: str
    """What is wrong, with the server's name and address."""
    stage: ErrorStage


Event = (
    LocalCandidateFound
    | GatheringSettled
    | GatheringCompleted
    | StateChanged
    | PairSelected
    | RestartWanted
    | Restarted
    | RoleChanged
    | CandidateErrorFound
)
