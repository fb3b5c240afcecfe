"""ICE over TCP across NATs and firewalls that the kernel makes with nftables; needs root, iproute2 and nftables."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.homes import SERVER, two_homes
from tests.interop.namespaces import SERVER as STREET_SERVER
from tests.interop.namespaces import Street, street
from tests.interop.test_nat_kernel import BLOCKED, MASQUERADE

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

PEER = (sys.executable, "-m", "tests.interop.ice_tcp_peer")
NO_UDP = "table ip blocked { chain forward { type filter hook forward priority 0; meta l4proto udp drop; }; }\n"
# Home routers let nothing in that nobody inside has asked for. The kernel's own answer to a stray SYN would be an RST.
DROPPING = "table ip closed { chain input { type filter hook input priority 0; iifname out drop; }; }\n"
NAT = "table ip nat {{ chain post {{ type nat hook postrouting priority 100; oifname out {}; }}; }}\n"
RANDOM, PRESERVING = NAT.format("masquerade random,fully-random"), NAT.format("masquerade")


async def meet(made: Street, one: str, other: str, hub: str, *servers: str) -> list[dict[str, Any]]:
    """Run a peer in each of two namespaces; returns what each says of its path."""
    async with made.running(made.server, *PEER, "hub", hub, "9000") as ready:
        assert ready == "ready\n"
        outcomes = await asyncio.gather(
            made.run(one, *PEER, "controlling", hub, "9000", *servers, timeout=90),
            made.run(other, *PEER, "controlled", hub, "9000", *servers, timeout=90),
        )
    for status, _, err in outcomes:
        assert status == 0, err
    return [json.loads(out) for _, out, _ in outcomes]


@pytest.mark.parametrize(("rules", "transport"), [(MASQUERADE, "udp"), (BLOCKED, "tcp")], ids=["open", "UDP blocked"])
async def test_a_client_behind_a_nat_reaches_a_server_over_udp_or_else_over_tcp(
    network_namespaces: Path, nftables: Path, rules: str, transport: str
) -> None:
    async with street(network_namespaces, nftables, rules) as made:
        ours, theirs = await meet(made, made.client, made.server, STREET_SERVER)
    assert ours["transport"] == theirs["transport"] == transport
    assert ours["received"] == theirs["received"] == 10
    assert ours["seconds"] < 8.0, "and that has the start of the other process in it"
    if transport == "tcp":
        assert (ours["kind"], theirs["kind"]) == ("active", "passive")


async def test_two_homes_without_udp_open_one_connection_simultaneously(
    network_namespaces: Path, nftables: Path
) -> None:
    rules = PRESERVING + NO_UDP + DROPPING
    async with two_homes(network_namespaces, nftables, rules, rules) as made:
        serve = (sys.executable, "-m", "stun", "serve", "--host", SERVER, "--json")
        async with made.running(made.server, *serve):
            ours, theirs = await meet(made, made.client, made.router, SERVER, SERVER)
    assert ours["transport"] == theirs["transport"] == "tcp"
    assert ours["kind"] == theirs["kind"] == "so"
    assert ours["local"] == theirs["remote"]
    assert ours["remote"] == theirs["local"]
    assert ours["seconds"] < 15.0


async def test_one_home_with_random_ports_is_no_hindrance_if_the_other_end_is_open(
    network_namespaces: Path, nftables: Path
) -> None:
    async with street(network_namespaces, nftables, RANDOM + NO_UDP + DROPPING) as made:
        ours, theirs = await meet(made, made.client, made.server, STREET_SERVER)
    assert (ours["kind"], theirs["kind"]) == ("active", "passive")
