"""Candidate pairs and what is known about them (RFC 8445 section 6.1.2)."""

from __future__ import annotations

import enum
import functools
from typing import Final

from ice.candidate import Candidate, CandidateType, TcpType
from ice.priority import pair_priority
from ice.roles import Role
from stun.address import FiveTuple, TransportAddress

__all__ = ["COUNTERPARTS", "CandidatePair", "PairState", "can_meet"]

COUNTERPARTS: Final = {
    TcpType.ACTIVE: TcpType.PASSIVE,
    TcpType.PASSIVE: TcpType.ACTIVE,
    TcpType.SIMULTANEOUS_OPEN: TcpType.SIMULTANEOUS_OPEN,
}
"""Which kind of candidate a TCP candidate can meet (RFC 6544 section 6.2)."""

_RELAYED: Final = CandidateType.RELAYED
_CONTROLLING: Final = Role.CONTROLLING


def can_meet(local: Candidate, remote: Candidate) -> bool:
    """Whether two candidates speak one transport, and over TCP one opens what the other takes (RFC 6544 6.2)."""
    if local.transport != remote.transport:
        return False
    return local.tcp_type is None or COUNTERPARTS[local.tcp_type] is remote.tcp_type


class PairState(enum.StrEnum):
    """The states of RFC 8445 section 6.1.2.6."""

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether the pair may still succeed without anyone's doing."""
        return self in (_FROZEN, _WAITING, _IN_PROGRESS)


_FROZEN: Final = PairState.FROZEN
_WAITING: Final = PairState.WAITING
_IN_PROGRESS: Final = PairState.IN_PROGRESS


@functools.lru_cache(maxsize=256)
def _same_foundation(ours: str, theirs: str) -> tuple[str, str]:
    # Sessions of one kind number their foundations alike.
    return ours, theirs


class CandidatePair:
    """A local and a remote candidate. The agent owns and changes it; applications read it."""

    __slots__ = (
        "foundation",
        "last_check_at",
        "local",
        "nominate_on_success",
        "nominated",
        "nomination",
        "path",
        "priority",
        "recheck_at",
        "remote",
        "requests_received",
        "requests_sent",
        "responses_received",
        "responses_sent",
        "round_trip_time",
        "state",
        "succeeded_at",
        "total_round_trip_time",
        "username",
        "valid",
    )

    def __init__(self, local: Candidate, remote: Candidate, role: Role) -> None:
        base, address = local.base, remote.address
        if base is None or not isinstance(address, TransportAddress):
            raise ValueError("a pair needs a local candidate with a base and a remote one with an IP address")
        self.local = local
        """Our candidate."""
        self.remote = remote
        """The peer's candidate."""
        self.foundation = _same_foundation(local.foundation, remote.foundation)
        """Both candidates' foundations: what freezing goes by (section 6.1.2.6)."""
        self.path = FiveTuple(base, address, local.protocol)
        """What datagrams of this pair really travel on: from our base to the peer's candidate."""
        self.priority = 0
        """The pair priority (section 6.1.2.3), equal on both sides."""
        self.state = _FROZEN
        """The checklist's state of the pair."""
        self.nominated = False
        """Whether the controlling side chose it (section 8.1.1)."""
        self.nominate_on_success = False
        """The controlled side was told to use it before its own check succeeded (section 7.3.1.5)."""
        self.nomination = 0
        """The number of the peer's nomination, if it numbers them (draft-thatcher-ice-renomination)."""
        self.valid: CandidatePair | None = None
        """The valid pair that this pair's check produced (section 7.2.5.3.2); often the pair itself."""
        self.last_check_at: float | None = None
        """When a check was last sent, in monotonic seconds; None also after a role conflict, to try again at once."""
        self.recheck_at = 0.0
        """When a check that the peer's check has triggered may go out at the earliest, in monotonic seconds."""
        self.username: str | None = None
        """What our checks say in USERNAME: the two descriptions that the peer's checks on this path name. A peer may
        keep to an older one of ours (libwebrtc does when it restarts and its new port is ready before our answer)."""
        self.succeeded_at: float | None = None
        """When an answer last arrived, in monotonic seconds."""
        self.requests_sent = 0
        self.requests_received = 0
        self.responses_sent = 0
        self.responses_received = 0
        self.round_trip_time: float | None = None
        """The latest round trip in seconds; not measured on retransmitted checks (Karn's rule)."""
        self.total_round_trip_time = 0.0
        self.reprioritise(role)

    def replace_remote(self, remote: Candidate, role: Role) -> None:
        """Let another candidate of the peer, of the same address, take the place of the one before."""
        self.remote = remote
        self.foundation = _same_foundation(self.local.foundation, remote.foundation)
        self.reprioritise(role)

    def reprioritise(self, role: Role) -> None:
        """Compute the priority for our ``role`` after the role or a candidate changed."""
        local, remote = self.local.priority, self.remote.priority
        self.priority = pair_priority(local, remote) if role is _CONTROLLING else pair_priority(remote, local)

    @property
    def is_relayed(self) -> bool:
        """Whether a TURN server is on the path, ours or the peer's."""
        return _RELAYED in (self.local.type, self.remote.type)

    @property
    def is_opened_by_peer(self) -> bool:
        """Whether only the peer can open the connection of this pair (RFC 6544 section 6.2)."""
        return self.local.tcp_type is TcpType.PASSIVE

    def note_round_trip(self, seconds: float) -> None:
        """Record one measured round trip."""
        self.round_trip_time = seconds
        self.total_round_trip_time += seconds

    def __repr__(self) -> str:
        return (
            f"<{self.local.type.value} {self.local.shown_address}"
            f" -> {self.remote.type.value} {self.remote.shown_address}"
            f" {self.state.value}{' nominated' if self.nominated else ''}>"
        )
