from __future__ import annotations

from dataclasses import dataclass

import pytest

from stun.address import FiveTuple, TransportAddress
from stun.machine import Deadline, Outbox, Transmit
from tests.simulation import Driven, LinkProfile, World


@dataclass(frozen=True)
class Answered:
    after: float


@dataclass(frozen=True)
class Wish:
    what: str


class Asker(Outbox[Transmit | Wish, Answered]):
    """Asks every second until it is answered; a machine as small as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._path: FiveTuple | None = None
        self._started = 0.0
        self._next: float | None = None

    def ask(self, path: FiveTuple, now: float) -> None:
        self._path, self._started, self._next = path, now, now
        self.handle_timeout(now)

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        if data == b"question":
            self.effects.append(Transmit(b"answer", path))
        elif self._next is not None:
            self._next = None
            self.events.append(Answered(now - self._started))

    def handle_timeout(self, now: float) -> None:
        if self._next is not None and self._path is not None and now >= self._next:
            self.effects.append(Transmit(b"question", self._path))
            self._next = now + 1.0

    def next_timeout(self) -> Deadline | None:
        return None if self._next is None else Deadline(self._next, "ask again")


def pair(latency: float) -> tuple[World, Driven[Asker], Driven[Asker], FiveTuple]:
    world = World()
    alice = Driven(world.host("alice", world.internet, "203.0.113.1", link=LinkProfile(latency=latency)), Asker())
    bob = Driven(world.host("bob", world.internet, "203.0.113.2"), Asker())
    return world, alice, bob, FiveTuple(alice.bind(), bob.bind(port=4000))


def test_a_machine_is_driven_to_its_answer() -> None:
    world, alice, bob, path = pair(0.1)
    alice.machine.ask(path, world.now)
    alice.pump()
    world.run()
    assert alice.events == alice.of_type(Answered) == [Answered(pytest.approx(0.2))]
    assert (alice.sent, alice.received, bob.sent, bob.received) == (1, 1, 1, 1)


def test_its_timer_is_kept() -> None:
    world, alice, bob, path = pair(0.1)
    bob.host.vanish()
    alice.machine.ask(path, world.now)
    alice.pump()
    world.run(until=3.5)
    assert alice.sent == 4
    assert world.now == 3.5
    bob.host.reappear()
    world.run(stop=lambda: bool(alice.events))
    assert alice.events == [Answered(pytest.approx(4.2))]
    alice.close()
    bob.close()
    assert not alice.host.sockets


def test_other_effects_go_to_whoever_takes_them() -> None:
    world = World()
    wishes: list[Wish] = []
    host = world.host("alice", world.internet, "203.0.113.1")
    driven = Driven(host, Asker(), wishes.append)
    driven.machine.effects.append(Wish("tea"))
    driven.pump()
    assert wishes == [Wish("tea")]
    undriven = Driven(host, Asker())
    undriven.machine.effects.append(Wish("tea"))
    with pytest.raises(TypeError, match="nobody performs"):
        undriven.pump()


def test_a_machine_that_never_rests_is_found_out() -> None:
    class Restless(Asker):
        def next_timeout(self) -> Deadline:
            return Deadline(0.0, "now and for ever")

    world = World()
    driven = Driven(world.host("alice", world.internet, "203.0.113.1"), Restless())
    driven.bind()
    driven.pump()
    with pytest.raises(RuntimeError, match="no end in sight"):
        world.run(limit=1000)
    assert driven.host.sockets[TransportAddress("203.0.113.1", 50_001)]
