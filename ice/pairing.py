"""Which candidates are paired: those of the start, late ones, bases that go (RFC 8445 6.1.2, RFC 8838 10, 11)."""

from __future__ import annotations

import random
from typing import Final

from ice.amplification import Amplification
from ice.candidate import Base, Candidate, CandidateType, TcpType
from ice.checklist import CheckList
from ice.checklist_set import ChecklistSet
from ice.checks import CheckClient, Credentials
from ice.config import IceConfig
from ice.description import Description
from ice.events import PairSelected
from ice.failover import Doubt
from ice.local import LocalCandidates
from ice.moving import Moving
from ice.nomination import Nomination
from ice.pair import COUNTERPARTS, CandidatePair, can_meet
from ice.remote import Rejection, RemoteCandidates
from ice.roles import RoleKeeper
from ice.scheduler import Scheduler
from ice.sources import AcceptedSources
from ice.tcp import TcpPaths
from stun.address import FiveTuple, TransportAddress
from stun.machine import Transmit

__all__ = ["Pairing"]

_PASSIVE: Final = TcpType.PASSIVE
_RELAYED: Final = CandidateType.RELAYED


class Pairing:
    """The rooms of :class:`~ice.checking.Checking`, and the pairs in them."""

    __slots__ = (
        "_amplification",
        "_client",
        "_config",
        "_local",
        "_nomination",
        "_remotes",
        "_rng",
        "_roles",
        "_scheduler",
        "_sources",
        "_tcp",
        "accepted",
        "checklist",
        "doubt",
        "moving",
        "selected",
        "selected_is_fresh",
        "selections",
        "unsent",
    )

    def __init__(
        self,
        config: IceConfig,
        local: LocalCandidates,
        remotes: RemoteCandidates,
        roles: RoleKeeper,
        sources: AcceptedSources,
        tcp: TcpPaths,
        rng: random.Random,
        together: ChecklistSet,
    ) -> None:
        self._config = config
        self._local = local
        self._remotes = remotes
        self._roles = roles
        self._sources = sources
        self._tcp = tcp
        self._rng = rng
        self._client: CheckClient | None = None
        self._amplification = Amplification(config.max_amplification, remotes)
        self._nomination = Nomination(config, local)
        self.accepted: tuple[FiveTuple, ...] = ()
        """The paths on which the peer has authenticated: data is taken from there."""
        self.checklist = CheckList(config.max_pairs, together)
        self.moving = Moving(config, self.checklist, roles)
        """What happens beside the selected pair."""
        self._scheduler = Scheduler(config, self.checklist)
        self.unsent: tuple[Transmit, ...] = ()
        """Checks that are to be sent, in their order; whoever reads them sets it back."""
        self.selections: tuple[PairSelected, ...] = ()
        """Pairs that have been selected since somebody looked, likewise."""
        self.selected: CandidatePair | None = None
        """The valid pair in use."""
        self.selected_is_fresh = True
        """Whether the peer answers on it; the owner of the consent tells, with :meth:`note_life`."""
        self.doubt = Doubt.NONE
        """What the peer's latest checks say about the selected path; whoever reads it sets it back."""
        self._begin()

    def _begin(self) -> None:
        """Set up what a kind of agent has beside all this."""

    # -- pairs --

    def start(self, credentials: Credentials, ours: Description, theirs: Description) -> None:
        """Begin sending checks, signed with these credentials of these descriptions."""
        self._client = CheckClient(self._config, credentials, self._roles, self._rng)
        self.moving.start(ours, theirs)
        self.checklist.together.agree(theirs.pacing, self._config.max_ta)
        self.checklist.together.join(self.checklist)

    def pair_local(self, ours: Candidate, now: float) -> None:
        """Form the pairs of a new host or relayed candidate with all of the peer's that are not paired with it yet."""
        for remote in self._remotes.all():
            if self._can_pair(ours, remote):
                self._form(ours, remote, now)

    def pair_remote(self, remote: Candidate, now: float) -> None:
        """Form the pairs of a new candidate of the peer with all of our bases."""
        met = None if remote.tcp_type is None or remote.transport != "tcp" else COUNTERPARTS[remote.tcp_type]
        # Who has that type speaks the same transport, too.
        bases = [ours for ours in self._local.own.values() if ours.tcp_type is met and self._can_reach(ours, remote)]
        if not bases and self._local.hosts:
            self._remotes.reject(Rejection.FAMILY)  # It stays known, for a base that may come later.
        for ours in bases:
            self._form(ours, remote, now)

    def _form(self, ours: Candidate, remote: Candidate, now: float) -> None:
        if ours.tcp_type is _PASSIVE:
            return  # RFC 6544 section 6.2: such pairs wait for the peer to connect.
        if self.selected is None:
            self.checklist.form(ours, remote, self._roles.role)
        else:
            self._form_late(ours, remote, now, reached=False)

    def _form_late(self, ours: Candidate, remote: Candidate, now: float, *, reached: bool) -> CandidatePair | None:
        """Form a pair after one was selected, if that is worth while: to move to at once, or as a spare."""
        selected, spares = self.selected, self.moving.spares
        assert selected is not None
        if not spares.may_keep(CandidatePair(ours, remote, self._roles.role), selected):
            return None
        form = self.checklist.form_reached if reached else self.checklist.form
        pair = form(ours, remote, self._roles.role)
        if pair is None:
            return None
        if not spares.add(pair, selected, now, soon=reached or not self.selected_is_fresh):
            self.checklist.drop(pair)
            return None
        if reached:
            self.doubt = Doubt.STRONG
        if not spares.is_better(pair, selected):
            self.checklist.fail(pair)  # Its checks are for the spares to send.
        return pair

    def drop_base(self, base: Base) -> None:
        """A base is gone: its pairs fail."""
        for pair in self.checklist:
            if Base.of(pair.path) == base:
                self.checklist.fail(pair)
                self.moving.spares.drop(pair)
                if self._client is not None:
                    self._client.cancel(pair)

    def replace_remote(self, old: Candidate, new: Candidate, now: float) -> None:
        """A signalled candidate takes the place of a peer-reflexive one (RFC 8838 section 11)."""
        self.checklist.replace_remote(old, new, self._roles.role)
        self.pair_remote(new, now)

    def _can_pair(self, base: Candidate, remote: Candidate) -> bool:
        # Reflexive candidates of ours stand for their base (section 6.1.2.4), so bases are all there is to pair.
        return can_meet(base, remote) and self._can_reach(base, remote)

    def _can_reach(self, base: Candidate, remote: Candidate) -> bool:
        ours, theirs = base.address, remote.address
        if not isinstance(ours, TransportAddress) or not isinstance(theirs, TransportAddress):
            return False
        if not ours.is_in_reach_of(theirs):
            return False
        return base.type is not _RELAYED or self._local.is_let_in(base, theirs)

    def role_changed(self) -> None:
        """Sort and nominate anew, in the role that we have now."""
        self._nomination.reset()
        self.moving.reset()
        self.checklist.reprioritise(self._roles.role)
