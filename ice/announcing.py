"""An agent's own side: its bases and servers, and what it tells the peer of them (RFC 8445 5.1, RFC 8838 section 9)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ice.candidate import Base, Candidate
from ice.config import IceTransportPolicy
from ice.errors import IceError
from ice.events import Event, GatheringCompleted, LocalCandidateFound
from ice.rooms import AgentRooms
from stun.address import TransportAddress

__all__ = ["AgentCandidates"]


class AgentCandidates(AgentRooms):
    """The inputs that make candidates of ours, and the announcing of them in each generation."""

    def add_local_base(self, address: TransportAddress, now: float) -> None:
        """Take a bound UDP socket into use.

        Raises:
            IceError: there are as many as the configuration allows, the address is known, or only relays are allowed.
        """
        if self._config.transport_policy is IceTransportPolicy.RELAY:
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
            if self._config.announce_host_candidates and not self._gathering.complete:
                self._found(host)
            self._pair_local(host)
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
        self._candidates.clear()
        if not self._gathering.began:
            return
        self._local.forget_reflexive()
        hosts = self._gathering.restart(now)
        self._tcp_gathering.restart(now)
        self.relays.restart(now)
        known = hosts if self._config.announce_host_candidates else []
        relayed = [self._local.own[base] for base in self.relays.by_base if base in self._local.own]
        for candidate in [*known, *relayed]:
            self._found(candidate)
        self._outbox.effects.extend(self._gathering.handle_timeout(now))
        self._finish_gathering()

    def _pair_local(self, ours: Candidate) -> None:
        for generation in self._generations:
            if not generation.is_retired:
                generation.checking.pair_local(ours)

    def _found(self, candidate: Candidate) -> None:
        # RFC 8838 section 9: each is told once in a generation, and says in which.
        announced = self._generations.current.announced
        key = (candidate.base_key, candidate.address)
        if key in announced:
            return
        announced.add(key)
        ufrag = ("ufrag", self.local_description.ufrag)
        told = replace(candidate, extensions=(*candidate.extensions, ufrag))
        self._candidates.append(told)
        self._outbox.events.append(LocalCandidateFound(told))

    def _finish_gathering(self) -> None:
        if not self.relays.is_gathering and not self._tcp_gathering.is_pending and self._gathering.completes_now():
            self._outbox.events.append(GatheringCompleted(self.local_description.ufrag))

    def _emit(self, event: Event | None) -> None:
        if event is not None:
            self._outbox.events.append(event)

    def _settle(self, now: float) -> None:
        """Let the rooms work together after an input."""
        raise NotImplementedError
