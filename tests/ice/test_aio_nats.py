"""Sessions through NATs: direct where the oracle says so, a reason where it does not."""

from __future__ import annotations

import asyncio

import pytest

from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.errors import FailureReason, NoPathError
from ice.roles import Role
from tests.ice.sessions import STUN, WIRE, Pair, behind, pair, session
from tests.simulation import (
    Hairpin,
    LinkProfile,
    NatBehaviour,
    PortAllocation,
    World,
    direct_path_possible,
    virtual_time,
)
from tests.simulation.stun_server import stun_server

NATS = {
    "open": None,
    "full-cone": NatBehaviour.full_cone(),
    "restricted": NatBehaviour.restricted_cone(),
    "port-restricted": NatBehaviour.port_restricted_cone(),
    "masquerade": NatBehaviour.linux_masquerade(),
    "address-dependent": NatBehaviour.address_dependent(),
    "symmetric": NatBehaviour.symmetric(),
    "sequential": NatBehaviour.symmetric(PortAllocation.SEQUENTIAL),
    "blocked": NatBehaviour.blocks_udp(),
}
ASKING = IceConfig(stun_servers=[STUN])


@pytest.mark.parametrize("first", NATS)
@pytest.mark.parametrize("second", NATS)
@virtual_time
async def test_direct_exactly_where_the_oracle_says_so(first: str, second: str) -> None:
    world = World(1)
    stun_server(world, STUN)
    nats = (NATS[first], NATS[second])
    async with pair(nats, ASKING, world=world) as both:
        if direct_path_possible(*nats):
            await both.connect()
            both.controlling.send(b"ping")
            assert await both.controlled.receive() == b"ping"
            both.controlled.send(b"pong")
            assert await both.controlling.receive() == b"pong"
        else:
            with pytest.raises(NoPathError) as caught:
                await both.connect()
            assert caught.value.reason is FailureReason.CHECKS_FAILED


@virtual_time
async def test_two_homes_meet_at_their_reflexive_addresses() -> None:
    world = World(1)
    stun_server(world, STUN)
    async with pair((NATS["port-restricted"], NATS["port-restricted"]), ASKING, world=world) as both:
        await both.connect()
        selected = both.controlling.selected_pair
        assert selected is not None
        assert selected.remote.type in (CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE)
        assert selected.remote.address.host == "198.51.100.2"
        assert selected.local.address.host == "198.51.100.1"


@virtual_time
async def test_a_dead_server_beside_a_live_one_does_not_delay_the_path() -> None:
    world = World(1)
    stun_server(world, STUN)
    config = IceConfig(stun_servers=["203.0.113.201", "nobody.example:3478", STUN])
    async with pair((NATS["port-restricted"], NATS["full-cone"]), config, world=world) as both:
        began = asyncio.get_running_loop().time()
        await both.connect()
        assert asyncio.get_running_loop().time() - began < 1.0


@virtual_time
async def test_through_two_nats_on_each_side_and_a_lossy_network() -> None:
    for seed in range(5):
        world = World(seed)
        stun_server(world, STUN)
        carrier = world.nat(NatBehaviour.port_restricted_cone(), "198.51.100.100", name="carrier")
        box = world.nat(NatBehaviour.port_restricted_cone(), "100.64.0.9", outside=carrier.inside)
        deep = world.host("deep", box.inside, "192.168.9.2", link=LinkProfile.lossy(0.05))
        far = behind(world, 2, NATS["port-restricted"], link=LinkProfile.lossy(0.05))
        both = Pair(
            world,
            (deep, far),
            session(deep, Role.CONTROLLING, ASKING),
            session(far, Role.CONTROLLED, ASKING),
        )
        await both.connect()
        await both.close()


@pytest.mark.parametrize("hairpin", list(Hairpin))
@virtual_time
async def test_two_hosts_behind_one_nat_use_their_inner_addresses(hairpin: Hairpin) -> None:
    world = World(1)
    stun_server(world, STUN)
    router = world.nat(NatBehaviour(hairpin=hairpin), "198.51.100.1")
    hosts = tuple(world.host(f"h{n}", router.inside, f"192.168.1.{n}", link=WIRE) for n in (2, 3))
    both = Pair(
        world,
        (hosts[0], hosts[1]),
        session(hosts[0], Role.CONTROLLING, ASKING),
        session(hosts[1], Role.CONTROLLED, ASKING),
    )
    await both.connect()
    selected = both.controlling.selected_pair
    assert selected is not None
    assert selected.remote.address.host == "192.168.1.3"
    await both.close()


@virtual_time
async def test_a_path_through_nats_outlives_their_timeouts() -> None:
    """Consent checks keep a mapping of 30 s alive."""
    world = World(1)
    stun_server(world, STUN)
    nat = NatBehaviour(lifetime=30.0)
    async with pair((nat, nat), ASKING, world=world) as both:
        await both.connect()
        await asyncio.sleep(3600)
        both.controlling.send(b"an hour later")
        assert await both.controlled.receive() == b"an hour later"


@pytest.mark.parametrize("hairpin", list(Hairpin))
@virtual_time
async def test_two_homes_behind_one_carrier_need_its_hairpin(hairpin: Hairpin) -> None:
    """And with the external source (RFC 4787 REQ-9): the homes' filters do not know the internal one."""
    world = World(1)
    stun_server(world, STUN)
    carrier = world.nat(NatBehaviour(hairpin=hairpin), "198.51.100.1", name="carrier")
    hosts = []
    for index in (2, 3):
        box = world.nat(NatBehaviour.port_restricted_cone(), f"100.64.0.{index}", outside=carrier.inside)
        hosts.append(world.host(f"h{index}", box.inside, f"192.168.{index}.2", link=WIRE))
    both = Pair(
        world,
        (hosts[0], hosts[1]),
        session(hosts[0], Role.CONTROLLING, ASKING),
        session(hosts[1], Role.CONTROLLED, ASKING),
    )
    if hairpin is not Hairpin.EXTERNAL_SOURCE:
        with pytest.raises(NoPathError):
            await both.connect()
    else:
        await both.connect()
        both.controlling.send(b"round the corner")
        assert await both.controlled.receive() == b"round the corner"
    await both.close()
