"""The agent of one ICE session, without I/O: after each input its rooms, which know the rules, are drained together."""

from __future__ import annotations

import random
from typing import Final

from ice.candidate import Base
from ice.component import Component
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import State
from ice.failover import Doubt
from ice.generation import Generation
from ice.pair import CandidatePair
from ice.receiving import AgentReceiving
from ice.roles import Role

__all__ = ["Agent"]

_NO_DOUBT: Final = Doubt.NONE
_CONSENT_EXPIRED: Final = FailureReason.CONSENT_EXPIRED
_NEW: Final = State.NEW
_DISCONNECTED: Final = State.DISCONNECTED
_FAILED: Final = State.FAILED
_CLOSED: Final = State.CLOSED


class Agent(AgentReceiving):
    """ICE for one component of one data stream, over UDP and TCP and by relays (RFC 8445, RFC 6544).

    Most sessions have no more than that. Where one has, :mod:`ice.streams` makes an agent for each component.

    Drive it as :mod:`stun.machine` says: after every input drain :meth:`next_effect`, then :meth:`next_event`, then ask
    :meth:`next_timeout`. Times are monotonic seconds. Nothing from the network raises.

    Args:
        config: the settings.
        role: our role until a conflict changes it.
        rng: a CSPRNG such as ``random.SystemRandom()``, or a seeded generator in tests.
        component: the place among other agents, whose role is the session's then; None for an agent that is alone.
    """

    __slots__ = ()

    def __init__(
        self, config: IceConfig, role: Role, *, rng: random.Random, component: Component | None = None
    ) -> None:
        super().__init__(config, role, rng, self._settle, component)

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due."""
        if self.state.is_over:
            return self.relays.handle_timeout(now)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))
        self.relays.handle_timeout(now)
        self.names.handle_timeout(now)
        self._finish_gathering()
        if self._generations.handle_timeout(now):
            self.relays.retain(self._generations.peers, now)
        for generation in self._generations.kept:
            generation.checking.handle_timeout(now)
            if generation.consent is not None and (check := generation.consent.handle_timeout(now)) is not None:
                self._outbox.effects.append(check)
        carrying = self._generations.carrying
        if carrying is not None and (probe := self._upkeep.handle_timeout(carrying, now)) is not None:
            self._outbox.effects.append(probe)
        self._settle(now)

    # -- draining the rooms --

    def _settle(self, now: float) -> None:
        self._owed = None
        if (tell_others := self._component.settled) is not None:
            tell_others()
        relays, lifecycle, gathering = self.relays, self._lifecycle, self._gathering
        if relays.in_use and (relays.news or relays.received):
            self._hear_relays(now)
            self._hear_peers(now)
        if self.names.in_use:
            self._hear_names(now)
        if not gathering.complete:
            self._finish_gathering()
        if lifecycle.state.is_over:
            return
        if relays.tcp.failed or (self._tcp_gathering.in_use and self._tcp_gathering.is_pending):
            self._run_tcp_gathering(now)
        for generation in self._generations.kept:
            self._drain(generation, now)
        if lifecycle.state is not _NEW:
            self._judge(now)
        if self._tcp.effects or self._tcp_gathering.effects:
            self._drain_tcp(now)

    def _drain(self, generation: Generation, now: float) -> None:
        checking = generation.checking
        checking.run(now)
        if self._tcp.by_path:
            self._tcp.run(self._checks, now)
        if checking.unsent:
            self._outbox.effects.extend(checking.unsent)
            checking.unsent = ()
        if checking.doubt is not _NO_DOUBT:
            if generation is self._generations.carrying:
                self._upkeep.liveness.doubt(checking.doubt, now)
            checking.doubt = _NO_DOUBT
        if checking.selections:
            selections, checking.selections = checking.selections, ()
            for event in selections:
                self._outbox.events.append(event)
                self._selected(event.pair, generation, now)

    def _selected(self, pair: CandidatePair, generation: Generation, now: float) -> None:
        """A pair of a generation has been selected."""
        self._generations.supersede(generation, now)
        generation.begin_consent(pair, now)
        self._upkeep.liveness.watch(now)
        self.relays.select(pair.path, now)
        is_improvable = pair.is_relayed and self._config.upgrade.enabled
        if generation is self._generations.current and not is_improvable:
            self._gathering.stop()
            self._tcp_gathering.stop()
            self._finish_gathering()

    def _judge(self, now: float) -> None:
        generations, lifecycle = self._generations, self._lifecycle
        current = generations.current
        carrying: Generation | None = generations.carrying
        if carrying is None and lifecycle.is_patient(now):
            return
        resolves = self.names.in_use and self.names.is_resolving
        ended = current.remotes.ended and self._gathering.complete and not resolves
        state, reason = lifecycle.judge(current, carrying, ended, now)
        if reason is _CONSENT_EXPIRED and generations.is_restarting:
            generations.drop_pair()  # RFC 7675 section 5.1; but the restart may still find another.
            carrying = None
            state, reason = lifecycle.judge(current, carrying, ended, now)
        if carrying is not None:
            carrying.checking.note_life(state is not _DISCONNECTED, now)
        if state is _FAILED and reason is not None:
            self._end(state, reason, now)
            return
        if state is not lifecycle.state:
            self._emit(lifecycle.move(state))
            if state is _DISCONNECTED and carrying is not None and carrying.selected is not None:
                self.relays.probe(Base.of(carrying.selected.path), now)
        if state is _DISCONNECTED and carrying is not None:
            self._drain(carrying, now)  # It may have another pair.
            carrying = generations.carrying
        wanted = self._upkeep.review(None if generations.is_restarting else carrying, state, now)
        if wanted is not None:
            self._emit(wanted)

    # -- the end --

    def revoke_consent(self, now: float) -> None:
        """The peer ended the session in an authenticated way, such as DTLS close_notify (RFC 7675 section 5.2)."""
        if not self.state.is_over:
            self._end(_FAILED, FailureReason.CONSENT_REVOKED, now)

    def close(self, now: float) -> None:
        """End the session: nothing is sent or accepted any more. Harmless twice."""
        if self.state is not _CLOSED:
            self._outbox.effects.clear()
            self._end(_CLOSED, FailureReason.CLOSED, now)

    def _end(self, state: State, reason: FailureReason, now: float) -> None:
        self._emit(self._lifecycle.move(state, reason))
        for generation in self._generations.kept:
            generation.stop()
        self._gathering.stop()
        self._close_tcp(now)
        self.relays.close(now)
        self.names.close()
        self._sources.clear()
