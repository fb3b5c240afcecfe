"""Behaviour discovery on real sockets of this machine, and on a simulated network with virtual time."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from stun.address import TransportAddress
from stun.aio import BehaviourServing, examine_nat, examine_tcp_mapping, serve
from stun.behaviour import Filtering, Mapping, NatTest
from stun.behaviour_client import ALL_TESTS
from stun.config import BehaviourClientConfig, TransactionConfig
from tests.ports import silent_port
from tests.simulation import LinkProfile, World
from tests.simulation.loop import virtual_time
from tests.simulation.nat_behaviour import NatBehaviour
from tests.stun.nats import OTHER, PRIMARY, add_server

ROOT = Path(__file__).resolve().parent.parent.parent.parent
FAST = BehaviourClientConfig(transaction=TransactionConfig(initial_rto=0.1, sends=3, last_wait=3.0), spacing=0.0)
TWO = BehaviourServing(other_hosts=["127.0.0.2"], port=0)


async def test_nothing_stands_between_loopback_addresses() -> None:
    async with await serve(["127.0.0.1"], 0, behaviour=TWO) as server:
        report = await examine_nat(server.udp[0], config=FAST)
        assert (report.translated, report.mapping) == (False, Mapping.ENDPOINT_INDEPENDENT)
        assert report.filtering is Filtering.ENDPOINT_INDEPENDENT
        assert report.fragments is True
        assert report.local.host == "127.0.0.1"
        assert report.other_address is not None
        assert report.other_address.host == "127.0.0.2"
        assert [test for test, _ in report.untold] == [NatTest.HAIRPIN]
        mapping, found = await examine_tcp_mapping(server.tcp[0])
        assert mapping is Mapping.ENDPOINT_INDEPENDENT
        assert len(found) == 2
        assert len({answer.path.local for answer in found}) == 1
        assert {answer.path.remote.host for answer in found} == {"127.0.0.1", "127.0.0.2"}


async def test_a_server_with_one_address() -> None:
    async with await serve(["127.0.0.1"], 0, behaviour=BehaviourServing(port=0)) as server:
        report = await examine_nat(server.udp[0], config=FAST)
        assert (report.mapping, report.filtering, report.other_address) == (None, None, None)
        assert {test for test, _ in report.untold} >= {NatTest.MAPPING, NatTest.FILTERING}
        assert (await examine_tcp_mapping(server.tcp[0]))[0] is None


async def test_a_server_with_two_ports() -> None:
    only_ports = BehaviourServing(port=0, only_ports=True)
    async with await serve(["127.0.0.1", "::1"], 0, behaviour=only_ports) as server:
        assert len(server.udp) == len(server.tcp) == 4
        for address in server.udp[:2]:
            report = await examine_nat(address, config=FAST)
            assert report.filtering is Filtering.NOT_PORT_DEPENDENT
            assert report.other_address is not None
            assert report.other_address.host == address.host


async def test_a_server_that_is_not_there() -> None:
    with silent_port() as address:
        report = await examine_nat(address, config=FAST)
        assert report.mapped is None
        with pytest.raises(OSError, match=r"refused|failed"):
            await examine_tcp_mapping(address)


@virtual_time
async def test_everything_in_virtual_time() -> None:
    world = World()
    loop = asyncio.get_running_loop()
    world.use_loop(loop)
    server = add_server(world)
    nat = world.nat(replace(NatBehaviour.port_restricted_cone(), lifetime=45.0), "203.0.113.9")
    network = world.host("client", nat.inside, "10.0.0.2", link=LinkProfile(latency=0.03)).network()
    report = await examine_nat(PRIMARY, network=network, local_host="10.0.0.2", tests=ALL_TESTS)
    assert (report.mapping, report.filtering) == (Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
    assert report.lifetime is not None
    assert report.lifetime.alive <= 45.0 <= (report.lifetime.dead or 0) + 0.1
    assert report.other_address == OTHER
    assert server.machine.stats.limited == 0
    assert 600 < loop.time() < 900


async def test_the_command_serves_two_addresses() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "stun", "serve", "--host", "127.0.0.1", "--port", "0", "--json"),
        *("--other-host", "127.0.0.3", "--other-port", "0"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = json.loads(await process.stdout.readline())
    assert len(said["udp"]) == len(said["tcp"]) == 4
    host, _, port = said["udp"][0].rpartition(":")
    report = await examine_nat(TransportAddress(host, int(port)), tests=frozenset({NatTest.MAPPING}))
    assert report.mapping is Mapping.ENDPOINT_INDEPENDENT
    process.terminate()
    assert await process.wait() == 0
