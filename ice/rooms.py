"""The rooms of an agent, and what an application can see in them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from ice.all_checks import AllChecks
from ice.candidate import Base, Candidate, TcpType, own_base
from ice.component import Component
from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason
from ice.events import Event, RoleChanged, State
from ice.gathering import Gathering
from ice.generation import Generation
from ice.generations import Generations
from ice.lifecycle import Lifecycle
from ice.lite import narrowed
from ice.local import LocalCandidates, no_alias
from ice.mdns import Names
from ice.pair import CandidatePair
from ice.relays import Relays
from ice.roles import Role
from ice.sources import AcceptedSources, Sources
from ice.stats import AgentStats
from ice.tcp import Connect, TcpPaths
from ice.tcp_gathering import TcpGathering
from ice.upkeep import Upkeep
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.lazy_queue import LazyQueue
from stun.machine import Outbox, Release, Transmit
from stun.nothing import NO_ENTRIES, NO_ITEMS

__all__ = ["AgentRooms"]


class AgentRooms:
    """What an agent owns. It is looked at here, and changed by :class:`~ice.agent.Agent` alone.

    Args:
        config: the settings.
        role: our role until a conflict changes it.
        rng: a CSPRNG such as ``random.SystemRandom()``, or a seeded generator in tests.
        settle: what relays and names call after each of their inputs.
        component: the agent's place among others; None for one that is alone.
    """

    __slots__ = (
        "_component",
        "_config",
        "_drops",
        "_gathering",
        "_generations",
        "_lifecycle",
        "_local",
        "_mapped",
        "_outbox",
        "_owed",
        "_relayed",
        "_rng",
        "_roles",
        "_sources",
        "_tcp",
        "_tcp_gathering",
        "_upkeep",
        "_withdrawn",
        "names",
        "relays",
    )

    def __init__(
        self,
        config: IceConfig,
        role: Role,
        rng: random.Random,
        settle: Callable[[float], None],
        component: Component | None = None,
    ) -> None:
        self._config = config = narrowed(config)
        self._rng = rng
        self._component = component or Component.alone(config, role, rng)
        self._roles = self._component.roles
        self.names = Names(config, rng, settle)
        """Names instead of addresses: what the driver is asked to resolve and publish."""
        alias = self.names.alias if self.names.publishes else no_alias
        self._local = LocalCandidates(config, alias, self._component.number, self._component.foundations)
        self._mapped: dict[tuple[Base, TransportAddress], str] = NO_ENTRIES
        self._gathering = Gathering(config, self._local, rng)
        self._sources = AcceptedSources()
        self.relays = Relays(config, self._local, rng, settle)
        """The TURN servers: :meth:`~ice.relays.Relays.add_server`, and what their links bring."""
        self._relayed: LazyQueue[bytes] = NO_ITEMS
        self._tcp = TcpPaths(config.tcp, self._local, rng)
        self._tcp_gathering = TcpGathering(config, self._local, rng)
        self._generations = Generations(config, self._make_generation(), self._sources)
        self._lifecycle = Lifecycle(config)
        self._upkeep = Upkeep(config)
        self._outbox: Outbox[Transmit | Connect | Release, Event] = Outbox()
        self._withdrawn: tuple[Candidate, ...] = ()
        self._drops: dict[str, int] = NO_ENTRIES
        self._owed: float | None = None
        """When an input came that nothing has been made of yet: the next look at the outbox will."""
        self._roles.followers += (self,)

    def role_changed(self) -> None:
        """A conflict was repaired, here or by the agent of another component."""
        if self.state.is_over:
            return
        for generation in self._generations.kept:
            generation.checking.role_changed()
        self._outbox.events.append(RoleChanged(self._roles.role))

    def _drop(self, what: str) -> None:
        """Count something that came and is not made use of."""
        if self._drops is NO_ENTRIES:
            self._drops = {}
        self._drops[what] = self._drops.get(what, 0) + 1

    @property
    def _checks(self) -> AllChecks:
        return AllChecks(self._generations)  # A view: only sessions with TCP connections look, and then now and then.

    def _make_generation(self) -> Generation:
        description, together = self._component.begin()
        args = (self._config, description, self._local, self._roles, self._sources, self._tcp, self._rng)
        generation = Generation(*args, together)
        generation.remotes.names = self.names
        return generation

    @property
    def local_description(self) -> Description:
        """Our credentials, to be told to the peer; others after an ICE restart."""
        return self._generations.current.local

    @property
    def local_ufrags(self) -> list[str]:
        """The user name fragments that checks of the peer may begin with: more than one while ICE restarts."""
        return [generation.local.ufrag for generation in self._generations.kept]

    @property
    def state(self) -> State:
        """The state of the session."""
        return self._lifecycle.state

    @property
    def failure_reason(self) -> FailureReason | None:
        """Why the session is over, or None."""
        return self._lifecycle.reason

    @property
    def failure_detail(self) -> str:
        """What else there is to say about a failure: why relays are missing or gone. Empty without a failure."""
        silent = (FailureReason.CONSENT_EXPIRED, FailureReason.CONSENT_REVOKED)
        if self.state is not State.FAILED or self.failure_reason in silent:
            return ""
        return "; ".join(self.relays.problems.texts[-3:])

    @property
    def remote_description(self) -> Description | None:
        """The peer's credentials, once known; those of its last generation after an ICE restart."""
        return self._generations.latest.remote

    @property
    def local_candidates(self) -> list[Candidate]:
        """The candidates found so far that the peer is to be told."""
        current, withdrawn = self._generations.current, self._withdrawn
        told = [each for each in current.announced if each not in withdrawn] if withdrawn else current.announced
        return [each.told(current.local.ufrag) for each in told]

    def _as_told(self, candidate: Candidate) -> Candidate:
        """Return one of our candidates as the peer is told it: with the generation, and no address that has a name."""
        return candidate.told(self.local_description.ufrag)

    @property
    def mappable_bases(self) -> list[Base]:
        """The bases that a router can let peers in to: all but those that connections are only opened from."""
        return [base for base in self._local.bases if self._local.tcp_type(base) is not TcpType.ACTIVE]

    @property
    def remote_candidates(self) -> list[Candidate]:
        """The peer's candidates that were taken, and those that its checks revealed."""
        return self._generations.current.remotes.all()

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The nominated pair in use, or None."""
        carrying = self._generations.carrying
        return None if carrying is None else carrying.selected

    @property
    def selected_path(self) -> FiveTuple | None:
        """Where to send data from and to; None while nothing may be sent."""
        selected = self.selected_pair
        return None if selected is None else selected.path

    def set_traffic(self, traffic: Callable[[], tuple[int, int]]) -> None:
        """Let the agent see how many datagrams of data were ever received and sent: it looks when a timer is due.

        Without, silence under load is not noticed before consent checks go unanswered.
        """
        self._upkeep.liveness.traffic = traffic

    def accepted_sources(self, base: TransportAddress, protocol: TransportProtocol = TransportProtocol.UDP) -> Sources:
        """Return the live set of ``(host, port)`` from which data that arrives at ``base`` is to be accepted.

        Raises:
            KeyError: ``base`` was never added.
        """
        return self._sources.of(own_base(base, protocol))

    def is_valid_path(
        self, local: TransportAddress, remote: tuple[str, int], protocol: TransportProtocol = TransportProtocol.UDP
    ) -> bool:
        """Return whether data from ``remote`` that arrives at our ``local`` is the peer's."""
        base = Base(local, protocol)
        return base in self._sources and remote in self._sources.of(base)

    def stats(self) -> AgentStats:
        """Return a picture of the session."""
        drops = Counter(self._drops)
        drops.update(self._generations.rejected)
        for generation in self._generations.kept:
            drops.update({reason.value: count for reason, count in generation.remotes.rejected.items()})
            drops["check: early, too many or of another generation"] += generation.early.dropped
        drops["remote candidate: early, too many"] += self._generations.early.dropped
        drops["server answer: unknown or implausible"] += self._gathering.implausible + self._tcp_gathering.implausible
        drops["own candidate: its name could not be published"] += self.names.unpublished
        drops["relayed: no permission"] += self.relays.unpermitted
        shown = (self._generations.carrying or self._generations.current).checking
        return AgentStats.of(self.state, self._roles, shown, drops, self.relays.stats(), self._tcp.stats())
