"""The agent of one ICE session, without I/O: it routes inputs to the rooms that know the rules, and drains them."""

from __future__ import annotations

import random
from collections.abc import Iterable

from ice.candidate import Base, Candidate
from ice.checks import Credentials
from ice.config import IceConfig
from ice.consent import Consent
from ice.description import Description
from ice.errors import FailureReason, IceError
from ice.events import (
    CandidateErrorFound,
    Event,
    GatheringCompleted,
    LocalCandidateFound,
    PairSelected,
    RoleChanged,
    State,
)
from ice.mdns import NameEffect
from ice.pair import CandidatePair
from ice.relay import HostPermitted, RelayedFound, RelayLost
from ice.relays import RelayEffect
from ice.remote import Rejection
from ice.roles import Role
from ice.tcp import Connect
from ice.tcp_inputs import TcpInputs
from stun.address import FiveTuple, TransportAddress
from stun.demux import is_stun
from stun.errors import StunParseError
from stun.machine import Deadline, Transmit, earliest
from stun.message import Message, MessageClass, Method, parse

__all__ = ["Agent"]


class Agent(TcpInputs):
    """One ICE session with one data stream of one component, over UDP and TCP and by relays (RFC 8445, RFC 6544).

    Drive it as :mod:`stun.machine` says: after every input drain :meth:`next_effect`, then :meth:`next_event`, then ask
    :meth:`next_timeout`. Times are monotonic seconds. Nothing from the network raises.

    Args:
        config: the settings.
        role: our role until a conflict changes it.
        rng: a CSPRNG such as ``random.SystemRandom()``, or a seeded generator in tests.
    """

    def __init__(self, config: IceConfig, role: Role, *, rng: random.Random) -> None:
        super().__init__(config, role, rng, self._settle)

    @property
    def role(self) -> Role:
        """Our role; settable until the peer's description is known."""
        return self._roles.role

    @role.setter
    def role(self, role: Role) -> None:
        if role is self._roles.role:
            return
        if self._remote_description is not None:
            raise IceError("the role is fixed once the peer's description is known")
        self._roles.role = role
        self._checking.role_changed()

    # -- our candidates --

    def add_local_base(self, address: TransportAddress, now: float) -> None:
        """Take a bound UDP socket into use.

        Raises:
            IceError: there are as many as the configuration allows, the address is known, or only relays are allowed.
        """
        if self._config.relays_only:
            raise IceError("the configuration allows relayed candidates only")
        base = Base(address)
        if base in self._sources:
            raise IceError(f"the base {address} is known already")
        if len(self._local.bases) >= self._config.max_local_bases:
            raise IceError(f"there are {len(self._local.bases)} bases already")
        self._sources.add_base(base)
        self._local.add_base(base)
        if self._gathering.began:
            self.begin_gathering(now)

    def gather(self, servers: Iterable[TransportAddress], now: float) -> None:
        """Gather from all bases and these servers: the next three methods in one."""
        self.begin_gathering(now)
        for server in servers:
            self.add_stun_server(server, now)
        self.end_of_stun_servers(now)

    def begin_gathering(self, now: float) -> None:
        """Give out the host candidates; bases that are added later follow by themselves."""
        if self.state.is_over:
            return
        hosts = self._gathering.begin()
        self._tcp_gathering.add_bases()
        for host in hosts:
            told = self._config.tells_hosts and not self._gathering.complete
            if told and not self.names.holds_back(host, now):
                self._found(host)
            self._checking.pair_local(host)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))
        self._settle(now)

    def add_stun_server(self, server: TransportAddress, now: float) -> None:
        """Ask this server from every base of its family."""
        if self.state.is_over:
            return
        self._gathering.add_server(server, now)
        self._tcp_gathering.add_server(server, now)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))

    def end_of_stun_servers(self, now: float) -> None:
        """No more servers are added: gathering ends when the last answer is there or given up."""
        if self.state.is_over:
            return
        self._gathering.end_of_servers()
        self._finish_gathering()
        self._settle(now)

    def _found(self, candidate: Candidate) -> None:
        candidate = candidate.as_told
        self._candidates.append(candidate)
        self._outbox.events.append(LocalCandidateFound(candidate))

    def _finish_gathering(self) -> None:
        waiting = self.relays.is_gathering or self._tcp_gathering.is_pending or self.names.is_publishing
        if not waiting and self._gathering.completes_now():
            self._outbox.events.append(GatheringCompleted(self.local_description.ufrag))

    # -- the peer's side --

    def set_remote_description(self, description: Description, now: float) -> None:
        """Take the peer's credentials; checks begin, those that came early are processed.

        Raises:
            IceError: another description was set before (ICE restart is not done here).
        """
        if self.state.is_over or description == self._remote_description:
            return
        if self._remote_description is not None:
            raise IceError("the peer's description is known already; a new one would be an ICE restart")
        self._remote_description = description
        self._remotes.ufrag = description.ufrag
        if description.lite and self._roles.role is Role.CONTROLLED:
            self._roles.switch()  # Section 6.1.1: of a full and a lite agent the full one controls.
            self._role_changed()
        self._credentials = Credentials(self.local_description.ufrag, description.ufrag, description.pwd)
        self._checking.start(self._credentials)
        self._emit(self._lifecycle.start(now))
        for check in self._early.take(description.ufrag):
            self._checking.receive_check(check, now)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Take one of the peer's candidates; one that cannot be used is dropped and counted."""
        if self.state.is_over:
            return
        if self._checking.selected is not None and self._remotes.at(candidate.address, candidate.protocol) is None:
            self._remotes.reject(Rejection.CONCLUDED)
            return
        if self._remotes.lacks_only_an_address(candidate):
            self.names.take(candidate, now)
            self._hear_names(now)
            return
        taken = self._remotes.add(candidate)
        if taken is None:
            return
        added, replaced = taken
        self.relays.permit(added.address.host, now)
        if replaced is not None:
            self._checking.replace_remote(replaced, added)
        else:
            self._checking.pair_remote(added)
        self._settle(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates; later ones are ignored (RFC 8838 section 14)."""
        self._remotes.ended = True
        self._settle(now)

    # -- the network --

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take a STUN message that arrived on ``path``, at a socket or a relayed base, or what a TURN server sends.

        Anything else is dropped and counted.
        """
        if path in self.relays.by_path:
            self.relays.receive(data, path, now)
            return
        if self.state.is_over or Base.of(path) not in self._sources:
            self._drops["datagram: no session there"] += 1
            return
        self._receive(data, path, now)
        self._settle(now)

    def _receive(self, data: bytes, path: FiveTuple, now: float) -> None:
        try:
            message = parse(data)
        except StunParseError:
            self._drops["datagram: not STUN"] += 1
            return
        if message.method is not Method.BINDING:
            self._drops["datagram: not a Binding message"] += 1
        elif message.message_class is MessageClass.REQUEST:
            self._on_request(message, path, now)
        elif message.message_class is not MessageClass.INDICATION:  # An indication is a keepalive and says nothing.
            self._on_response(message, path, now)

    def _on_request(self, request: Message, path: FiveTuple, now: float) -> None:
        answer = self._responder.answer(request, path)
        self._outbox.effects.append(Transmit(answer.data, path))
        if answer.switched:
            self._role_changed()
        check = answer.check
        if check is not None:
            self._tcp.authenticated(path)
        if check is None:
            self._drops["check: refused"] += 1
        elif self._remote_description is None:
            self._early.add(check)
        elif check.peer_ufrag != self._remote_description.ufrag:
            self._drops["check: another generation"] += 1
        else:
            self._checking.receive_check(check, now)

    def _on_response(self, response: Message, path: FiveTuple, now: float) -> None:
        transaction_id = response.transaction_id
        if self._consent is not None and transaction_id in self._consent:
            if not self._consent.receive(response, path, now):
                self._drops["response: no consent"] += 1
        elif path in self._tcp_gathering:
            candidate = self._tcp_gathering.receive(response, path)
            if candidate is not None:
                self._found(candidate)
            self._finish_gathering()
        elif transaction_id in self._gathering:
            candidate = self._gathering.receive(response, path, now)
            if candidate is not None:
                self._found(candidate)
            self._finish_gathering()
        elif not self._checking.receive_response(response, path, now):
            self._drops["response: unknown or not authentic"] += 1

    def handle_timeout(self, now: float) -> None:
        """Do whatever is due."""
        if self.state.is_over:
            return self.relays.handle_timeout(now)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))
        self.relays.handle_timeout(now)
        self.names.handle_timeout(now)
        self._finish_gathering()
        self._checking.handle_timeout(now)
        if self._consent is not None and (check := self._consent.handle_timeout(now)) is not None:
            self._outbox.effects.append(check)
        self._settle(now)

    # -- draining the rooms --

    def _settle(self, now: float) -> None:
        self._hear_relays(now)
        self._hear_names(now)
        if self.state.is_over:
            return
        checking = self._checking
        checking.run(now)
        self._tcp.run(checking, now)
        self._run_tcp_gathering(now)
        for room in (checking.outbox, self._tcp, self._tcp_gathering):
            self._outbox.effects.extend(room.effects)
            room.effects.clear()
        if self._remote_description is None:
            return
        while (event := checking.outbox.next_event()) is not None:
            self._outbox.events.append(event)
            if isinstance(event, PairSelected):
                self._begin_consent(event.pair, now)
        ended = self._remotes.ended and self._gathering.complete and not self.names.is_resolving
        state, reason = self._lifecycle.judge(checking, self._consent, ended, now)
        checking.selected_is_fresh = state is not State.DISCONNECTED
        if state is State.FAILED and reason is not None:
            self._end(state, reason, now)
            return
        change = self._lifecycle.move(state)
        self._emit(change)
        if change is not None and state is State.DISCONNECTED and self.selected_path is not None:
            self.relays.probe(Base.of(self.selected_path), now)

    def _hear_relays(self, now: float) -> None:
        relays = self.relays
        while relays.news:
            match relays.news.popleft():
                case RelayedFound(candidate):
                    assert candidate.base_key is not None
                    self._sources.add_base(candidate.base_key)
                    self._found(candidate)
                case HostPermitted(base, _) if base in self._local.own:
                    self._checking.pair_local(self._local.own[base])
                case RelayLost(base, _) if not self.state.is_over:
                    self._checking.drop_base(base)
                    if self.selected_path is not None and Base.of(self.selected_path) == base:
                        self._end(State.FAILED, FailureReason.RELAY_LOST, now)
                case CandidateErrorFound() as error:
                    self._emit(error)
        while relays.received:
            data, path = relays.received.popleft()
            if is_stun(data):
                self._receive(data, path, now)
            elif self.is_valid_path(*path) and data:
                self._relayed.append(data)
            else:
                self._drops["relayed: not from the peer"] += 1
        self._finish_gathering()

    def _hear_names(self, now: float) -> None:
        names = self.names
        while names.rejected:
            self._remotes.reject(names.rejected.popleft())
        while names.ready:
            self.add_remote_candidate(names.ready.popleft(), now)
        while names.tellable:
            self._found(names.tellable.popleft())
        self._finish_gathering()

    def _begin_consent(self, pair: CandidatePair, now: float) -> None:
        assert self._credentials is not None
        self.relays.select(pair.path, now)
        self._consent = Consent(self._config, pair, self._credentials, self._roles, self._rng, now)
        self._gathering.stop()
        self._tcp_gathering.stop()
        self._finish_gathering()

    def _role_changed(self) -> None:
        self._checking.role_changed()
        self._outbox.events.append(RoleChanged(self._roles.role))

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
        self._checking.stop()
        self._gathering.stop()
        self._close_tcp()
        self.relays.close(now)
        self.names.close()
        self._sources.clear()
        self._consent = None

    # -- drained by the driver --

    def _emit(self, event: Event | None) -> None:
        if event is not None:
            self._outbox.events.append(event)

    def next_effect(self) -> Transmit | Connect | RelayEffect | NameEffect | None:
        """Return the next packet to send, or what is to become of connections, relays or names, or None.

        That is a Transmit, a :class:`~ice.tcp.Connect`, a Release, or an effect of :mod:`ice.relay` or :mod:`ice.mdns`.
        """
        while (effect := self._outbox.next_effect()) is not None:
            if not isinstance(effect, Transmit) or Base.of(effect.path) not in self.relays.by_base:
                return effect
            self.relays.send(effect.data, effect.path)
        return self.relays.next_effect() or self.names.next_effect()

    def next_data(self) -> bytes | None:
        """Return the next datagram that the peer sent to a relayed address and that was no STUN, or None."""
        return self._relayed.popleft() if self._relayed else None

    def next_event(self) -> Event | None:
        """Return the next thing that the application should know, or None."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None for never."""
        relays = self.relays.next_timeout()
        if self.state.is_over:
            return relays  # Servers are still told that their allocations are not needed.
        checking, gathering = self._checking.next_timeout(), self._gathering.next_timeout()
        return earliest(
            relays,
            self._tcp.next_timeout(),
            self._tcp_gathering.next_timeout(),
            self.names.next_timeout(),
            None if checking is None else Deadline(checking, "connectivity checks"),
            None if gathering is None else Deadline(gathering, "gathering"),
            self._lifecycle.next_timeout() if self._consent is None else self._consent.next_timeout(self.state),
        )
