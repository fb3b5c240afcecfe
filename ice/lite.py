"""ICE-lite: an agent that answers checks and sends none (RFC 8445 sections 2.5, 5.2, 6.1.1, 7.3.2 and 8.2)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final

from ice.candidate import Base, Candidate, TcpType
from ice.checking import Checking
from ice.checks import Credentials
from ice.config import IceConfig
from ice.consent import Consent, Freshness
from ice.description import Description
from ice.events import PairSelected, State
from ice.lite_pairs import best_unchecked
from ice.pair import COUNTERPARTS, CandidatePair, PairState
from ice.responder import ReceivedCheck
from ice.roles import Conflict, Role, RoleKeeper
from ice.selection import takes_over
from stun.address import FiveTuple
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method
from stun.transaction import new_transaction_id

__all__ = ["LiteChecking", "LiteConsent", "LiteRoles", "UncheckedConsent", "narrowed", "role_towards"]

_PASSIVE: Final[AbstractSet[TcpType]] = frozenset({TcpType.PASSIVE})


def narrowed(config: IceConfig) -> IceConfig:
    """Return the settings that are left of ``config`` for a lite agent; all of them for a full one.

    It connects to nobody over TCP, looks for no better pair and does not ask whether the path is alive.
    """
    if not config.lite.enabled:
        return config
    tcp = replace(config.tcp, candidates=_PASSIVE & config.tcp.candidates, reflexive=False)
    upgrade, failover = replace(config.upgrade, enabled=False), replace(config.failover, enabled=False)
    return replace(config, tcp=tcp, upgrade=upgrade, failover=failover)


def role_towards(ours: Description, theirs: Description, role: Role) -> Role:
    """Return the role that the descriptions leave us (section 6.1.1): of a full and a lite agent the full one controls.

    Two of a kind keep theirs: the one that began controls.
    """
    if ours.lite is theirs.lite:
        return role
    return Role.CONTROLLED if ours.lite else Role.CONTROLLING


class LiteRoles(RoleKeeper):
    """The role of a lite agent: who checks is a full one, and controls."""

    __slots__ = ()

    def judge(self, peer_role: Role, peer_tiebreaker: int) -> Conflict:
        """As of the base, but the tiebreakers do not matter: a lite agent never controls one that sends checks."""
        if peer_role is Role.CONTROLLED:
            return Conflict.REFUSE
        return Conflict.NONE if self.role is Role.CONTROLLED else Conflict.YIELD


class LiteChecking(Checking):
    """The pairs of a lite agent: those that the peer reaches it on, and the one that the peer nominates.

    Of a peer that is lite, too, nobody checks a pair. Both sides choose the same one by the same rules then
    (:mod:`ice.lite_pairs`).
    """

    __slots__ = ("_chooses", "_nominated_at", "_refuses")

    def _begin(self) -> None:
        self._chooses = False
        self._refuses = False
        self._nominated_at = 0.0

    def start(self, credentials: Credentials, ours: Description, theirs: Description) -> None:
        """Both descriptions are known. Nothing is sent because of it."""
        self.moving.start(ours, theirs)
        self._chooses = theirs.lite and self._config.lite.unchecked_peers
        self._refuses = theirs.lite and not self._chooses

    def consent_to(self, pair: CandidatePair, credentials: Credentials, now: float) -> Consent:
        """Return the consent to a pair that was selected."""
        kind = UncheckedConsent if self._chooses else LiteConsent
        return kind(self._config, pair, credentials, self._roles, self._rng, now)

    @property
    def is_concluded(self) -> bool:
        """Never: the peer may still nominate another pair, or a better one of two lite agents may come up."""
        return False

    # -- the peer's checks --

    def receive_check(self, check: ReceivedCheck, now: float) -> None:
        """Process a check that was answered with success (section 7.3.2)."""
        if check.is_refused:
            return
        tcp_type = self._local.tcp_type(Base.of(check.path))
        remote = self._remotes.learn(check.path, check.priority, None if tcp_type is None else COUNTERPARTS[tcp_type])
        pair = self.checklist.find(check.path)
        if remote is not None and pair is None and (ours := self._local.own.get(Base.of(check.path))) is not None:
            pair = self.checklist.form_reached(ours, remote, self._roles.role)
        if pair is None:
            return
        self._accept(check.path)
        pair.requests_received += 1
        pair.responses_sent += 1
        pair.succeeded_at = now
        if pair.state is not PairState.SUCCEEDED:
            self.checklist.succeed(pair)
            pair.valid = pair
            self.checklist.add_valid(pair)
        if check.use_candidate:
            pair.nomination = max(pair.nomination, check.nomination)
            self._follow(pair, check.nomination, now)

    def _follow(self, pair: CandidatePair, number: int, now: float) -> None:
        """The peer nominates a pair: use it at once, unless a better one was nominated just now."""
        pair.nominated = True
        is_settled = now >= self._nominated_at + self._config.lite.settle_time
        newer = self.moving.is_newer(number)
        if self.selected is not None and self.selected.path == pair.path:
            self._nominated_at = now
            self.moving.number = max(self.moving.number, number)
        elif takes_over(self.selected, pair, self.selected_is_fresh and not is_settled, newer):
            self._nominated_at = now
            self._select(pair, number, now)

    def _select(self, pair: CandidatePair, number: int, now: float) -> None:
        self.selected = pair
        self.selected_is_fresh = True
        self.moving.selected(pair, number, now)
        self.selections += (PairSelected(pair),)

    # -- without checks --

    def run(self, now: float) -> None:
        """Towards a lite peer, choose the pair."""
        if not self._chooses:
            return
        pairs = [pair for pair in self.checklist if pair.state is not PairState.FAILED]
        for pair in pairs:
            if pair.path not in self.accepted:
                self._accept(pair.path)  # The other side may know fewer of the pairs, and choose another one.
        best = best_unchecked(pairs)
        if best is not None and (self.selected is None or best.path != self.selected.path):
            self._select(best, 0, now)

    def _can_reach(self, base: Candidate, remote: Candidate) -> bool:
        return not self._refuses and super()._can_reach(base, remote)

    def _form(self, ours: Candidate, remote: Candidate, now: float) -> None:
        if ours.tcp_type is None:  # Over TCP pairs wait for the peer to connect (RFC 6544 section 6.2).
            self.checklist.form(ours, remote, self._roles.role)

    @property
    def can_fail_over(self) -> bool:
        """Whether another pair can be chosen without checks."""
        return self._chooses and any(pair.state is not PairState.FAILED for pair in self.checklist)

    def next_timeout(self) -> float | None:
        """Return None: nothing is ever due."""
        return None


class LiteConsent(Consent):
    """The consent of a peer that does the asking: its authenticated checks say that it wants to hear us."""

    __slots__ = ()

    def freshness(self, now: float) -> Freshness:
        """Return what may be done at ``now``: as long as a check has come within ``consent_timeout``, anything."""
        self._look()
        return super().freshness(now)

    def _look(self) -> None:
        heard_at = self.pair.succeeded_at
        expiry = self.granted_at + self._config.consent_timeout  # Nothing renews a consent after that.
        if heard_at is not None and self.granted_at < heard_at < expiry:
            self.granted_at, self.is_dead = heard_at, False

    def receive(self, response: Message, path: FiveTuple, now: float) -> bool:
        """Return False: nothing was asked."""
        return False

    def handle_timeout(self, now: float) -> Transmit | None:
        """Return None: nothing is asked."""
        return None

    def next_timeout(self, state: State) -> float:
        """Return when something is due; ``state`` tells whether staleness has been noticed already."""
        self._look()
        wait = self._config.consent_timeout if state is State.DISCONNECTED else self._config.disconnected_after
        return self.granted_at + wait


class UncheckedConsent(Consent):
    """What two lite agents have for a consent: neither asks, and the path is only kept open (RFC 8445 section 11)."""

    __slots__ = ()

    def _interval(self) -> float:
        return self._config.keepalive_interval

    def freshness(self, now: float) -> Freshness:
        """Return what may be done at ``now``: anything, as long as the path is there."""
        return Freshness.STALE if self.is_dead else Freshness.FRESH

    def receive(self, response: Message, path: FiveTuple, now: float) -> bool:
        """Return False: nothing was asked."""
        return False

    def handle_timeout(self, now: float) -> Transmit | None:
        """Return the Binding indication that is due, or None."""
        if now < self._next_at:
            return None
        self._next_at = now + self._interval()
        indication = Message(Method.BINDING, MessageClass.INDICATION, new_transaction_id(self._rng))
        return Transmit(indication.serialize(fingerprint=True), self.pair.path)

    def next_timeout(self, state: State) -> float:
        """Return when an indication is due."""
        return self._next_at
