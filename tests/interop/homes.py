"""Two hosts, each behind a router of its own, and a server between the routers: network namespaces of the kernel."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.interop.namespaces import Street

__all__ = ["SERVER", "two_homes"]

SERVER = "192.0.2.254"


@asynccontextmanager
async def two_homes(ip: Path, nft: Path, first: str, second: str) -> AsyncIterator[Street]:
    """Build them, with nftables rules on each router; yields a Street whose ``router`` is the second home's host.

    The hosts are 10.1.0.2 and 10.2.0.2, the routers are 192.0.2.1 and 198.51.100.1 outside, and the server between them
    is one hop more for what goes from one to the other.
    """
    names = [f"lr-homes-{os.getpid()}-{part}" for part in ("h1", "h2", "r1", "r2", "s")]
    hosts, routers, server = names[0:2], names[2:4], names[4]
    made = Street(ip, hosts[0], hosts[1], server)
    try:
        for name in names:
            _netns(ip, "add", name)
            made.do(name, "ip", "link", "set", "lo", "up")
        for number, network in enumerate(("192.0.2", "198.51.100")):
            host, router, inside, port = hosts[number], routers[number], f"10.{number + 1}.0", f"p{number}"
            _up(made, host, "wan", f"{inside}.2", "type", "veth", "peer", "name", "in", "netns", router)
            _up(made, router, "in", f"{inside}.1")
            _up(made, router, "out", f"{network}.1", "type", "veth", "peer", "name", port, "netns", server)
            _up(made, server, port, f"{network}.254")
            made.do(host, "ip", "route", "add", "default", "via", f"{inside}.1")
            made.do(router, "ip", "route", "add", "default", "via", f"{network}.254")
            made.do(router, str(nft), "-f", "-", text=(first, second)[number])
        for name in (*routers, server):
            made.do(name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        yield made
    finally:
        for name in names:
            _netns(ip, "del", name)


def _netns(ip: Path, verb: str, name: str) -> None:
    subprocess.run([str(ip), "netns", verb, name], check=verb == "add", capture_output=True)


def _up(made: Street, namespace: str, device: str, address: str, *kind: str) -> None:
    if kind:
        made.do(namespace, "ip", "link", "add", device, *kind)
    made.do(namespace, "ip", "address", "add", f"{address}/24", "dev", device)
    made.do(namespace, "ip", "link", "set", device, "up")
