from __future__ import annotations

import asyncio

import pytest

from stun.address import TransportAddress
from tests.simulation import Fate, Hairpin, Host, LinkProfile, NatBehaviour, SimulatedSocket, World, virtual_time


class Ears:
    """A socket that remembers what it hears."""

    def __init__(self, host: Host, port: int = 0, address: str | None = None) -> None:
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        local = TransportAddress(address or host.addresses[0], port)
        self.socket: SimulatedSocket = host.bind(local, lambda data, remote: self.heard.append((data, remote)))
        self.local = self.socket.local


def test_two_hosts_on_one_wire_and_the_time_it_takes() -> None:
    world = World()
    wire = LinkProfile(latency=0.02)
    alice = Ears(world.host("alice", world.internet, "203.0.113.1", link=wire))
    bob = Ears(world.host("bob", world.internet, "203.0.113.2", link=wire), 4000)
    assert alice.socket.send(b"hello", ("203.0.113.2", 4000))
    assert bob.heard == []
    assert world.run() == pytest.approx(0.04)
    assert bob.heard == [(b"hello", alice.local)]
    assert world.counts == {Fate.SENT: 1, Fate.DELIVERED: 1}
    assert world.hosts["alice"].sent == world.hosts["bob"].received == 1


def test_step_goes_from_one_happening_to_the_next() -> None:
    world = World()
    happened: list[float] = []
    for when in (0.3, 0.1, 0.2):
        world.at(when, lambda: happened.append(world.now))
    while world.step():
        assert world.now == happened[-1]
    assert happened == [0.1, 0.2, 0.3]
    assert not world.step()


def test_what_cannot_arrive_is_counted() -> None:
    world = World()
    ears = Ears(world.host("alice", world.internet, "203.0.113.1"))
    world.host("bob", world.internet, "203.0.113.2")
    ears.socket.send(b"", ("203.0.113.3", 1))
    ears.socket.send(b"", ("203.0.113.2", 1))
    world.run()
    assert world.counts == {Fate.SENT: 2, Fate.UNROUTABLE: 1, Fate.REFUSED: 1}
    assert not ears.socket.send(b"", ("2001:db8::1", 1)), "there is no way to the other family"
    assert not ears.socket.send(bytes(70_000), ("203.0.113.2", 1))


def test_binding_rules() -> None:
    world = World()
    host = world.host("alice", world.internet, "203.0.113.1", "2001:db8::1")
    first = Ears(host, 4000)
    with pytest.raises(OSError, match="taken"):
        Ears(host, 4000)
    with pytest.raises(OSError, match="not an address"):
        Ears(host, address="203.0.113.99")
    first.socket.close()
    first.socket.close()
    Ears(host, 4000)
    assert Ears(host, address="2001:db8::1").local.port != 0


def test_loopback_and_wildcard() -> None:
    world = World()
    host = world.host("alice", world.internet, "203.0.113.1")
    wild = Ears(host, 4000, "0.0.0.0")
    local = Ears(host, 0, "127.0.0.1")
    local.socket.send(b"in", ("127.0.0.1", 4000))
    wild.socket.send(b"out", local.local)
    world.run()
    assert wild.heard == [(b"in", local.local)]
    assert local.heard == [(b"out", ("127.0.0.1", 4000))]


def home(world: World, external: str, inner: str, behaviour: NatBehaviour | None = None) -> Host:
    router = world.nat(behaviour or NatBehaviour.full_cone(), external)
    return world.host(external, router.inside, inner)


def test_through_a_nat_and_back() -> None:
    world = World()
    inside = Ears(home(world, "198.51.100.1", "192.168.1.2"), 5000)
    server = Ears(world.host("server", world.internet, "203.0.113.1"), 3478)
    inside.socket.send(b"ping", server.local)
    world.run()
    assert server.heard == [(b"ping", ("198.51.100.1", 5000))]
    server.socket.send(b"pong", server.heard[0][1])
    world.run()
    assert inside.heard == [(b"pong", server.local)]


def test_homes_may_use_the_same_inner_addresses() -> None:
    world = World()
    first = Ears(home(world, "198.51.100.1", "192.168.1.2"), 5000)
    second = Ears(home(world, "198.51.100.2", "192.168.1.2"), 5000)
    first.socket.send(b"open", ("198.51.100.2", 5000))
    world.run()
    assert world.counts[Fate.FILTERED] == 1
    second.socket.send(b"through", ("198.51.100.1", 5000))
    world.run()
    assert first.heard == [(b"through", ("198.51.100.2", 5000))]


def test_nested_nats() -> None:
    world = World()
    carrier = world.nat(NatBehaviour.carrier_grade(), "198.51.100.1", name="carrier")
    box = world.nat(NatBehaviour.full_cone(), "100.64.0.7", outside=carrier.inside)
    inside = Ears(world.host("alice", box.inside, "192.168.1.2"), 5000)
    server = Ears(world.host("server", world.internet, "203.0.113.1"), 3478)
    inside.socket.send(b"ping", server.local)
    world.run()
    ((_, seen),) = server.heard
    assert seen[0] == "198.51.100.1"
    assert seen[1] != 5000
    server.socket.send(b"pong", seen)
    world.run()
    assert inside.heard == [(b"pong", server.local)]


@pytest.mark.parametrize("hairpin", [Hairpin.NONE, Hairpin.EXTERNAL_SOURCE])
def test_two_homes_behind_one_carrier(hairpin: Hairpin) -> None:
    world = World()
    carrier = world.nat(NatBehaviour(hairpin=hairpin), "198.51.100.1", name="carrier")
    boxes = [world.nat(NatBehaviour.full_cone(), f"100.64.0.{n}", outside=carrier.inside) for n in (1, 2)]
    first, second = (Ears(world.host(f"h{n}", box.inside, "192.168.1.2"), 5000 + n) for n, box in enumerate(boxes))
    server = Ears(world.host("server", world.internet, "203.0.113.1"), 3478)
    for ears in (first, second):
        ears.socket.send(b"", server.local)
    world.run()
    outer_first, outer_second = (remote for _, remote in server.heard)
    second.socket.send(b"open", outer_first)
    first.socket.send(b"in", outer_second)
    world.run()
    assert bool(second.heard) is (hairpin is Hairpin.EXTERNAL_SOURCE)


def test_a_firewall_in_front_of_ipv6() -> None:
    world = World()
    wall = world.nat(NatBehaviour.firewall(), prefixes=["2001:db8:1::/48"])
    inside = Ears(world.host("alice", wall.inside, "2001:db8:1::2"), 5000)
    outside = Ears(world.host("bob", world.internet, "2001:db8:2::2"), 6000)
    outside.socket.send(b"early", inside.local)
    world.run()
    assert inside.heard == []
    inside.socket.send(b"open", outside.local)
    outside.socket.send(b"in", inside.local)
    world.run()
    assert inside.heard == [(b"in", outside.local)]
    assert outside.heard == [(b"open", inside.local)]


def test_rebooting_a_nat_moves_its_ports() -> None:
    world = World(3)
    router = world.nat(NatBehaviour.carrier_grade(), "198.51.100.1")
    inside = Ears(world.host("alice", router.inside, "192.168.1.2"), 5000)
    server = Ears(world.host("server", world.internet, "203.0.113.1"), 3478)
    inside.socket.send(b"", server.local)
    world.run()
    router.reboot()
    inside.socket.send(b"", server.local)
    world.run()
    assert server.heard[0][1] != server.heard[1][1]


def test_vanishing_and_losing_an_address() -> None:
    world = World()
    alice = world.host("alice", world.internet, "203.0.113.1")
    bob = world.host("bob", world.internet, "203.0.113.2")
    ears, mouth = Ears(bob, 4000), Ears(alice)
    bob.vanish()
    mouth.socket.send(b"lost", ears.local)
    world.run()
    bob.reappear()
    mouth.socket.send(b"heard", ears.local)
    world.run()
    assert [data for data, _ in ears.heard] == [b"heard"]
    alice.remove_address("203.0.113.1")
    assert not mouth.socket.send(b"", ears.local)
    assert [interface.host for interface in alice.interfaces()] == []


def test_one_seed_one_history() -> None:
    def history(seed: int) -> list[tuple[float, int, Fate]]:
        world = World(seed)
        seen: list[tuple[float, int, Fate]] = []
        world.observers.append(lambda now, packet, fate: seen.append((now, len(packet.data), fate)))
        alice = Ears(world.host("alice", world.internet, "203.0.113.1", link=LinkProfile.lossy()))
        bob = Ears(world.host("bob", world.internet, "203.0.113.2"), 4000)
        for size in range(100):
            world.at(size * 0.01, lambda size=size: alice.socket.send(bytes(size), bob.local))  # type: ignore[misc]
        world.run()
        return seen

    assert history(5) == history(5)
    assert history(5) != history(6)


@virtual_time
async def test_the_network_port_on_an_asyncio_loop() -> None:
    world = World()
    world.names["bob.example"] = ["203.0.113.2", "2001:db8::2"]
    world.dns_delay = 1.0
    wire = LinkProfile(latency=0.05)
    alice = world.host("alice", world.internet, "203.0.113.1", link=wire).network()
    bob = world.host("bob", world.internet, "203.0.113.2", link=wire).network()
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
    server = await bob.bind(TransportAddress("203.0.113.2", 4000), lambda *heard_: heard.put_nowait(heard_))
    client = await alice.bind(TransportAddress("203.0.113.1", 0), lambda *_: None)
    resolved = await alice.resolve("bob.example", 4000)
    assert loop.time() == pytest.approx(1.0)
    assert resolved == [("203.0.113.2", 4000), ("2001:db8::2", 4000)]
    client.send(b"hello", resolved[0])
    assert await heard.get() == (b"hello", client.local)
    assert loop.time() == pytest.approx(1.1)
    with pytest.raises(OSError, match="no such name"):
        await alice.resolve("nobody.example", 1)
    assert [interface.host for interface in alice.interfaces()] == ["127.0.0.1", "203.0.113.1"]
    with pytest.raises(RuntimeError, match="asyncio loop"):
        world.step()
    client.close()
    server.close()


@virtual_time
async def test_what_was_scheduled_before_the_loop_came_happens_on_the_loop() -> None:
    await asyncio.sleep(100)
    world = World()
    happened: list[float] = []
    world.at(1.0, lambda: happened.append(world.now))
    world.use_loop(asyncio.get_running_loop())
    await asyncio.sleep(2)
    assert happened == [pytest.approx(101.0)]
