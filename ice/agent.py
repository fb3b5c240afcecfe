"""The agent of one ICE session, without I/O: it routes inputs to the rooms that know the rules, and drains them."""

from __future__ import annotations

import random

from ice.announcing import AgentCandidates
from ice.candidate import Base, Candidate
from ice.component import Component
from ice.config import IceConfig
from ice.description import Description, EndOfCandidates
from ice.errors import FailureReason, IceError
from ice.events import Restarted, State
from ice.failover import Doubt
from ice.generation import Generation
from ice.lite import role_towards
from ice.pair import CandidatePair
from ice.remote import Rejection
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple
from stun.demux import is_stun
from stun.errors import StunParseError
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method, parse

__all__ = ["Agent"]


class Agent(AgentCandidates):
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

    @property
    def role(self) -> Role:
        """Our role; settable until the peer's description is known."""
        return self._roles.role

    @role.setter
    def role(self, role: Role) -> None:
        if role is self._roles.role:
            return
        if self.remote_description is not None:
            raise IceError("the role is fixed once the peer's description is known")
        self._roles.role = role
        self._generations.current.checking.role_changed()

    # -- the peer's side --

    def set_remote_description(self, description: Description, now: float) -> None:
        """Take the peer's credentials; checks begin, those that came early are processed.

        Another description than the last is the peer's ICE restart (RFC 8445 section 9), or its answer to ours. If it
        is the peer's, a :class:`~ice.events.Restarted` has our answer.
        """
        if self.state.is_over or self._generations.knows(description):
            return
        if self._generations.current.remote is not None:
            self._begin_generation(by_peer=True, now=now)
        generation = self._generations.current
        generation.attach(description)
        if role_towards(generation.local, description, self._roles.role) is not self._roles.role:
            self._roles.switch()
        self._emit(self._lifecycle.start(now))
        ended, generation.remotes.ended = generation.remotes.ended, False  # Not for those that came before the end.
        for item in self._generations.early.take(description.ufrag):
            if isinstance(item, EndOfCandidates):
                ended = True
            else:
                self._take_candidate(generation, item, now)
        generation.remotes.ended = ended
        for check in self._generations.early_checks(description.ufrag):
            generation.checking.receive_check(check, now)
        self._owed = now

    def restart(self, now: float) -> Description:
        """Restart ICE (RFC 8445 section 9) and return the new description; :class:`~ice.events.Restarted` tells it too.

        Data stays on the pair in use until the new checks have found one. While the peer has not answered a description
        there is nothing to restart: that one is returned again, until :meth:`roll_back` gives it up.

        Raises:
            IceError: the session is over.
        """
        if self.state.is_over:
            raise IceError("the session is over", self.failure_reason)
        if self._generations.current.remote is not None:
            self._begin_generation(by_peer=False, now=now)
            self._settle(now)
        return self.local_description

    def roll_back(self, now: float) -> None:
        """Give up a description that the peer has not answered: the one before is ours again (RFC 8829 4.1.10.2).

        The next restart, of either side, has another. The peer may have answered and gone over to it all the same: its
        checks for it are answered as long as it sends them. Where nothing waits for an answer nothing changes.
        """
        if not self.state.is_over and self._generations.roll_back(now):
            if self._generations.carrying is not None:
                self._lifecycle.start(now)
            self._settle(now)

    def _begin_generation(self, *, by_peer: bool, now: float) -> None:
        generation = self._generations.begin(self._make_generation())
        self._lifecycle.restart(now)
        self._emit(Restarted(generation.local, by_peer))
        self._gather_again(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take one of the peer's candidates; one that cannot be used is dropped and counted.

        One that names a generation belongs to that, and waits for its description; others to the last description.
        """
        if self.state.is_over:
            return
        generation = self._generations.of_peer(candidate.ufrag)
        if generation is not None:
            if self._take_candidate(generation, candidate, now):
                self._owed = now
        elif candidate.ufrag is None or self._generations.is_past(candidate.ufrag):
            self._generations.current.remotes.reject(Rejection.GENERATION)
        else:
            self._generations.note_early(candidate.ufrag, candidate)

    def _take_candidate(self, generation: Generation, candidate: Candidate, now: float) -> bool:
        """Return whether the candidate was of any use."""
        checking, remotes = generation.checking, generation.remotes
        if generation.is_retired or (
            checking.is_concluded and remotes.at(candidate.address, candidate.protocol) is None
        ):
            remotes.reject(Rejection.CONCLUDED)
            return False
        if remotes.lacks_only_an_address(candidate):
            self.names.take(candidate, remotes, now)
            return True
        taken = remotes.add(candidate)
        if taken is None:
            return False
        added, replaced = taken
        self.relays.permit(added.address.host, now)
        if replaced is not None:
            checking.replace_remote(replaced, added, now)
        else:
            checking.pair_remote(added, now)
        return True

    def end_of_remote_candidates(self, now: float, ufrag: str | None = None) -> None:
        """The peer has no more candidates for its generation ``ufrag``, or for the last; later ones are ignored.

        RFC 8838 sections 13 and 14.
        """
        generation = self._generations.of_peer(ufrag)
        if generation is not None:
            generation.remotes.ended = True
            self._owed = now
        elif ufrag is not None and not self._generations.is_past(ufrag):
            self._generations.note_early(ufrag, EndOfCandidates(ufrag))

    # -- the network --

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take a STUN message that arrived on ``path``, at a socket or a relayed base, or what a TURN server sends.

        Anything else is dropped and counted.
        """
        if path in self.relays.by_path:
            self.relays.receive(data, path, now)
            return
        if self._lifecycle.state.is_over or Base.of(path) not in self._sources:
            self._drop("datagram: no session there")
            return
        self._receive(data, path, now)
        self._settle(now)

    def _receive(self, data: bytes, path: FiveTuple, now: float) -> None:
        try:
            message = parse(data)
        except StunParseError:
            self._drop("datagram: not STUN")
            return
        if message.method is not Method.BINDING:
            self._drop("datagram: not a Binding message")
        elif message.message_class is MessageClass.REQUEST:
            self._on_request(message, len(data), path, now)
        elif message.message_class is not MessageClass.INDICATION:  # An indication is a keepalive and says nothing.
            self._on_response(message, path, now)

    def _on_request(self, request: Message, size: int, path: FiveTuple, now: float) -> None:
        ours, _, _ = (request.get(att.USERNAME) or "").partition(":")
        generation = self._generations.of_local(ours) or self._generations.current
        answer = generation.responder.answer(request, path, size)
        self._outbox.effects.append(Transmit(answer.data, path))
        check = answer.check
        if check is None or check.is_refused:
            self._drop("check: refused")
        if check is None:
            return
        self._tcp.authenticated(path)
        meant = self._generations.meant_by(check, generation)
        if meant is None and not generation.is_given_up:
            generation.note_early(check, self._config.max_early_checks)
        elif meant is None or meant.is_retired:
            if not check.is_refused:  # A refusal does not let the peer go on there (RFC 7675).
                self._generations.answered(meant or generation, now)
        else:
            meant.checking.receive_check(check, now)

    def _on_response(self, response: Message, path: FiveTuple, now: float) -> None:
        gathering, over_tcp = self._gathering, self._tcp_gathering
        if over_tcp.in_use and path in over_tcp:
            return self._gathered(over_tcp.receive(response, path))
        if gathering.in_use and response.transaction_id in gathering:
            return self._gathered(gathering.receive(response, path, now))
        for generation in self._generations.kept:
            consent = generation.consent
            if consent is not None and response.transaction_id in consent:
                if not consent.receive(response, path, now):
                    self._drop("response: no consent")
                return
            if generation.checking.receive_response(response, path, now):
                return
        self._drop("response: unknown or not authentic")

    def _gathered(self, candidate: Candidate | None) -> None:
        """A server has answered."""
        if candidate is not None:
            self._found(candidate)
        self._finish_gathering()

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due."""
        if self.state.is_over:
            return self.relays.handle_timeout(now)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))
        self.relays.handle_timeout(now)
        self.names.handle_timeout(now)
        self._finish_gathering()
        self._generations.handle_timeout(now)
        for generation in self._generations:
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
        if lifecycle.state is not State.NEW:
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
        if checking.doubt is not Doubt.NONE:
            if generation is self._generations.carrying:
                self._upkeep.liveness.doubt(checking.doubt, now)
            checking.doubt = Doubt.NONE
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
        resolves = self.names.in_use and self.names.is_resolving
        ended = current.remotes.ended and self._gathering.complete and not resolves
        state, reason = lifecycle.judge(current, carrying, ended, now)
        if reason is FailureReason.CONSENT_EXPIRED and generations.is_restarting:
            generations.drop_pair()  # RFC 7675 section 5.1; but the restart may still find another.
            carrying = None
            state, reason = lifecycle.judge(current, carrying, ended, now)
        if carrying is not None:
            carrying.checking.note_life(state is not State.DISCONNECTED, now)
        if state is State.FAILED and reason is not None:
            self._end(state, reason, now)
            return
        if state is not lifecycle.state:
            self._emit(lifecycle.move(state))
            if state is State.DISCONNECTED and carrying is not None and carrying.selected is not None:
                self.relays.probe(Base.of(carrying.selected.path), now)
        if state is State.DISCONNECTED and carrying is not None:
            self._drain(carrying, now)  # It may have another pair.
            carrying = generations.carrying
        wanted = self._upkeep.review(None if generations.is_restarting else carrying, state, now)
        if wanted is not None:
            self._emit(wanted)

    def _hear_peers(self, now: float) -> None:
        """Take what peers sent to relayed addresses."""
        received = self.relays.received
        while received:
            data, path = received.popleft()
            if is_stun(data):
                self._receive(data, path, now)
            elif self.is_valid_path(*path) and data:
                self._relayed.append(data)
            else:
                self._drop("relayed: not from the peer")

    def _hear_names(self, now: float) -> None:
        names = self.names
        while names.ready:
            candidate, remotes = names.ready.popleft()
            for generation in self._generations:
                if generation.remotes is remotes:
                    self._take_candidate(generation, candidate, now)
        while names.tellable:
            self._found(names.tellable.popleft())

    # -- the end --

    def revoke_consent(self, now: float) -> None:
        """The peer ended the session in an authenticated way, such as DTLS close_notify (RFC 7675 section 5.2)."""
        if not self.state.is_over:
            self._end(State.FAILED, FailureReason.CONSENT_REVOKED, now)

    def close(self, now: float) -> None:
        """End the session: nothing is sent or accepted any more. Harmless twice."""
        if self.state is not State.CLOSED:
            self._outbox.effects.clear()
            self._end(State.CLOSED, FailureReason.CLOSED, now)

    def _end(self, state: State, reason: FailureReason, now: float) -> None:
        self._emit(self._lifecycle.move(state, reason))
        for generation in self._generations:
            generation.stop()
        self._gathering.stop()
        self._close_tcp(now)
        self.relays.close(now)
        self.names.close()
        self._sources.clear()
