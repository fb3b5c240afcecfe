"""What the tests of sessions share: two of them in a simulated world, tied by a signalling that takes no time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ice.aio import Session
from ice.candidate import Candidate
from ice.config import IceConfig, IceTransportPolicy
from ice.roles import Role
from tests.simulation import Host, LinkProfile, NatBehaviour, World
from turn.config import TurnServerConfig

WIRE = LinkProfile(latency=0.005)
"""10 ms from host to host."""

STUN = "203.0.113.53"
"""Where the STUN server of a world is."""


@dataclass
class Pair:
    """A controlling and a controlled session, and their hosts."""

    world: World
    hosts: tuple[Host, Host]
    controlling: Session
    controlled: Session

    async def connect(self) -> None:
        """Gather, trickle both ways and wait for both sides; the first error is raised."""
        trickle(self.controlling, self.controlled)
        trickle(self.controlled, self.controlling)
        await asyncio.gather(self.controlling.connect(), self.controlled.connect())

    async def close(self) -> None:
        """Close both."""
        await asyncio.gather(self.controlling.close(), self.controlled.close())


def trickle(source: Session, sink: Session) -> None:
    """Tell ``sink`` everything that ``source`` knows, and the rest as it becomes known."""

    def found(candidate: Candidate | None) -> None:
        sink.add_remote_candidate(candidate)

    sink.set_remote_description(source.local_description)
    for candidate in source.local_candidates:
        found(candidate)
    if source.gathering_complete:
        found(None)
    else:
        source.on("candidate", found)


def session(host: Host, role: Role, config: IceConfig | None = None, seed: int = 0) -> Session:
    """Return a session on a simulated host."""
    return Session(role, config, host.network(), random.Random(f"{host.name} {seed}"))


def relayed(*servers: TurnServerConfig) -> IceConfig:
    """Return settings with which a session has candidates at these servers alone."""
    return IceConfig(turn_servers=servers, transport_policy=IceTransportPolicy.RELAY, include_loopback=True)


def behind(world: World, index: int, nat: NatBehaviour | None, *, link: LinkProfile = WIRE) -> Host:
    """Return a host behind a NAT of its own, or on the internet."""
    if nat is None:
        return world.host(f"h{index}", world.internet, f"198.51.100.{index}", link=link)
    router = world.nat(nat, f"198.51.100.{index}")
    return world.host(f"h{index}", router.inside, f"192.168.{index}.2", link=link)


@asynccontextmanager
async def pair(
    nats: Sequence[NatBehaviour | None] = (None, None),
    config: IceConfig | None = None,
    *,
    roles: tuple[Role, Role] = (Role.CONTROLLING, Role.CONTROLLED),
    link: LinkProfile = WIRE,
    seed: int = 1,
    world: World | None = None,
) -> AsyncIterator[Pair]:
    """Yield two sessions that have not begun, and close them afterwards."""
    world = world or World(seed)
    first, second = (behind(world, index, nat, link=link) for index, nat in enumerate(nats, start=1))
    made = Pair(world, (first, second), session(first, roles[0], config), session(second, roles[1], config))
    try:
        yield made
    finally:
        await made.close()
        assert not first.sockets, "sockets were left open"
        assert not second.sockets, "sockets were left open"
