"""What becomes of our checks: answered, refused or not answered, and what follows (RFC 8445 section 7.2.5)."""

from __future__ import annotations

from typing import Final

from ice.candidate import Base
from ice.checks import CheckResult, Outcome
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from ice.usernames import Usernames
from stun.address import FiveTuple, TransportAddress
from stun.machine import Transmit
from stun.message import Message

__all__ = ["Outcomes"]

_CONTROLLING: Final = Role.CONTROLLING
_CONTROLLED: Final = Role.CONTROLLED
_SUCCEEDED: Final = Outcome.SUCCEEDED
_ROLE_CONFLICT: Final = Outcome.ROLE_CONFLICT


class Outcomes(Usernames):
    """The pairs, and how the outcomes of checks make them valid or let them fail."""

    __slots__ = ()

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
        if result.outcome is _SUCCEEDED:
            self._succeed(result, now)
        elif result.outcome is _ROLE_CONFLICT:
            self._change_role(result)
        else:
            self._fail(pair, result.check.nominates, now)

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
        if check.nominates and self._roles.role is _CONTROLLING:
            if self.selected is not None or not self._nomination.is_overtaken(pair):
                self._nominated(valid, check.nomination, now)
        elif pair.nominate_on_success and self._roles.role is _CONTROLLED:
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

    def _accept(self, path: FiveTuple) -> None:
        """The peer has authenticated on ``path``: data is taken from there."""
        if path not in self.accepted:
            self.accepted += (path,)
        self._sources.accept(path)

    def _change_role(self, result: CheckResult) -> None:
        # Section 7.2.5.1: the other role, a new tiebreaker, and the check again, at once. Also when the pair has
        # succeeded before and this was its nomination: if both sides gave way, one has to speak to find it out.
        self._roles.refused(result.check.role)
        if self.selected is None:
            result.check.pair.last_check_at = None
            self.checklist.trigger(result.check.pair)
        elif self.moving.attempt is result.check.pair:
            self.moving.reset()

    def _is_chosen(self, pair: CandidatePair) -> bool:
        """Whether the pair has been nominated because it is valid, and its nomination is not in force yet."""
        attempted = self._nomination.attempted
        return self.selected is None and attempted is not None and attempted.path == pair.path

    def _fail(self, pair: CandidatePair, was_nominated: bool, now: float) -> None:
        if self.selected is None:
            # Nominated ahead, it fails as any other pair that does not answer.
            was_chosen = was_nominated and self._is_chosen(pair)
            if was_chosen and self.moving.renominates:
                self._choose_another(pair, now)
                return
            self.checklist.fail(pair)
            if was_chosen:
                self._nomination.failed = True
            return
        if was_nominated and self.moving.attempt is pair:
            self.moving.reset()
        if self.selected.path != pair.path:
            self.checklist.fail(pair)
            self.moving.spares.failed(pair, now)

    def unreachable(self, pair: CandidatePair, now: float) -> None:
        """The connection of ``pair`` is gone, or cannot be had: so its checks fail."""
        was_chosen = self._is_chosen(pair)
        if self.moving.attempt is pair:
            self.moving.reset()  # Its nomination will not be answered: another may follow.
        if self.selected is None or self.selected.path != pair.path:
            self.moving.spares.drop(pair)
            if self.selected is None:
                self.checklist.fail(pair)
            else:
                self.checklist.drop(pair)  # It is no way out without its connection (RFC 8445 section 8.1.2).
        if was_chosen and self.moving.renominates:
            self._nomination.try_again(now)
            self._reconnect(pair, now)
        elif was_chosen:
            self._nomination.failed = True

    def _reconnect(self, pair: CandidatePair, now: float) -> None:
        """The connection of a chosen pair is gone: where there is no other pair, have another connection after a while.

        What was sent on the first one is no sign of the second one's failure when its time is over.
        """
        if self._client is not None:
            self._client.cancel(pair)
        if not self.checklist.valid and not pair.is_opened_by_peer:
            pair.recheck_at = now + self._config.upgrade.recheck_after
            self.checklist.trigger(pair)

    def _choose_another(self, pair: CandidatePair, now: float) -> None:
        """The nomination of a valid pair has failed: nominate another, or this one again if there is no other.

        That is more than a check with a new id, for the last nomination wins. It is not made at once: a peer may refuse
        each of them within a round trip.
        """
        if any(valid.path != pair.path for valid in self.checklist.valid):
            self.checklist.fail(pair)
            self._nomination.try_again(now)
        else:
            self._nomination.try_again(now + self._config.upgrade.recheck_after)
