"""Who nominates: the roles and the repair of a conflict between them (RFC 8445 sections 6.1.1, 7.2.5.1, 7.3.1.1)."""

from __future__ import annotations

import enum
import random
from typing import Final, Protocol

__all__ = ["Conflict", "Role", "RoleKeeper"]


class Role(enum.StrEnum):
    """The side of the session that nominates, or the one that follows."""

    CONTROLLING = "controlling"
    CONTROLLED = "controlled"

    @property
    def other(self) -> Role:
        """The opposite role."""
        return Role.CONTROLLED if self is Role.CONTROLLING else Role.CONTROLLING


class Conflict(enum.Enum):
    """What a request's role attribute means for us."""

    NONE = enum.auto()
    """The peer has the other role."""
    REFUSE = enum.auto()
    """The peer has our role and has to change: answer 487."""
    YIELD = enum.auto()
    """The peer has our role and we have to change, then answer as usual."""


# RFC 8445 section 7.3.1.1: with the greater or equal tiebreaker one ends controlling.
_VERDICTS: Final[dict[tuple[Role, bool], Conflict]] = {
    (Role.CONTROLLING, True): Conflict.REFUSE,
    (Role.CONTROLLING, False): Conflict.YIELD,
    (Role.CONTROLLED, True): Conflict.YIELD,
    (Role.CONTROLLED, False): Conflict.REFUSE,
}


class _Follower(Protocol):
    def role_changed(self) -> None: ...


class RoleKeeper:
    """Our role and tiebreaker of one session, for all its components."""

    __slots__ = ("_rng", "followers", "role", "switches", "tiebreaker")

    def __init__(self, role: Role, rng: random.Random) -> None:
        self.role = role
        self.tiebreaker = rng.getrandbits(64)
        """Constant for the session, except after a 487 (RFC 8445 section 7.2.5.1)."""
        self.switches = 0
        """How often a conflict changed the role."""
        self.followers: tuple[_Follower, ...] = ()
        """Who is told when the role has been switched: whatever goes by it has to be computed anew."""
        self._rng = rng

    def judge(self, peer_role: Role, peer_tiebreaker: int) -> Conflict:
        """Return what to do about a request that carries this role and tiebreaker (section 7.3.1.1)."""
        if peer_role is not self.role:
            return Conflict.NONE
        return _VERDICTS[self.role, self.tiebreaker >= peer_tiebreaker]

    def switch(self) -> None:
        """Take the other role because the tiebreakers say so; the tiebreaker stays."""
        self.role = self.role.other
        self.switches += 1
        for follower in self.followers:
            follower.role_changed()

    def refused(self, sent_role: Role) -> bool:
        """Take note of a 487 to a request sent in ``sent_role``; return whether the role changed now.

        A 487 to a request of an earlier role is late news: the role it asks for is already ours.
        """
        if sent_role is not self.role:
            return False
        self.switch()
        self.tiebreaker = self._rng.getrandbits(64)
        return True
