"""Which pair is used: nominating it, following the peer, moving on to another (RFC 8445 section 8)."""

from __future__ import annotations

from typing import Final

from ice.checks import Credentials
from ice.consent import Consent
from ice.events import PairSelected
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from ice.selection import takes_over
from ice.sending import Sending

__all__ = ["Concluding"]

_IN_PROGRESS: Final = PairState.IN_PROGRESS
_CONTROLLING: Final = Role.CONTROLLING


class Concluding(Sending):
    """The pairs, of which one gets selected: which check is next, which pair is nominated, which nomination wins."""

    __slots__ = ()

    def run(self, now: float) -> None:
        """Send the checks that may be sent now, the nomination among them."""
        if self._client is None:
            return
        while (pair := self._scheduler.next_pair(now)) is not None:
            self.checklist.set_state(pair, _IN_PROGRESS)
            self._check(pair, now, nominates=self._is_nominated_ahead(pair))
        if self.selected is not None:
            self._look_around(self.selected, now)
        elif self._roles.role is _CONTROLLING:
            valid = self._nomination.choose(self.checklist, now)
            pair = None if valid is None else self.checklist.find(valid.path)
            if pair is not None:
                # Not paced: the path has just been used, so no NAT makes a new binding for this check.
                self._check(pair, now, nominates=True, schedule=self._nominating if self.moving.renominates else None)

    def _is_nominated_ahead(self, pair: CandidatePair) -> bool:
        if self.selected is not None or self._roles.role is not _CONTROLLING or not self.moving.renominates:
            return False
        return self._nomination.goes_ahead(pair, self.checklist, self._remotes.ended)

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
        if self._check(pair, now, nominates=True, schedule=self._nominating):
            self.moving.attempt = pair

    @property
    def _nominating(self) -> tuple[int, int]:
        """How a pair is nominated that has answered before, where another nomination may follow."""
        config = self._config.upgrade
        return config.check_sends + 1, config.check_final_wait

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` or :meth:`run` is next wanted, or None."""
        if self._client is None:
            return None
        later: float | None = None
        if self.selected is not None:
            later = self.moving.next_timeout()
        elif self._roles.role is _CONTROLLING:
            later = self._nomination.next_timeout()
        soonest = self._client.next_timeout()
        for at in (self._scheduler.next_timeout(), later):
            if at is not None and (soonest is None or at < soonest):
                soonest = at
        return soonest

    # -- a pair is selected --

    def _nominated(self, valid: CandidatePair, number: int, now: float) -> None:
        """A nomination has succeeded, ours or the peer's: use its pair, unless the one in use wins."""
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

    def move_selection(self, valid: CandidatePair) -> None:
        """The selected pair has got a new connection, which has been checked (RFC 6544 section 11.1)."""
        old, self.selected = self.selected, valid
        valid.nominated = True
        if old is not None and old.path != valid.path and (pair := self.checklist.find(old.path)) is not None:
            self.checklist.fail(pair)
        self.checklist.conclude(self._is_kept)
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

    def consent_to(self, pair: CandidatePair, credentials: Credentials, now: float) -> Consent:
        """Return the consent to a pair that was selected: its check was the first (RFC 7675 section 5.1)."""
        return Consent(self._config, pair, credentials, self._roles, self._rng, now)

    def note_life(self, is_fresh: bool, now: float) -> None:
        """The selected pair answers, or not."""
        if self.selected_is_fresh and not is_fresh:
            self.moving.spares.hurry(now)
        self.selected_is_fresh = is_fresh

    # -- what is to be known of it --

    @property
    def is_concluded(self) -> bool:
        """Whether a pair is selected, and no candidate is of interest any more that nobody has heard of."""
        return self.selected is not None and not self._config.upgrade.enabled

    @property
    def can_fail_over(self) -> bool:
        """Whether there is a pair to move to, or one that may turn out to be, or a move is under way."""
        moving, spares = self.moving, self.moving.spares
        if self.selected is None:
            return False
        return moving.attempt is not None or spares.has_hope or spares.best(self.selected, True) is not None

    @property
    def has_nominated(self) -> bool:
        """Whether we have asked the peer to use a pair that is valid, or was."""
        return self._nomination.has_begun

    @property
    def nomination_failed(self) -> bool:
        """Whether the pair that we nominated did not answer (section 8.1.1)."""
        return self._nomination.failed

    # -- the end --

    def stop(self) -> None:
        """Send nothing more. The pairs stay as they are, to be looked at."""
        self.selected = None
        self.moving.spares.clear()
        self.checklist.triggered.clear()
        self.checklist.together.leave(self.checklist)
        self._client = None  # Its valid pairs may not be nominated any more either.
