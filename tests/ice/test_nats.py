"""Which NATs ICE gets through, against the table that a laboratory measured (RFC 4787 names)."""

from __future__ import annotations

import itertools

import pytest

from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import State
from ice.roles import Role
from tests.ice.trip import Peer, add_stun_server, connect, mirrored
from tests.simulation import LinkProfile, World
from tests.simulation.nat_behaviour import NatBehaviour, PortAllocation, StrayInput
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
