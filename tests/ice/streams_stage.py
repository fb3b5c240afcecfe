"""Two sessions of several streams and components on one wire: every agent is a side of it."""

from __future__ import annotations

import random
from collections.abc import Iterable

from ice.agent import Agent
from ice.config import IceConfig
from ice.events import Event
from ice.roles import Role
from ice.streams import Streams
from stun.address import TransportAddress
from tests.ice.stepper import A, B, Side, Wire

Place = tuple[str, int]


class Member(Side):
    """One agent of several, and what it said."""

    def __init__(self, agent: Agent, *bases: TransportAddress) -> None:
        self.agent = agent
        self.events: list[Event] = []
        self.wishes: list[object] = []
        for base in bases:
            agent.add_local_base(base, 0.0)
        agent.gather([], 0.0)
        self.drain_events()


class Party:
    """All agents of one end, each with a port of its own on the same hosts."""

    def __init__(
        self,
        role: Role,
        hosts: Iterable[TransportAddress],
        places: Iterable[Place],
        seed: int = 1,
        config: IceConfig | None = None,
    ) -> None:
        self.streams = Streams(config or IceConfig(), role, rng=random.Random(seed))
        self.members: dict[Place, Member] = {}
        for number, (stream, component) in enumerate(places):
            bases = [TransportAddress(host.host, host.port + number) for host in hosts]
            self.members[stream, component] = Member(self.streams.add(stream, component), *bases)

    def describe(self, other: Party, now: float = 0.0) -> None:
        """Take the descriptions of the other end."""
        for stream, description in other.streams.local_descriptions.items():
            self.streams.set_remote_description(stream, description, now)

    def hear(self, other: Party, now: float = 0.0) -> None:
        """Take the candidates of the other end."""
        for (stream, _), member in other.members.items():
            member.drain_events()
            for candidate in member.agent.local_candidates:
                self.streams.add_remote_candidate(stream, candidate, now)
        for stream in other.streams.local_descriptions:
            self.streams.end_of_remote_candidates(stream, now)


def two_parties(
    places: Iterable[Place],
    roles: tuple[Role, Role] = (Role.CONTROLLING, Role.CONTROLLED),
    hosts: tuple[Iterable[TransportAddress], Iterable[TransportAddress]] = ((A,), (B,)),
    config: IceConfig | None = None,
    seeds: tuple[int, int] = (1, 2),
) -> tuple[Party, Party, Wire]:
    places = list(places)
    a, b = (Party(*args, places, seed, config) for *args, seed in zip(roles, hosts, seeds, strict=True))
    return a, b, Wire(*a.members.values(), *b.members.values())


def meet(a: Party, b: Party, now: float = 0.0) -> None:
    """Tell both everything."""
    a.describe(b, now)
    b.describe(a, now)
    a.hear(b, now)
    b.hear(a, now)
