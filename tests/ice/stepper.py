"""Two agents on one perfect, instant wire, and what went over it: for tests that count messages."""

from __future__ import annotations

import random
from collections.abc import Callable

from ice.agent import Agent
from ice.candidate import Base
from ice.config import IceConfig
from ice.events import Event, GatheringCompleted, LocalCandidateFound, State
from ice.roles import Role
from stun.address import FiveTuple, TransportAddress
from stun.machine import Transmit
from stun.message import Message, MessageClass, parse

A = TransportAddress("192.0.2.1", 1001)
B = TransportAddress("198.51.100.2", 2002)
A6 = TransportAddress("2001:db8::a", 1006)
B6 = TransportAddress("2001:db8::b", 2006)

Filter = Callable[[bytes, FiveTuple], bool]


class Side:
    """One agent and what it said."""

    def __init__(self, role: Role, *bases: TransportAddress, seed: int = 1, config: IceConfig | None = None) -> None:
        self.agent = Agent(config or IceConfig(), role, rng=random.Random(seed))
        self.events: list[Event] = []
        self.wishes: list[object] = []
        """Effects that are no datagrams."""
        for base in bases:
            self.agent.add_local_base(base, 0.0)
        self.agent.gather([], 0.0)
        self.drain_events()

    def drain_events(self) -> None:
        while (event := self.agent.next_event()) is not None:
            self.events.append(event)

    def of_type(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def candidates(self) -> list:
        return [event.candidate for event in self.of_type(LocalCandidateFound)]

    @property
    def has_gathered(self) -> bool:
        return bool(self.of_type(GatheringCompleted))


class Wire:
    """Carries datagrams between sides by address; each hop takes ``delay`` seconds."""

    def __init__(self, *sides: Side, delay: float = 0.0) -> None:
        self.now = 0.0
        self.delay = delay
        self.sides = sides
        self.log: list[tuple[float, Message, FiveTuple]] = []
        self.passes: Filter = lambda data, path: True
        self._flying: list[tuple[float, int, bytes, FiveTuple]] = []
        self._count = 0

    def flush(self) -> None:
        """Take what the agents want sent, and their events."""
        for side in self.sides:
            while (effect := side.agent.next_effect()) is not None:
                if not isinstance(effect, Transmit):
                    side.wishes.append(effect)
                    continue
                self.log.append((self.now, parse(effect.data), effect.path))
                if self.passes(effect.data, effect.path):
                    self._count += 1
                    self._flying.append((self.now + self.delay, self._count, effect.data, effect.path))
            side.drain_events()

    def _next_time(self) -> float | None:
        times = [at for at, *_ in self._flying]
        times += [deadline.at for side in self.sides if (deadline := side.agent.next_timeout()) is not None]
        return min(times, default=None)

    def step(self) -> bool:
        """Do the next thing; False when nothing is left."""
        self.flush()
        at = self._next_time()
        if at is None:
            return False
        self.now = max(self.now, at)
        arrived = sorted(item for item in self._flying if item[0] <= self.now)
        if arrived:
            item = arrived[0]
            self._flying.remove(item)
            _, _, data, path = item
            for side in self.sides:
                if Base(path.remote, path.protocol) in side.agent._sources:
                    side.agent.receive_datagram(data, FiveTuple(path.remote, path.local, path.protocol), self.now)
                    break
        else:
            for side in self.sides:
                deadline = side.agent.next_timeout()
                if deadline is not None and deadline.at <= self.now:
                    side.agent.handle_timeout(self.now)
        self.flush()
        return True

    def run(self, until: float) -> None:
        """Step until the virtual time ``until``."""
        self.flush()
        for _ in range(100_000):
            at = self._next_time()
            if at is None or at > until:
                break
            self.step()
        else:
            raise AssertionError("the agents never come to rest")
        self.now = until

    def count(self, *classes: MessageClass) -> int:
        return sum(message.message_class in classes for _, message, _ in self.log)


def describe(a: Side, b: Side, now: float = 0.0) -> None:
    """Tell each side the other's description."""
    a.agent.set_remote_description(b.agent.local_description, now)
    b.agent.set_remote_description(a.agent.local_description, now)


def tell_candidates(to: Side, of: Side, now: float = 0.0, end: bool = True) -> None:
    for candidate in of.candidates:
        to.agent.add_remote_candidate(candidate, now)
    if end:
        to.agent.end_of_remote_candidates(now)


def exchange(a: Side, b: Side, now: float = 0.0) -> None:
    """Tell both sides everything."""
    describe(a, b, now)
    tell_candidates(a, b, now)
    tell_candidates(b, a, now)


def sides(a_role: Role = Role.CONTROLLING, b_role: Role = Role.CONTROLLED) -> tuple[Side, Side, Wire]:
    """Return two sides and the wire between them."""
    a, b = Side(a_role, A), Side(b_role, B, seed=2)
    return a, b, Wire(a, b)


def pair_of_sides(**settings: object) -> tuple[Side, Side, Wire]:
    """As :func:`sides`, with settings that both have."""
    config = IceConfig(**settings)  # type: ignore[arg-type]
    a, b = Side(Role.CONTROLLING, A, config=config), Side(Role.CONTROLLED, B, seed=2, config=config)
    return a, b, Wire(a, b)


def connected(a: Side, b: Side) -> None:
    """Both have said all that there is to say, and use the pair of their one base."""
    assert a.agent.state is State.COMPLETED
    assert b.agent.state is State.COMPLETED
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)
