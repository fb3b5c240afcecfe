"""Which NATs ICE gets through, against the table that a laboratory measured (RFC 4787 names)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import State
from ice.roles import Role
from tests.ice.trip import Peer, add_stun_server, connect, mirrored
from tests.simulation import LinkProfile, World
from tests.simulation.nat_behaviour import Hairpin, NatBehaviour, PortAllocation, StrayInput
from tests.simulation.oracle import direct_path_possible

NATS: dict[str, NatBehaviour | None] = {
    "open": None,
    "EIM/EIF": NatBehaviour.full_cone(),
    "EIM/ADF": NatBehaviour.restricted_cone(),
    "EIM/APDF": NatBehaviour.port_restricted_cone(),
    "ADM/APDF": NatBehaviour.address_dependent(),
    "APDM": NatBehaviour.symmetric(),
    "APDM sequential": NatBehaviour.symmetric(PortAllocation.SEQUENTIAL),
    "linux": NatBehaviour.linux_masquerade(),
    "blocked": NatBehaviour.blocks_udp(),
}


def peer(world: World, name: str, nat: NatBehaviour | None, role: Role, seed: int) -> Peer:
    number = len(world.hosts)
    if nat is None:
        realm, address = world.internet, f"198.51.100.{number}"
    elif nat.udp_blocked:
        address = f"198.51.100.{number}"
        realm = world.nat(nat, name=f"wall {name}", prefixes=[f"{address}/32"]).inside
    else:
        realm = world.nat(nat, f"198.51.100.{100 + number}", name=f"nat {name}").inside
        address = "192.168.1.7" if role is Role.CONTROLLING else "10.0.0.9"
    host = world.host(name, realm, address, link=LinkProfile(latency=0.01))
    return Peer(host, role, IceConfig(checking_timeout=45.0), seed=seed)


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations_with_replacement(NATS, 2)))
def test_the_table_of_nats(a: str, b: str) -> None:
    world = World(seed=3)
    server = add_stun_server(world)
    alice = peer(world, "alice", NATS[a], Role.CONTROLLING, 1)
    bob = peer(world, "bob", NATS[b], Role.CONTROLLED, 2)
    connect(alice, bob, server)
    if direct_path_possible(NATS[a], NATS[b]):
        assert alice.state in (State.CONNECTED, State.COMPLETED), alice.machine.stats()
        assert bob.state in (State.CONNECTED, State.COMPLETED), bob.machine.stats()
        assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
        if NATS[a] is not None:
            assert alice.machine.selected_pair.local.type in (
                CandidateType.SERVER_REFLEXIVE,
                CandidateType.PEER_REFLEXIVE,
            )
    else:
        assert alice.state is State.FAILED
        assert bob.state is State.FAILED
        reasons = (FailureReason.CHECKS_FAILED, FailureReason.CHECKS_TIMED_OUT)
        assert alice.machine.failure_reason in reasons
        assert bob.machine.failure_reason in reasons


def home(world: World, name: str, nat: NatBehaviour, outer: str, inner: str, role: Role, **kwargs: object) -> Peer:
    inside = world.nat(nat, outer, name=f"nat {name}", **kwargs).inside  # type: ignore[arg-type]
    host = world.host(name, inside, inner, link=LinkProfile.broadband())
    return Peer(host, role, IceConfig(checking_timeout=45.0), seed=len(world.hosts))


def test_two_hosts_of_one_home_stay_inside() -> None:
    world = World(seed=1)
    server = add_stun_server(world)
    inside = world.nat(NatBehaviour.port_restricted_cone(), "198.51.100.1").inside
    hosts = [world.host(f"host{n}", inside, f"192.168.1.{n}", link=LinkProfile.lan()) for n in (2, 3)]
    alice, bob = Peer(hosts[0], Role.CONTROLLING, seed=1), Peer(hosts[1], Role.CONTROLLED, seed=2)
    connect(alice, bob, server)
    assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
    assert alice.machine.selected_pair.local.type is CandidateType.HOST
    assert bob.machine.selected_pair.remote.type is CandidateType.HOST


@pytest.mark.parametrize(
    ("hairpin", "router", "works"),
    [
        (Hairpin.EXTERNAL_SOURCE, NatBehaviour.port_restricted_cone(), True),
        (Hairpin.NONE, NatBehaviour.port_restricted_cone(), False),
        # The packets come from the homes' addresses in the carrier's network: strict routers refuse them, and open ones
        # let the agents learn them.
        (Hairpin.INTERNAL_SOURCE, NatBehaviour.port_restricted_cone(), False),
        (Hairpin.INTERNAL_SOURCE, NatBehaviour.full_cone(), True),
    ],
)
def test_two_homes_behind_one_carrier_need_its_hairpin(hairpin: Hairpin, router: NatBehaviour, works: bool) -> None:
    world = World(seed=1)
    server = add_stun_server(world)
    carrier = world.nat(replace(NatBehaviour.carrier_grade(), hairpin=hairpin), "198.51.100.1", name="carrier").inside
    alice = home(world, "alice", router, "100.64.0.2", "192.168.1.2", Role.CONTROLLING, outside=carrier)
    bob = home(world, "bob", router, "100.64.0.3", "192.168.7.3", Role.CONTROLLED, outside=carrier)
    connect(alice, bob, server)
    if not works:
        assert alice.machine.failure_reason is FailureReason.CHECKS_FAILED
        assert bob.machine.failure_reason is FailureReason.CHECKS_FAILED
        return
    assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
    seen = alice.machine.selected_pair.local.address.host
    assert seen == ("198.51.100.1" if hairpin is Hairpin.EXTERNAL_SOURCE else "100.64.0.2")


def test_ipv6_hosts_behind_firewalls_punch_too() -> None:
    world = World(seed=1)
    peers = []
    for number, role in ((1, Role.CONTROLLING), (2, Role.CONTROLLED)):
        address = f"2001:db8:{number}::7"
        wall = world.nat(NatBehaviour.firewall(), name=f"wall{number}", prefixes=[f"2001:db8:{number}::/48"])
        host = world.host(f"host{number}", wall.inside, address, link=LinkProfile.broadband())
        peers.append(Peer(host, role, seed=number))
    alice, bob = peers
    connect(alice, bob)
    assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
    assert alice.machine.selected_pair.local.type is CandidateType.HOST


@pytest.mark.parametrize("skew", [0.0, 0.3, 2.0, 10.0])
@pytest.mark.parametrize("early", [Role.CONTROLLING, Role.CONTROLLED])
def test_a_skewed_start_does_no_harm(skew: float, early: Role) -> None:
    world = World(seed=1)
    server = add_stun_server(world)
    router = NatBehaviour.port_restricted_cone()
    alice = home(world, "alice", router, "198.51.100.1", "192.168.1.2", Role.CONTROLLING)
    bob = home(world, "bob", router, "198.51.100.2", "192.168.7.3", Role.CONTROLLED)
    (alice if early is Role.CONTROLLED else bob).signalling = 0.05 + skew  # What the late side is told comes late.
    connect(alice, bob, server)
    assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
    assert world.now < skew + 1.0


def test_fifteen_percent_loss_costs_time_but_not_the_path() -> None:
    connected = 0
    for seed in range(40):
        world = World(seed=seed)
        server = add_stun_server(world)
        peers = []
        for number, role in ((1, Role.CONTROLLING), (2, Role.CONTROLLED)):
            inside = world.nat(NatBehaviour.port_restricted_cone(), f"198.51.100.{number}", name=f"nat{number}").inside
            host = world.host(f"host{number}", inside, f"192.168.{number}.7", link=LinkProfile.lossy(0.15))
            peers.append(Peer(host, role, seed=seed + number))
        alice, bob = peers
        connect(alice, bob, server)
        if alice.machine.selected_pair is not None:
            assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
            connected += 1
    assert connected >= 38


@pytest.mark.parametrize("stray", list(StrayInput))
def test_a_router_that_keeps_early_packets_for_itself(stray: StrayInput) -> None:
    world = World(seed=1)
    server = add_stun_server(world)
    alice = home(world, "alice", NatBehaviour.linux_masquerade(stray), "198.51.100.1", "192.168.1.2", Role.CONTROLLING)
    bob = home(world, "bob", NatBehaviour.linux_masquerade(stray), "198.51.100.2", "192.168.7.3", Role.CONTROLLED)
    alice.signalling = 0.5
    connect(alice, bob, server)
    if stray is StrayInput.NOTHING:
        assert mirrored(alice.machine.selected_pair, bob.machine.selected_pair)
    else:
        assert alice.machine.failure_reason is FailureReason.CHECKS_FAILED
