"""Consent freshness: may we still send to the peer? (RFC 7675)."""

from __future__ import annotations

import enum
import math
import random
from typing import Final

from ice.checks import Credentials, binding_request
from ice.config import IceConfig
from ice.events import State
from ice.pair import CandidatePair
from ice.roles import RoleKeeper
from stun.address import FiveTuple
from stun.machine import Transmit
from stun.message import Message, MessageClass
from stun.nothing import NO_ENTRIES
from stun.transaction import new_transaction_id

__all__ = ["Consent", "Freshness"]

_DISCONNECTED: Final = State.DISCONNECTED


class Freshness(enum.Enum):
    """How much the last answer is worth."""

    FRESH = enum.auto()
    STALE = enum.auto()
    """No answer for a while; sending is still allowed."""
    EXPIRED = enum.auto()
    """Nothing may be sent any more."""


_FRESH: Final = Freshness.FRESH
_STALE: Final = Freshness.STALE


class Consent:
    """The consent checks of the selected pair.

    Each check is a transaction of its own with a new id and is sent once; what counts is that one of them was answered
    within the last 30 seconds (section 5.1).
    """

    __slots__ = (
        "_config",
        "_credentials",
        "_next_at",
        "_outstanding",
        "_rng",
        "_roles",
        "granted_at",
        "is_dead",
        "pair",
    )

    def __init__(
        self,
        config: IceConfig,
        pair: CandidatePair,
        credentials: Credentials,
        roles: RoleKeeper,
        rng: random.Random,
        now: float,
    ) -> None:
        self._config = config
        self._credentials = credentials
        self._roles = roles
        self._rng = rng
        self.pair = pair
        """The pair that consent is asked for."""
        self.granted_at = now if pair.succeeded_at is None else pair.succeeded_at
        """When the last answer arrived; the check that made the pair valid was the first."""
        self.is_dead = False
        """Whether probes of the path went unanswered: the consent lasts, but the path is not counted on."""
        self._outstanding: dict[bytes, float] = NO_ENTRIES
        self._next_at = self._next_after(now)

    def _next_after(self, now: float) -> float:
        """Return when the check after one at ``now`` is due: at random, on the next tick of everybody's clock."""
        interval, tick = self._config.consent_interval, self._config.consent_tick
        at = now + 0.8 * interval + (0.4 * interval - tick) * self._rng.random()
        return math.ceil(at / tick) * tick if tick else at

    def __contains__(self, transaction_id: object) -> bool:
        return transaction_id in self._outstanding

    def freshness(self, now: float) -> Freshness:
        """Return what may be done at ``now``."""
        # The same sums as in next_timeout: a difference could round the other way and wake the driver for nothing.
        if now >= self.granted_at + self._config.consent_timeout:
            return Freshness.EXPIRED
        is_stale = self.is_dead or now >= self.granted_at + self._config.disconnected_after
        return _STALE if is_stale else _FRESH

    def receive(self, response: Message, path: FiveTuple, now: float) -> bool:
        """Take a response to a consent check; return whether it renews the consent.

        Nothing renews one that has expired: what is outstanding then does not count any more (section 5.1).
        """
        if self.freshness(now) is Freshness.EXPIRED:
            return False
        if path != self.pair.path or not response.verify_integrity(self._credentials.key):
            return False
        sent_at = self._outstanding.pop(response.transaction_id, None)
        if not self._outstanding:
            self._outstanding = NO_ENTRIES
        if sent_at is None or response.message_class is not MessageClass.SUCCESS:
            return False
        self.pair.responses_received += 1
        self.pair.note_round_trip(now - sent_at)
        self.pair.succeeded_at = now
        self.granted_at = now
        self.is_dead = False
        return True

    def handle_timeout(self, now: float) -> Transmit | None:
        """Return the consent check that is due, or None."""
        if now < self._next_at or self.freshness(now) is Freshness.EXPIRED:
            return None
        self._next_at = self._next_after(now)
        return self._request(now)

    def probe(self, now: float) -> Transmit:
        """Return a check out of turn, for a path that is suspected to be dead. Its answer renews the consent too."""
        return self._request(now)

    def _request(self, now: float) -> Transmit:
        oldest = now - self._config.consent_timeout
        self._outstanding = {key: at for key, at in self._outstanding.items() if at > oldest}
        transaction_id = new_transaction_id(self._rng)
        self._outstanding[transaction_id] = now
        self.pair.requests_sent += 1
        data = binding_request(transaction_id, self.pair, self._credentials, self._roles, use_candidate=False)
        return Transmit(data, self.pair.path)

    def next_timeout(self, state: State) -> float:
        """Return when something is due; ``state`` tells whether staleness has been noticed already."""
        quiet = self._config.consent_timeout if state is _DISCONNECTED else self._config.disconnected_after
        return min(self._next_at, self.granted_at + quiet, self.granted_at + self._config.consent_timeout)
