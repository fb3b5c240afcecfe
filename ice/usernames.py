"""What USERNAME our checks say while the peer goes from one description to another (RFC 8445 sections 7.2.2 and 9)."""

from __future__ import annotations

from ice.concluding import Concluding
from ice.pair import CandidatePair, PairState
from ice.roles import Role
from stun.address import FiveTuple

__all__ = ["Usernames"]


class Usernames(Concluding):
    """The pairs, each checked and nominated under the descriptions that the peer goes by there."""

    __slots__ = ()

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
        nominated = self.moving.attempt or self.selected or self._nomination.attempted or self._nomination.ahead
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
