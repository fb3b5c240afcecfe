"""`lastresort nat` against NATs that the kernel makes with nftables; needs root, iproute2 and nftables."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.interop.namespaces import (
    CLIENT,
    CLIENT6,
    ROUTER,
    ROUTER_STATIC,
    SERVER,
    SERVER6,
    SERVER6_OTHER,
    SERVER_OTHER,
    street,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]

# The router's own input is dropped, so that early packets leave no sessions of the router itself behind.
CLOSED = "table ip filter { chain input { type filter hook input priority 0; iifname out drop; }; }\n"
NAT = "table ip nat {{ chain post {{ type nat hook postrouting priority 100; {} }}; {} }}\n"
MASQUERADE = NAT.format("oifname out masquerade;", "") + CLOSED
RANDOM = NAT.format("oifname out masquerade random,fully-random;", "") + CLOSED
STATIC = NAT.format(
    f"oifname out ip saddr {CLIENT} snat to {ROUTER_STATIC};",
    f"chain pre {{ type nat hook prerouting priority -100; ip daddr {ROUTER_STATIC} dnat to {CLIENT}; }};",
)
BLOCKED = (
    "table ip filter { chain forward { type filter hook forward priority 0; meta l4proto udp drop; }; }\n"
    + NAT.format("oifname out masquerade;", "")
)


async def examine(network_namespaces: Path, nftables: Path, rules: str, *options: str) -> tuple[int, dict[str, Any]]:
    async with street(network_namespaces, nftables, rules) as made:
        serve = ("--host", SERVER, "--other-host", SERVER_OTHER, "--json")
        async with made.running(made.server, sys.executable, "-m", "stun", "serve", *serve) as ready:
            assert len(json.loads(ready)["udp"]) == 4
            status, out, err = await made.run(
                made.client, *(sys.executable, "-m", "lastresort", "nat", SERVER, "--json", *options), timeout=100
            )
    assert err == ""
    found: dict[str, Any] = json.loads(out)
    return status, found


async def test_masquerade_looks_like_eim_apdf_and_keeps_ports(network_namespaces: Path, nftables: Path) -> None:
    status, found = await examine(network_namespaces, nftables, MASQUERADE)
    assert status == 0
    (udp,) = found["udp"]
    assert udp["mapped"].startswith(f"{ROUTER}:")
    assert udp["local"].startswith(f"{CLIENT}:")
    assert (udp["mapping"], udp["filtering"]) == ("endpoint-independent", "address-and-port-dependent")
    assert (udp["allocation"], udp["preserves_port"], udp["hairpin"]) == ("preserving", True, "no")
    assert (udp["fragments"], udp["rewrites_payload"]) == (True, False)
    assert found["tcp"] == {"reachable": True, "mapping": "endpoint-independent"}
    assert found["class"] == "punchable"
    assert found["peers"]["punchable"] == "punching"
    assert found["peers"]["random"] == "relay"
    assert found["port_mapping"] == []
    assert found["gateway"] == "10.77.0.1"


IGD = """ext_ifname=out
listening_ip=in
port=5000
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
system_uptime=yes
lease_file={folder}/leases
uuid=0b9e4f5c-0000-4000-8000-000000000001
upnp_table_name=igd
upnp_nat_table_name=igd
upnp_forward_chain=forward
upnp_nat_chain=pre
upnp_nat_postrouting_chain=post
allow 1024-65535 10.77.0.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
IGD_TABLE = """table inet igd {
  chain forward { type filter hook forward priority 10; }
  chain pre { type nat hook prerouting priority -90; }
  chain post { type nat hook postrouting priority 110; }
}
"""


@pytest.mark.skipif(
    shutil.which("miniupnpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None,
    reason="needs miniupnpd: install the package miniupnpd-nftables",
)
async def test_a_real_gateways_services_are_found(network_namespaces: Path, nftables: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "miniupnpd.conf"
    configuration.write_text(IGD.format(folder=tmp_path))
    program = str(shutil.which("miniupnpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"))
    async with street(network_namespaces, nftables, MASQUERADE + IGD_TABLE) as made:
        made.do(made.client, "ip", "route", "add", "224.0.0.0/4", "dev", "wan")
        options = ("-f", str(configuration), "-d", "-P", f"{tmp_path}/pid")
        async with made.running(made.router, "sh", "-c", f"exec {program} {' '.join(options)} 2>&1"):
            status, out, _ = await made.run(made.client, *(sys.executable, "-m", "lastresort", "nat", "--json"))
    assert status == 0
    found = {mapper["protocol"]: mapper for mapper in json.loads(out)["port_mapping"]}
    assert set(found) == {"PCP", "NAT-PMP", "UPnP IGD"}
    # Its outer address here is one for documentation, which it tells nobody.
    assert (found["NAT-PMP"]["external"], found["NAT-PMP"]["detail"]) == (None, "network failure")
    assert found["UPnP IGD"]["location"].startswith("http://10.77.0.1:5000/")
    assert {mapper["gateway"].partition(":")[0] for mapper in found.values()} == {"10.77.0.1"}


async def test_masquerade_with_random_ports_is_apdm_apdf(network_namespaces: Path, nftables: Path) -> None:
    status, found = await examine(network_namespaces, nftables, RANDOM, "--no-port-mapping")
    assert status == 0
    (udp,) = found["udp"]
    assert (udp["mapping"], udp["filtering"]) == ("address-and-port-dependent", "address-and-port-dependent")
    assert (udp["allocation"], udp["preserves_port"]) == ("random", False)
    assert found["tcp"]["mapping"] == "address-and-port-dependent"
    assert found["class"] == "random"


async def test_a_static_translation_is_eim_eif(network_namespaces: Path, nftables: Path) -> None:
    status, found = await examine(network_namespaces, nftables, STATIC, "--no-port-mapping")
    assert status == 0
    (udp,) = found["udp"]
    assert udp["mapped"].startswith(f"{ROUTER_STATIC}:")
    assert (udp["nat"], udp["mapping"], udp["filtering"]) == (True, "endpoint-independent", "endpoint-independent")
    assert udp["allocation"] == "preserving"
    assert found["class"] == "open"


async def test_ipv6_behind_a_firewall(network_namespaces: Path, nftables: Path) -> None:
    rules = (
        "table ip6 filter { chain forward { type filter hook forward priority 0; policy drop; "
        "ct state established,related accept; iifname in accept; }; }\n"
    )
    async with street(network_namespaces, nftables, rules) as made:
        made.add_ipv6()
        serve = ("--host", SERVER6, "--other-host", SERVER6_OTHER, "--json")
        async with made.running(made.server, sys.executable, "-m", "stun", "serve", *serve):
            nat = (sys.executable, "-m", "lastresort", "nat", f"[{SERVER6}]:3478", "--json", "--no-port-mapping")
            status, out, _ = await made.run(made.client, *nat)
    assert status == 0
    found = json.loads(out)
    (udp,) = found["udp"]
    assert (udp["nat"], udp["mapping"]) == (False, "endpoint-independent")
    assert udp["filtering"] == "address-and-port-dependent"
    assert found["ipv6"] == {"addresses": [CLIENT6], "reachable": True}
    assert found["class"] == "punchable"


async def test_blocked_udp_leaves_tcp(network_namespaces: Path, nftables: Path) -> None:
    status, found = await examine(network_namespaces, nftables, BLOCKED, "--no-port-mapping")
    assert status == 0
    (udp,) = found["udp"]
    assert udp["mapped"] is None
    assert found["tcp"]["reachable"] is True
    assert found["class"] == "blocked"
    assert set(found["peers"].values()) == {"relay"}


async def test_the_lifetime_of_the_kernels_sessions(network_namespaces: Path, nftables: Path) -> None:
    # The kernel's clock: a session that saw an answer lives for the timeout of its second state.
    rules = MASQUERADE
    async with street(network_namespaces, nftables, rules) as made:
        for name, seconds in (("udp_timeout", 4), ("udp_timeout_stream", 4)):
            made.do(made.router, "sh", "-c", f"echo {seconds} > /proc/sys/net/netfilter/nf_conntrack_{name}")
        serve = ("--host", SERVER, "--other-host", SERVER_OTHER, "--json")
        async with made.running(made.server, sys.executable, "-m", "stun", "serve", *serve):
            options = ("--lifetime", "--lifetime-limit", "15", "--no-port-mapping", "--json")
            status, out, _ = await made.run(
                made.client, *(sys.executable, "-m", "lastresort", "nat", SERVER, *options), timeout=100
            )
    assert status == 0
    lifetime = json.loads(out)["udp"][0]["lifetime"]
    assert lifetime["alive"] <= 5.5
    assert 3.5 <= lifetime["dead"] <= 15
