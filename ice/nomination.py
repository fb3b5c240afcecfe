"""Which pair is used: regular nomination of a valid one (RFC 8445 section 8.1), or of the best with its first check."""

from __future__ import annotations

from ice.checklist import CheckList
from ice.config import IceConfig
from ice.local import LocalCandidates
from ice.pair import CandidatePair, PairState

__all__ = ["Nomination"]


class Nomination:
    """The decision of one session.

    As controlling side we nominate once: the best valid pair, as soon as no better pair is worth waiting for. As
    controlled side we take what the peer nominates, and of several the best.

    Where the last nomination wins (draft-thatcher-ice-renomination) the best pair is nominated with its first check
    already, which saves a round trip if that is answered. If it is not, nothing is lost: a valid pair is nominated as
    ever, and the later nomination counts.
    """

    __slots__ = ("_config", "_first_valid_at", "_local", "_not_before", "_waits_until", "ahead", "attempted", "failed")

    def __init__(self, config: IceConfig, local: LocalCandidates) -> None:
        self._config = config
        self._local = local
        self._first_valid_at: float | None = None
        self._not_before: float | None = None
        self._waits_until: float | None = None
        self.ahead: CandidatePair | None = None
        """The pair whose checks nominate it, as long as no valid one was chosen."""
        self.attempted: CandidatePair | None = None
        """The valid pair that we have nominated; there is never a second one (section 8.1.1)."""
        self.failed = False
        """Whether the nominated pair did not answer."""

    def note_valid(self, now: float) -> None:
        """Take note that the valid list is not empty."""
        if self._first_valid_at is None:
            self._first_valid_at = now

    def choose(self, checklist: CheckList, now: float) -> CandidatePair | None:
        """Return the valid pair to nominate now, or None. It counts as nominated from then on."""
        self._waits_until = None
        if self.attempted is not None or not checklist.valid or self._first_valid_at is None:
            return None
        best = max(checklist.valid, key=lambda pair: pair.priority)
        until = self._worth_waiting_until(best, checklist, self._first_valid_at + self._config.nomination_patience)
        until = until if self._not_before is None else max(until, self._not_before)
        if now < until:
            self._waits_until = until
            return None
        self.attempted, self.ahead = best, None
        return best

    def goes_ahead(self, pair: CandidatePair, checklist: CheckList, has_all: bool) -> bool:
        """Whether the check that is sent on ``pair`` now nominates it, for peers with which the last nomination wins.

        That is one pair at a time, the best, until it fails. Not over TCP, where nomination is regular (RFC 6544
        section 8), and not by a relay unless it ``has_all`` candidates of the peer, which may tell of a way past it,
        nor while a better relay of ours has yet to say whether it lets the peer in. A peer-reflexive candidate may be a
        relay's as well; that is moved off as soon as it is known.
        """
        if self.attempted is not None or pair is self.ahead:
            return self.attempted is None
        other = self.ahead
        is_taken = other is not None and other.state.is_open and checklist.find(other.path) is other
        if is_taken or checklist.best is not pair or pair.valid is not None or pair.path.protocol.is_stream:
            return False
        if pair.is_relayed and (not has_all or self._awaits_better_relay(pair)):
            return False
        self.ahead = pair
        return True

    @property
    def has_begun(self) -> bool:
        """Whether we have nominated a valid pair in this role, whatever has become of it."""
        return self.attempted is not None or self._not_before is not None

    def is_overtaken(self, pair: CandidatePair) -> bool:
        """Whether another pair than ``pair`` was chosen since it was nominated ahead: that nomination counts."""
        return self.attempted is not None and self.attempted.path != pair.path

    def _worth_waiting_until(self, best: CandidatePair, checklist: CheckList, limit: float) -> float:
        """Return how long better pairs deserve to be waited for, at most until ``limit``.

        One whose check is out for twice the round trip of ``best`` has missed its chance: it would be no faster.
        """
        # Open pairs are ranked by their bases. So is this one for the comparison: that a NAT made its local candidate a
        # reflexive one, of lower priority, would happen to the others as well.
        checked = checklist.find(best.path)
        rank = best.priority if checked is None else max(best.priority, checked.priority)
        if best.round_trip_time is None:
            answer = self._config.nomination_patience
        else:
            answer = max(self._config.answer_patience, 2 * best.round_trip_time)
        until = 0.0
        if best.is_relayed:
            if any(not pair.is_relayed for pair in checklist.open_above(rank)):
                # A relay is near, and quick to answer; the peer may be far, and its NAT may eat the first check.
                return limit - self._config.nomination_patience + self._config.relay_patience
            if self._awaits_better_relay(best):
                return limit
        for pair in checklist.open_above(rank):
            if pair.recheck_at > limit:
                continue  # Its turn comes too late.
            if pair.state is not PairState.IN_PROGRESS or pair.last_check_at is None:
                return limit  # It has yet to be checked.
            until = max(until, pair.last_check_at + answer)
        return min(until, limit)

    def _awaits_better_relay(self, pair: CandidatePair) -> bool:
        """Whether pairs by a better relay of ours may be missing: they are formed when that lets the peer in."""
        return self._local.awaits_better_relay(pair.local, pair.path.remote)

    def reset(self) -> None:
        """Forget our nomination because the role changed."""
        self.attempted = self.ahead = None
        self.failed = False
        self._not_before = None

    def try_again(self, at: float) -> None:
        """Our nomination has failed, and where both sides know renomination another one follows, not before ``at``."""
        self.reset()
        self._not_before = at

    def next_timeout(self) -> float | None:
        """Return when the waiting ends, or None when nothing is being waited for."""
        return self._waits_until
