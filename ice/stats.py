"""Numbers about a session (names after the W3C's webrtc-stats where it has them)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ice.checking import Checking
from ice.events import State
from ice.pair import CandidatePair, PairState
from ice.relay import RelayStats
from ice.roles import Role, RoleKeeper
from ice.tcp import TcpStats

__all__ = ["AgentStats", "PairStats"]


@dataclass(frozen=True, slots=True)
class PairStats:
    """One candidate pair at one moment."""

    local: str
    """Our candidate as ``type address``."""
    remote: str
    """The peer's candidate as ``type address``."""
    state: PairState
    nominated: bool
    selected: bool
    priority: int
    requests_sent: int
    """Checks and consent checks, retransmissions included."""
    requests_received: int
    responses_sent: int
    responses_received: int
    current_round_trip_time: float | None
    """The latest round trip, in seconds."""
    total_round_trip_time: float
    """The sum of all that were measured, in seconds."""

    @classmethod
    def of(cls, pair: CandidatePair, selected: CandidatePair | None) -> PairStats:
        """Return a picture of ``pair``."""
        shown = pair.valid or pair
        # Consent checks are counted on the valid pair, which need not be the one whose check made it valid.
        counted = (pair,) if shown is pair else (pair, shown)
        return cls(
            local=f"{shown.local.type.value} {shown.local.shown_address}",
            remote=f"{shown.remote.type.value} {shown.remote.shown_address}",
            state=pair.state,
            nominated=shown.nominated,
            selected=selected is not None and shown.path == selected.path,
            priority=shown.priority,
            requests_sent=sum(each.requests_sent for each in counted),
            requests_received=sum(each.requests_received for each in counted),
            responses_sent=sum(each.responses_sent for each in counted),
            responses_received=sum(each.responses_received for each in counted),
            current_round_trip_time=shown.round_trip_time,
            total_round_trip_time=sum(each.total_round_trip_time for each in counted),
        )


@dataclass(frozen=True, slots=True)
class AgentStats:
    """One session at one moment."""

    state: State
    role: Role
    role_switches: int
    """How often a role conflict changed our role."""
    pairs: tuple[PairStats, ...]
    """The checklist, best first."""
    trimmed_pairs: int
    """Pairs that the limit of the checklist cost."""
    dropped: Mapping[str, int]
    """Datagrams and candidates that were dropped, by reason."""

    relays: tuple[RelayStats, ...] = ()
    """The TURN servers, in the order in which they were asked."""

    tcp: TcpStats = field(default_factory=TcpStats)
    """The connections of TCP candidates."""

    @classmethod
    def of(
        cls,
        state: State,
        roles: RoleKeeper,
        checking: Checking,
        drops: Mapping[str, int],
        relays: tuple[RelayStats, ...] = (),
        tcp: TcpStats | None = None,
    ) -> AgentStats:
        """Return a picture of a session; ``drops`` may have zeros, which are left out."""
        return cls(
            state=state,
            role=roles.role,
            role_switches=roles.switches,
            pairs=tuple(PairStats.of(pair, checking.selected) for pair in checking.checklist),
            trimmed_pairs=checking.checklist.trimmed,
            dropped={reason: count for reason, count in drops.items() if count},
            relays=relays,
            tcp=tcp or TcpStats(),
        )

    @property
    def selected(self) -> PairStats | None:
        """The pair in use, or None."""
        return next((pair for pair in self.pairs if pair.selected), None)
