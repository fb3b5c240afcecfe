"""The connectivity checks of one session, from forming pairs to a selected one (RFC 8445 sections 6.1, 7 and 8)."""

from __future__ import annotations

import random

from ice.candidate import Base, Candidate, TcpType
from ice.checklist import CheckList
from ice.checks import CheckClient, CheckResult, Credentials, Outcome
from ice.config import IceConfig
from ice.events import PairSelected, RoleChanged
from ice.local import LocalCandidates
from ice.nomination import Nomination
from ice.pair import COUNTERPARTS, CandidatePair, PairState, can_meet
from ice.remote import Rejection, RemoteCandidates
from ice.responder import ReceivedCheck
from ice.roles import Role, RoleKeeper
from ice.scheduler import Scheduler
from ice.sources import AcceptedSources
from ice.tcp import TcpPaths
from stun.address import FiveTuple, TransportAddress
from stun.machine import Outbox, Transmit
from stun.message import Message

__all__ = ["Checking"]


class Checking:
    """Lets the checklist, the scheduler, the check client and the nomination work together.

    Its owner calls :meth:`run` after each input and drains :attr:`outbox`.
    """

    __slots__ = (
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
        "outbox",
        "selected",
        "selected_is_fresh",
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
    ) -> None:
        self._config = config
        self._local = local
        self._remotes = remotes
        self._roles = roles
        self._sources = sources
        self._tcp = tcp
        self._rng = rng
        self._client: CheckClient | None = None
        self._nomination = Nomination(config)
        self.accepted: set[FiveTuple] = set()
        """The paths on which the peer has authenticated: data is taken from there."""
        self.checklist = CheckList(config.max_pairs)
        self._scheduler = Scheduler(config, self.checklist)
        self.outbox: Outbox[Transmit, PairSelected | RoleChanged] = Outbox()
        self.selected: CandidatePair | None = None
        """The valid pair in use."""
        self.selected_is_fresh = True
        """Whether the peer answers on it; the owner of the consent tells."""

    # -- pairs --

    def start(self, credentials: Credentials) -> None:
        """Begin sending checks, signed with these credentials."""
        self._client = CheckClient(self._config, credentials, self._roles, self._rng)
        self.checklist.together.join(self.checklist)

    def pair_local(self, ours: Candidate) -> None:
        """Form the pairs of a new host or relayed candidate with all of the peer's that are not paired with it yet."""
        if self.selected is None:
            for remote in self._remotes.all():
                if self._can_pair(ours, remote) and ours.tcp_type is not TcpType.PASSIVE:
                    self.checklist.form(ours, remote, self._roles.role)

    def drop_base(self, base: Base) -> None:
        """A relayed base is gone: its pairs fail."""
        for pair in self.checklist:
            if Base.of(pair.path) == base:
                self.checklist.fail(pair)

    def pair_remote(self, remote: Candidate) -> None:
        """Form the pairs of a new candidate of the peer with all of our bases."""
        if self.selected is not None:
            return
        bases = [ours for ours in self._local.own.values() if self._can_pair(ours, remote)]
        if self._local.hosts and not bases:
            self._remotes.reject(Rejection.FAMILY)  # It stays known, for a base that may come later.
        for ours in bases:
            if ours.tcp_type is TcpType.PASSIVE:
                continue  # RFC 6544 section 6.2: such pairs wait for the peer to connect.
            self.checklist.form(ours, remote, self._roles.role)

    def replace_remote(self, old: Candidate, new: Candidate) -> None:
        """A signalled candidate takes the place of a peer-reflexive one (RFC 8838 section 11)."""
        self.checklist.replace_remote(old, new, self._roles.role)
        self.pair_remote(new)

    def _can_pair(self, base: Candidate, remote: Candidate) -> bool:
        # Reflexive candidates of ours stand for their base (section 6.1.2.4), so bases are all there is to pair.
        if not can_meet(base, remote):
            return False
        ours, theirs = base.address, remote.address
        if not isinstance(ours, TransportAddress) or not isinstance(theirs, TransportAddress):
            return False
        if ours.family != theirs.family or ours.ip.is_loopback != theirs.ip.is_loopback:
            return False
        return self._local.can_reach(base, theirs)

    def role_changed(self) -> None:
        """Sort and nominate anew, in the role that we have now."""
        self._nomination.reset()
        self.checklist.reprioritise(self._roles.role)

    # -- the peer's checks --

    def receive_check(self, check: ReceivedCheck, now: float) -> None:
        """Process a check that was answered with success (section 7.3.1.3 to 7.3.1.5)."""
        tcp_type = self._local.tcp_types.get(Base.of(check.path))
        counterpart = None if tcp_type is None else COUNTERPARTS[tcp_type]
        remote = self._remotes.learn(check.path, check.priority, counterpart)
        if remote is None:
            return
        self._accept(check.path)
        pair = self.checklist.find(check.path)
        if pair is None and self._is_worth_a_pair(check):
            pair = self.checklist.form_reached(self._local.own[Base.of(check.path)], remote, self._roles.role)
        if pair is None:
            return
        pair.requests_received += 1
        pair.responses_sent += 1
        if pair.state is PairState.SUCCEEDED:
            if check.use_candidate and pair.valid is not None:
                self._nominated(pair.valid, now)
            return
        if not self._is_wanted(check):
            return
        pair.nominate_on_success = pair.nominate_on_success or check.use_candidate
        if pair.state is PairState.IN_PROGRESS and self._client is not None:
            self._client.cancel(pair)
        self.checklist.trigger(pair)

    def _accept(self, path: FiveTuple) -> None:
        self.accepted.add(path)
        self._sources.accept(path)

    def _is_worth_a_pair(self, check: ReceivedCheck) -> bool:
        if Base.of(check.path) not in self._local.own:
            return False
        return self._is_wanted(check)

    def _is_wanted(self, check: ReceivedCheck) -> bool:
        # Once a pair is selected only a further nomination is of interest; whether it wins is decided when it succeeds.
        return self.selected is None or check.use_candidate or self._tcp.succeeds(check.path, self.selected)

    # -- our checks --

    def receive_response(self, response: Message, path: FiveTuple, now: float) -> bool:
        """Take a response; return False when it belongs to none of our checks or does not authenticate."""
        if self._client is None or response.transaction_id not in self._client:
            return False
        result = self._client.receive(response, path, now)
        if result is not None:
            self._conclude_check(result, now)
        return result is not None

    def handle_timeout(self, now: float) -> None:
        """Send again what is due, and fail what has run out."""
        if self._client is None:
            return
        for item in self._client.handle_timeout(now):
            if isinstance(item, Transmit):
                self.outbox.effects.append(item)
            else:
                self._conclude_check(item, now)

    def _conclude_check(self, result: CheckResult, now: float) -> None:
        pair = result.check.pair
        if self.checklist.find(pair.path) is not pair:
            return  # Dropped meanwhile.
        match result.outcome:
            case Outcome.SUCCEEDED:
                self._succeed(result, now)
            case Outcome.ROLE_CONFLICT:
                self._change_role(result)
            case _:
                self.unreachable(pair, result.check.nominates)

    def unreachable(self, pair: CandidatePair, was_nominated: bool | None = None) -> None:
        """A check on ``pair`` has failed, or its connection."""
        if self.selected is None or self.selected.path != pair.path:
            self.checklist.fail(pair)
        attempted = self._nomination.attempted
        if was_nominated is None:
            was_nominated = self.selected is None and attempted is not None and attempted.path == pair.path
        if was_nominated and attempted is not None:
            self._nomination.failed = True

    def connected(self, pair: CandidatePair, now: float) -> None:
        """The connection of ``pair`` is open: check it, now or again (RFC 6544 sections 7.1 and 11.1)."""
        self._check(pair, False, now)

    def move_selection(self, valid: CandidatePair) -> None:
        """The selected pair has got a new connection, which has been checked (RFC 6544 section 11.1)."""
        old, self.selected = self.selected, valid
        valid.nominated = True
        if old is not None and old.path != valid.path and (pair := self.checklist.find(old.path)) is not None:
            self.checklist.fail(pair)
        self.checklist.conclude(valid)
        self.outbox.events.append(PairSelected(valid))

    def _change_role(self, result: CheckResult) -> None:
        # Section 7.2.5.1: the other role, a new tiebreaker, and the check again, at once. Also when the pair has
        # succeeded before and this was its nomination: if both sides gave way, one has to speak to find it out.
        if self._roles.refused(result.check.role):
            self.role_changed()
            self.outbox.events.append(RoleChanged(self._roles.role))
        if self.selected is None:
            result.check.pair.last_check_at = None
            self.checklist.trigger(result.check.pair)

    def _succeed(self, result: CheckResult, now: float) -> None:
        check, pair = result.check, result.check.pair
        assert result.mapped is not None
        pair.succeeded_at = now
        if result.latency is not None:
            pair.note_round_trip(result.latency)
        self.checklist.succeed(pair)
        valid = self._valid_pair(pair, result.mapped)
        self._accept(pair.path)
        self._nomination.note_valid(now)
        ours = check.nominates and self._roles.role is Role.CONTROLLING
        theirs = pair.nominate_on_success and self._roles.role is Role.CONTROLLED
        if ours or theirs:
            self._nominated(valid, now)

    def _valid_pair(self, pair: CandidatePair, mapped: TransportAddress) -> CandidatePair:
        """Return the valid pair that a successful check makes (section 7.2.5.3.2)."""
        local = self._local.at(Base.of(pair.path), mapped)
        if pair.valid is None or pair.valid.local is not local:
            if local is pair.local:
                pair.valid = pair
            else:
                pair.valid = CandidatePair(local, pair.remote, self._roles.role)
                pair.valid.state = PairState.SUCCEEDED
        pair.valid.succeeded_at = pair.succeeded_at
        pair.valid.round_trip_time = pair.round_trip_time
        self.checklist.add_valid(pair.valid)
        return pair.valid

    # -- choosing --

    def _nominated(self, valid: CandidatePair, now: float) -> None:
        valid.nominated = True
        if not Nomination.should_switch(self.selected, valid, self.selected_is_fresh):
            return
        self.selected = valid
        self.selected_is_fresh = True
        self.checklist.conclude(valid)
        if self._client is not None:
            self._client.retain(lambda pair: self.checklist.find(pair.path) is pair)
        self.outbox.events.append(PairSelected(valid))

    def run(self, now: float) -> None:
        """Send the checks that may be sent now, the nomination among them."""
        if self._client is None:
            return
        while (pair := self._scheduler.next_pair(now)) is not None:
            self.checklist.set_state(pair, PairState.IN_PROGRESS)
            self._check(pair, False, now)
        if self.selected is None and self._roles.role is Role.CONTROLLING:
            valid = self._nomination.choose(self.checklist, now)
            pair = None if valid is None else self.checklist.find(valid.path)
            if pair is not None:
                # Not paced: the path has just been used, so no NAT makes a new binding for this check.
                self._check(pair, True, now)

    def _check(self, pair: CandidatePair, nominates: bool, now: float) -> None:
        assert self._client is not None
        if pair.path.protocol.is_stream and not self._tcp.reach(pair, now):
            if pair.is_opened_by_peer:
                self.unreachable(pair)
            return
        running = self.checklist.count_running()
        self.outbox.effects.append(self._client.start(pair, nominates, running, now))

    # -- the end --

    @property
    def has_nominated(self) -> bool:
        """Whether we have asked the peer to use a pair."""
        return self._nomination.attempted is not None

    @property
    def nomination_failed(self) -> bool:
        """Whether the pair that we nominated did not answer (section 8.1.1)."""
        return self._nomination.failed

    def stop(self) -> None:
        """Send nothing more. The pairs stay as they are, to be looked at."""
        self.selected = None
        self.checklist.triggered.clear()
        self.checklist.together.leave(self.checklist)
        if self._client is not None:
            self._client.clear()

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` or :meth:`run` is next wanted, or None."""
        if self._client is None:
            return None
        times = [self._client.next_timeout(), self._scheduler.next_timeout()]
        if self.selected is None and self._roles.role is Role.CONTROLLING:
            times.append(self._nomination.next_timeout())
        return min((at for at in times if at is not None), default=None)
