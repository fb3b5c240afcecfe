"""The connectivity checks of one session, from a check to a selected pair (RFC 8445 sections 7 and 8)."""

from __future__ import annotations

from ice.candidate import Base
from ice.checks import CheckResult, Credentials, Outcome
from ice.consent import Consent
from ice.events import PairSelected
from ice.failover import Doubt
from ice.pair import COUNTERPARTS, CandidatePair, PairState
from ice.pairing import Pairing
from ice.responder import ReceivedCheck
from ice.roles import Role
from ice.selection import takes_over
from stun.address import FiveTuple, TransportAddress
from stun.machine import Transmit
from stun.message import Message

__all__ = ["Checking"]


class Checking(Pairing):
    """Lets the checklist, the scheduler, the check client and the nomination work together.

    Its owner calls :meth:`run` after each input and takes :attr:`unsent` and :attr:`selections`.
    """

    __slots__ = ()

    # -- the peer's checks --

    def receive_check(self, check: ReceivedCheck, now: float) -> None:
        """Process a check that was answered with success (section 7.3.1.3 to 7.3.1.5)."""
        base = Base.of(check.path)
        tcp_type = self._local.tcp_type(base)
        remote = self._remotes.learn(check.path, check.priority, None if tcp_type is None else COUNTERPARTS[tcp_type])
        if remote is None:
            return
        self._amplification.note_check(check.path, remote, check.size, check.answer_size)
        pair = self.checklist.find(check.path)
        if pair is None and (ours := self._local.own.get(base)) is not None:
            if self._is_wanted(check):
                pair = self.checklist.form_reached(ours, remote, self._roles.role)
            else:
                pair = self._form_late(ours, remote, now, reached=True)
        if not check.is_refused:
            self._accept(check.path if pair is None else pair.path)  # What stays is the pair's, not the datagram's.
        if pair is None:
            return
        pair.requests_received += 1
        pair.responses_sent += 1
        if check.our_ufrag:
            self._call(pair, f"{check.peer_ufrag}:{check.our_ufrag}", now)
        if check.is_refused and self.selected is not None:
            return
        if check.use_candidate:
            pair.nomination = max(pair.nomination, check.nomination)
        if self.selected is not None and self.selected.path != pair.path and self.doubt is Doubt.NONE:
            self.doubt = Doubt.HINT
        if pair.state is PairState.SUCCEEDED and not (check.use_candidate and self._is_stale(pair, now)):
            if check.use_candidate and pair.valid is not None:
                self._nominated(pair.valid, pair.nomination, now)
            return
        if not self._is_wanted(check) and not self._is_worth_a_check(pair, now):
            return
        pair.nominate_on_success = pair.nominate_on_success or check.use_candidate
        if pair.state is PairState.IN_PROGRESS and self._client is not None:
            self._client.cancel(pair)
            # A process that is behind with its reading finds the answer to the check before right behind this one.
            pair.recheck_at = now + self._config.triggered_ta
        self.checklist.trigger(pair)

    def _call(self, pair: CandidatePair, username: str, now: float) -> None:
        """Check under the name that the peer's check on this path has: the descriptions that it goes by."""
        if self._client is None:
            pair.username = username
            return
        known = self._client.username_on(pair)
        if username == known:
            pair.username = known  # One text for all checks, and not one for each of the peer's.
            return
        pair.username = username
        if pair.valid is not None:
            pair.valid.username = username
        # It has gone over to another description of ours. A nomination under the last one is refused from now on; one
        # that was taken libwebrtc has forgotten, with the pair that it was for. So it is made again.
        nominated = self.moving.attempt or self.selected or self._nomination.attempted
        if nominated is None or nominated.path != pair.path or self._roles.role is not Role.CONTROLLING:
            return
        self._client.retain(lambda other: other is not pair)  # One at a time, however often it changes its mind.
        if self.selected is not None and self.selected.path == pair.path:
            if self.moving.renominates:
                self._nominate(pair, now)  # Until it is answered.
            else:
                self._check(pair, now, nominates=True)
        elif self.selected is not None:
            self.moving.reset()
        else:
            self._nomination.reset()

    def _is_wanted(self, check: ReceivedCheck) -> bool:
        # Once a pair is selected a further nomination is of interest; whether it wins is decided when it succeeds.
        return self.selected is None or check.use_candidate or self._tcp.succeeds(check.path, self.selected)

    def _is_stale(self, pair: CandidatePair, now: float) -> bool:
        """Whether the last answer is too old to begin a consent with (RFC 7675 section 5.1): it takes another check."""
        if pair.succeeded_at is None or (self.selected is not None and self.selected.path == pair.path):
            return False
        return now > pair.succeeded_at + self._config.consent_timeout / 2

    def _is_worth_a_check(self, pair: CandidatePair, now: float) -> bool:
        """Whether a pair that the peer tries beside the selected one is answered with a check of ours at once."""
        assert self.selected is not None
        known = self.moving.spares.add(pair, self.selected, now, soon=True)
        return known and self.moving.spares.is_better(pair, self.selected)

    def _accept(self, path: FiveTuple) -> None:
        if path not in self.accepted:
            self.accepted += (path,)
        self._sources.accept(path)

    # -- our checks --

    def receive_response(self, response: Message, path: FiveTuple, now: float) -> bool:
        """Take a response; return False when it belongs to none of our checks or does not authenticate."""
        if self._client is None or response.transaction_id not in self._client:
            return False
        result = self._client.receive(response, path, now)
        if result is not None:
            self._conclude_check(result, now)
        elif response.error is not None and response.error.code == 401:
            self._doubt_name(response.transaction_id, path, now)
        return result is not None

    def _doubt_name(self, transaction_id: bytes, path: FiveTuple, now: float) -> None:
        """A check was refused without a signature, which ends nothing (RFC 8489 section 9.1.4).

        If it went by an older description of ours, as the peer's checks did, the peer may have come to the last one
        meanwhile. It is asked under that name once: until its own checks name the other again.
        """
        assert self._client is not None
        pair = self._client.pair_of(transaction_id)
        if pair is None or pair.path != path or self._client.username_on(pair) == self._client.own_username:
            return
        self._call(pair, self._client.own_username, now)
        if self.selected is None and pair.state is PairState.IN_PROGRESS:
            self._client.cancel(pair)
            pair.last_check_at = None
            self.checklist.trigger(pair)

    def handle_timeout(self, now: float) -> None:
        """Send again what is due, and fail what has run out."""
        if self._client is None:
            return
        for item in self._client.handle_timeout(now):
            if isinstance(item, Transmit):
                self._send(item)
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
                self._fail(pair, result.check.nominates, now)

    def unreachable(self, pair: CandidatePair) -> None:
        """The connection of ``pair`` is gone, or cannot be had: so its checks fail."""
        attempted = self._nomination.attempted
        nominated = self.selected is None and attempted is not None and attempted.path == pair.path
        if self.selected is None or self.selected.path != pair.path:
            self.moving.spares.drop(pair)
            if self.selected is None or self.moving.attempt is pair:
                self.checklist.fail(pair)
            else:
                self.checklist.drop(pair)  # It is no way out without its connection (RFC 8445 section 8.1.2).
        if nominated:
            self._nomination.failed = True

    def _fail(self, pair: CandidatePair, was_nominated: bool, now: float) -> None:
        if self.selected is None:
            if was_nominated and self.moving.renominates:
                self._nomination.reset()  # It may be nominated again, and that is more than a check with a new id.
                return
            self.checklist.fail(pair)
            if was_nominated and self._nomination.attempted is not None:
                self._nomination.failed = True
            return
        if was_nominated and self.moving.attempt is pair:
            self.moving.reset()
        if self.selected.path != pair.path:
            self.checklist.fail(pair)
            self.moving.spares.failed(pair, now)

    def connected(self, pair: CandidatePair, now: float) -> None:
        """The connection of ``pair`` is open: check it, now or again (RFC 6544 sections 7.1 and 11.1)."""
        if self._client is not None:
            self._check(pair, now)

    def move_selection(self, valid: CandidatePair) -> None:
        """The selected pair has got a new connection, which has been checked (RFC 6544 section 11.1)."""
        old, self.selected = self.selected, valid
        valid.nominated = True
        if old is not None and old.path != valid.path and (pair := self.checklist.find(old.path)) is not None:
            self.checklist.fail(pair)
        self.checklist.conclude(self._is_kept)
        self.selections += (PairSelected(valid),)

    def _change_role(self, result: CheckResult) -> None:
        # Section 7.2.5.1: the other role, a new tiebreaker, and the check again, at once. Also when the pair has
        # succeeded before and this was its nomination: if both sides gave way, one has to speak to find it out.
        self._roles.refused(result.check.role)
        if self.selected is None:
            result.check.pair.last_check_at = None
            self.checklist.trigger(result.check.pair)
        elif self.moving.attempt is result.check.pair:
            self.moving.reset()

    def _succeed(self, result: CheckResult, now: float) -> None:
        check, pair = result.check, result.check.pair
        assert result.mapped is not None
        pair.succeeded_at = now
        self._amplification.proven(pair.path)
        if result.latency is not None:
            pair.note_round_trip(result.latency)
        self.checklist.succeed(pair)
        valid = self._valid_pair(pair, result.mapped)
        self._accept(pair.path)
        self._nomination.note_valid(now)
        if check.nominates and self._roles.role is Role.CONTROLLING:
            self._nominated(valid, check.nomination, now)
        elif pair.nominate_on_success and self._roles.role is Role.CONTROLLED:
            self._nominated(valid, pair.nomination, now)
        if self.selected is not None:
            self.moving.spares.succeeded(pair, self.selected, now)

    def _valid_pair(self, pair: CandidatePair, mapped: TransportAddress) -> CandidatePair:
        """Return the valid pair that a successful check makes (section 7.2.5.3.2)."""
        local = self._local.at(Base.of(pair.path), mapped, pair.local)
        if pair.valid is None or pair.valid.local is not local:
            if local is pair.local:
                pair.valid = pair
            else:
                pair.valid = CandidatePair(local, pair.remote, self._roles.role)
                pair.valid.state = PairState.SUCCEEDED
        pair.valid.username = pair.username
        pair.valid.succeeded_at = pair.succeeded_at
        pair.valid.round_trip_time = pair.round_trip_time
        self.checklist.add_valid(pair.valid)
        return pair.valid

    # -- choosing --

    def _nominated(self, valid: CandidatePair, number: int, now: float) -> None:
        valid.nominated = True
        newer = self.moving.is_newer(number)
        if not takes_over(self.selected, valid, self.selected_is_fresh, newer):
            if newer > 0 and self.selected is not None and self.selected.path == valid.path:
                self.moving.confirmed(number)
            if self.moving.attempt is not None and self.moving.attempt.path == valid.path:
                self.moving.reset()
            return
        self.selected = valid
        self.selected_is_fresh = True
        for idle in self.moving.selected(valid, number, now):
            self.checklist.fail(idle)
            if self._client is not None:
                self._client.cancel(idle)
        self.checklist.conclude(self._is_kept)
        if self._client is not None:
            self._client.retain(lambda pair: self.checklist.find(pair.path) is pair)
        self.selections += (PairSelected(valid),)

    def _is_kept(self, pair: CandidatePair) -> bool:
        """Whether an open pair stays beside the selected one.

        Those do which the peer nominated too and which are better or later: an aggressively nominating peer (RFC 5245
        section 8.1.1.2) ends on the best of all that succeed. And the spares.
        """
        assert self.selected is not None
        if pair.nominate_on_success:
            return pair.priority > self.selected.priority or self.moving.is_newer(pair.nomination) > 0
        return pair in self.moving.spares

    def run(self, now: float) -> None:
        """Send the checks that may be sent now, the nomination among them."""
        if self._client is None:
            return
        while (pair := self._scheduler.next_pair(now)) is not None:
            self.checklist.set_state(pair, PairState.IN_PROGRESS)
            self._check(pair, now)
        if self.selected is not None:
            self._look_around(self.selected, now)
        elif self._roles.role is Role.CONTROLLING:
            valid = self._nomination.choose(self.checklist, now)
            pair = None if valid is None else self.checklist.find(valid.path)
            if pair is not None:
                # Not paced: the path has just been used, so no NAT makes a new binding for this check.
                self._check(pair, now, nominates=True)

    def _look_around(self, selected: CandidatePair, now: float) -> None:
        """Check the spare pairs that are due, and nominate one that is to take over."""
        config = self._config.upgrade
        for pair in self.moving.spares.due(now):
            self._check(pair, now, schedule=(config.check_sends, config.check_final_wait))
        valid = self.moving.next(selected, not self.selected_is_fresh, now)
        better = None if valid is None else self.checklist.find(valid.path)
        if better is not None:
            self._nominate(better, now)

    def _nominate(self, pair: CandidatePair, now: float) -> None:
        """Nominate a pair beside the selected one, or that one again."""
        config = self._config.upgrade
        if self._check(pair, now, nominates=True, schedule=(config.check_sends + 1, config.check_final_wait)):
            self.moving.attempt = pair

    def _check(
        self, pair: CandidatePair, now: float, *, nominates: bool = False, schedule: tuple[int, int] | None = None
    ) -> bool:
        assert self._client is not None
        if pair.path.protocol.is_stream and not self._tcp.reach(pair, now):
            if pair.is_opened_by_peer:
                self.unreachable(pair)
            return False  # When the connection is there it is checked, and nominated only if that is due then.
        together = self.checklist.together
        crowded_rto = together.ta * together.count_running()
        number = self.moving.take_number() if nominates else 0
        check = self._client.start(pair, nominates, crowded_rto, now, nomination=number, schedule=schedule)
        self._send(check)
        return True

    def _send(self, check: Transmit) -> None:
        pair = self.checklist.find(check.path)
        if pair is None or self._amplification.allows(pair, len(check.data)):
            self.unsent += (check,)

    def note_life(self, is_fresh: bool, now: float) -> None:
        """The selected pair answers, or not."""
        if self.selected_is_fresh and not is_fresh:
            self.moving.spares.hurry(now)
        self.selected_is_fresh = is_fresh

    @property
    def is_concluded(self) -> bool:
        """Whether a pair is selected, and no candidate is of interest any more that nobody has heard of."""
        return self.selected is not None and not self._config.upgrade.enabled

    def consent_to(self, pair: CandidatePair, credentials: Credentials, now: float) -> Consent:
        """Return the consent to a pair that was selected: its check was the first (RFC 7675 section 5.1)."""
        return Consent(self._config, pair, credentials, self._roles, self._rng, now)

    @property
    def can_fail_over(self) -> bool:
        """Whether there is a pair to move to, or one that may turn out to be, or a move is under way."""
        moving, spares = self.moving, self.moving.spares
        if self.selected is None:
            return False
        return moving.attempt is not None or spares.has_hope or spares.best(self.selected, True) is not None

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
        self.moving.spares.clear()
        self.checklist.triggered.clear()
        self.checklist.together.leave(self.checklist)
        self._client = None  # Its valid pairs may not be nominated any more either.

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` or :meth:`run` is next wanted, or None."""
        if self._client is None:
            return None
        later: float | None = None
        if self.selected is not None:
            later = self.moving.next_timeout()
        elif self._roles.role is Role.CONTROLLING:
            later = self._nomination.next_timeout()
        soonest = self._client.next_timeout()
        for at in (self._scheduler.next_timeout(), later):
            if at is not None and (soonest is None or at < soonest):
                soonest = at
        return soonest
