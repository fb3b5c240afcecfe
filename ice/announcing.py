"""An agent's own side: its bases and servers, and what it tells the peer of them (RFC 8445 5.1, RFC 8838 section 9)."""

from __future__ import annotations

from collections.abc import Iterable

from ice.candidate import Base, Candidate, own_base
from ice.errors import FailureReason, IceError
from ice.events import CandidateErrorFound, Event, GatheringCompleted, GatheringSettled, LocalCandidateFound, State
from ice.relay import HostPermitted, RelayedFound, RelayLost
from ice.tcp_inputs import TcpInputs
from stun.address import TransportAddress, TransportProtocol
from stun.lazy_queue import LazyQueue
from stun.nothing import NO_ITEMS

__all__ = ["AgentCandidates"]


class AgentCandidates(TcpInputs):
    """The inputs that make candidates of ours, and the announcing of them in each generation."""

    __slots__ = ()

    def add_local_base(self, address: TransportAddress, now: float) -> None:
        """Take a bound UDP socket into use.

        Raises:
            IceError: there are as many as the configuration allows, the address is known, or only relays are allowed.
        """
        if self._config.relays_only:
            raise IceError("the configuration allows relayed candidates only")
        base = own_base(address)
        if base in self._sources:
            raise IceError(f"the base {address} is known already")
        if self._config.lite.enabled and self._local.has_datagram_base(address.host):
            raise IceError(f"a lite agent has one candidate on {address.host} (RFC 8445 section 5.2)")
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
            self._pair_local(host, now)
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

    def _gather_again(self, now: float) -> None:
        """A new generation has begun: tell it what there is, and ask the servers again (RFC 8445 section 9)."""
        self._withdrawn = ()
        if not self._gathering.began:
            return
        self._local.forget_reflexive()
        hosts = self._gathering.restart(now)
        self._tcp_gathering.restart(self._gathering.servers, now)
        for base in self.relays.restart(now):
            self._sources.drop_base(base)
        known = hosts if self._config.tells_hosts else []
        known = [host for host in known if not self.names.holds_back(host, now)]
        relayed = [self._local.own[base] for base in self.relays.by_base if base in self._local.own]
        for candidate in [*known, *relayed]:
            self._found(candidate)
        for (base, mapped), gateway in list(self._mapped.items()):
            self.add_mapped_address(base, mapped, gateway, now)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))
        self._finish_gathering()

    def _pair_local(self, ours: Candidate, now: float) -> None:
        for generation in self._generations.kept:
            if not generation.is_retired:
                generation.checking.pair_local(ours, now)

    def _found(self, candidate: Candidate) -> None:
        # RFC 8838 section 9: each is told once in a generation, and says in which.
        generation = self._generations.current
        key = (candidate.base_key, candidate.address)
        if any((known.base_key, known.address) == key for known in generation.announced):
            return
        generation.announced += (candidate,)
        self._outbox.events.append(LocalCandidateFound(self._as_told(candidate)))

    def _withdraw(self, base: Base, mapped: TransportAddress | None = None) -> None:
        """What was told of a base, or that it was mapped, is not true any more."""
        for candidate in self._generations.current.announced:
            matches = candidate.base_key == base and mapped in (None, candidate.address)
            if matches and candidate not in self._withdrawn:
                self._withdrawn += (candidate,)

    def _finish_gathering(self) -> None:
        gathering, over_tcp = self._gathering, self._tcp_gathering
        if gathering.complete or self.relays.is_gathering or self.names.is_publishing:
            return
        if not over_tcp.is_awaited and gathering.settles_now():
            self._outbox.events.append(GatheringSettled(self.local_description.ufrag))
        if not over_tcp.is_pending and gathering.completes_now():
            self._outbox.events.append(GatheringCompleted(self.local_description.ufrag))

    # -- what routers map --

    def add_mapped_address(self, base: Base, mapped: TransportAddress, gateway: str, now: float) -> None:
        """The router ``gateway`` lets everybody reach ``base`` at ``mapped``: a candidate, until gathering is complete.

        After that it is told with the next generation, and lets the peer's checks in all the same.
        """
        if self.state.is_over or base not in self._local.hosts:
            return
        self._mapped = {**self._mapped, (base, mapped): gateway}
        key = (base, mapped)  # It may be back, which the peer need not be told.
        self._withdrawn = tuple(each for each in self._withdrawn if (each.base_key, each.address) != key)
        candidate = self._local.add_reflexive(base, mapped, TransportAddress(gateway, 0))
        if candidate is not None and not self._gathering.complete:
            self._found(candidate)

    def remove_mapped_address(self, base: Base, mapped: TransportAddress, now: float) -> None:
        """The router maps it no longer; it is not told again. What is in use goes on until the peer is silent."""
        self._mapped.pop((base, mapped), None)
        self._withdraw(base, mapped)

    # -- what servers and the machine do to our bases --

    def remove_local_base(
        self, address: TransportAddress, now: float, protocol: TransportProtocol = TransportProtocol.UDP
    ) -> None:
        """A base is gone with its address: its pairs fail, and if it is in use the session looks for another pair."""
        base = Base(address, protocol)
        if base not in self._local.bases:
            return
        self._local.drop_base(base)
        self._gathering.drop_base(base)
        self._sources.drop_base(base)
        self._withdraw(base)
        self._lose_base(base, None, now)
        if not self.state.is_over:
            self._settle(now)

    def remove_tcp_bases(self, host: str, now: float) -> None:
        """As :meth:`remove_local_base` for all that TCP has on an address."""
        for address, protocol in list(self._local.bases):
            if protocol is TransportProtocol.TCP and address.host == host:
                self.remove_local_base(address, now, protocol)

    def _hear_relays(self, now: float) -> None:
        relays = self.relays
        while relays.news:
            match relays.news.popleft():
                case RelayedFound(candidate):
                    assert candidate.base_key is not None
                    if self._relayed is NO_ITEMS:
                        self._relayed = LazyQueue()
                    self._sources.add_base(candidate.base_key)
                    self._found(candidate)
                case HostPermitted(base, _) if base in self._local.own:
                    self._pair_local(self._local.own[base], now)
                case RelayLost(base, _) if not self.state.is_over:
                    self._local.drop_relayed(base)
                    self._lose_base(base, FailureReason.RELAY_LOST, now)
                case CandidateErrorFound() as error:
                    self._emit(error)

    def _lose_base(self, base: Base, reason: FailureReason | None, now: float) -> None:
        """Let the pairs of a base fail. Losing the one in use ends the session for ``reason``, if there is no other."""
        is_in_use = self.selected_path is not None and Base.of(self.selected_path) == base
        for generation in self._generations.kept:
            generation.checking.drop_base(base)
        carrying = self._generations.carrying
        if not is_in_use or carrying is None or carrying.consent is None:
            return
        if reason is None or carrying.checking.can_fail_over:
            carrying.consent.is_dead = True
        elif self._generations.is_restarting:
            carrying.stop()
        else:
            self._end(State.FAILED, reason, now)

    def _emit(self, event: Event | None) -> None:
        if event is not None:
            self._outbox.events.append(event)

    def _settle(self, now: float) -> None:
        """Let the rooms work together after an input."""
        raise NotImplementedError

    def _end(self, state: State, reason: FailureReason, now: float) -> None:
        """End the session."""
        raise NotImplementedError
