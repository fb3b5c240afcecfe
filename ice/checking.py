"""The connectivity checks of one session, those of the peer among them (RFC 8445 sections 7 and 8)."""

from __future__ import annotations

from typing import Final

from ice.candidate import Base
from ice.failover import Doubt
from ice.outcomes import Outcomes
from ice.pair import COUNTERPARTS, CandidatePair, PairState
from ice.responder import ReceivedCheck

__all__ = ["Checking"]

_NO_DOUBT: Final = Doubt.NONE
_IN_PROGRESS: Final = PairState.IN_PROGRESS
_SUCCEEDED: Final = PairState.SUCCEEDED


class Checking(Outcomes):
    """Lets the checklist, the scheduler, the check client and the nomination work together.

    Its owner calls :meth:`run` after each input and takes :attr:`unsent` and :attr:`selections`. The rules are in the
    rooms that it stands on, each of which knows those before it alone: :mod:`ice.pairing`, :mod:`ice.sending`,
    :mod:`ice.concluding`, :mod:`ice.usernames`, :mod:`ice.outcomes`, and here what a check of the peer brings about.
    """

    __slots__ = ()

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
        if self.selected is not None and self.selected.path != pair.path and self.doubt is _NO_DOUBT:
            self.doubt = Doubt.HINT
        if pair.state is _SUCCEEDED and not (check.use_candidate and self._is_stale(pair, now)):
            if check.use_candidate and pair.valid is not None:
                self._nominated(pair.valid, pair.nomination, now)
            return
        if not self._is_wanted(check) and not self._is_worth_a_check(pair, now):
            return
        pair.nominate_on_success = pair.nominate_on_success or check.use_candidate
        if pair.state is _IN_PROGRESS and self._client is not None:
            # What nominates ahead does so again. A pair that was chosen is checked beside its nomination after a 487.
            chosen = self._nomination.attempted
            self._client.cancel(pair, nominations=chosen is None or chosen.path != pair.path)
            # A process that is behind with its reading finds the answer to the check before right behind this one.
            pair.recheck_at = now + self._config.triggered_ta
        self.checklist.trigger(pair)

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
