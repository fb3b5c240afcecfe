"""Two agents in the simulated world: hosts, NATs, a STUN server, and signalling that takes its time."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from ice.agent import Agent
from ice.config import IceConfig
from ice.events import GatheringCompleted, LocalCandidateFound, State
from ice.pair import CandidatePair
from ice.roles import Role
from stun.address import TransportAddress
from stun.binding_server import BindingServer
from tests.simulation.host import Host
from tests.simulation.machines import Driven
from tests.simulation.world import World

SERVER = "203.0.113.53"


def add_stun_server(world: World, address: str = SERVER) -> TransportAddress:
    """Put a STUN server on the internet and return where it answers."""
    server: Driven[BindingServer] = Driven(world.host(f"stun {address}", world.internet, address), BindingServer())
    return server.bind(port=3478)


class Peer(Driven[Agent]):
    """An agent on a host; what it finds is told to ``other`` after ``signalling`` seconds."""

    def __init__(
        self, host: Host, role: Role, config: IceConfig | None = None, *, seed: int = 1, signalling: float = 0.05
    ) -> None:
        super().__init__(host, Agent(config or IceConfig(), role, rng=random.Random(seed)))
        self.other: Peer | None = None
        self.signalling = signalling
        self._told = 0
        self._add_bases()

    def _add_bases(self) -> None:
        for address in self.host.addresses:
            self.machine.add_local_base(self.bind(address), self.host.world.now)

    def start(self, other: Peer, servers: Sequence[TransportAddress]) -> None:
        """Tell the other side the description, gather, and trickle."""
        self.other = other
        description = self.machine.local_description
        self._tell(lambda now: other.machine.set_remote_description(description, now))
        self.machine.gather(servers, self.host.world.now)
        self.pump()

    def _tell(self, action: Callable[[float], None]) -> None:
        world, other = self.host.world, self.other
        assert other is not None

        def arrive() -> None:
            action(world.now)
            other.pump()

        world.at(world.now + self.signalling, arrive)

    def pump(self) -> None:
        super().pump()
        if self.other is None:
            return
        other = self.other.machine
        while self._told < len(self.events):
            event = self.events[self._told]
            self._told += 1
            if isinstance(event, LocalCandidateFound):
                candidate = event.candidate
                self._tell(lambda now, c=candidate: other.add_remote_candidate(c, now))  # type: ignore[misc]
            elif isinstance(event, GatheringCompleted):
                self._tell(other.end_of_remote_candidates)

    @property
    def state(self) -> State:
        return self.machine.state


def connect(a: Peer, b: Peer, *servers: TransportAddress, until: float = 120.0) -> None:
    """Start both sides and run until both are connected or have failed."""
    world = a.host.world
    a.start(b, servers)
    b.start(a, servers)
    settled = (State.CONNECTED, State.COMPLETED, State.FAILED)
    world.run(until=world.now + until, stop=lambda: a.state in settled and b.state in settled)


def mirrored(a: CandidatePair | None, b: CandidatePair | None) -> bool:
    """Whether the two sides mean the same path: what one calls local is what the other calls remote."""
    if a is None or b is None:
        return False
    return a.local.address == b.remote.address and a.remote.address == b.local.address
