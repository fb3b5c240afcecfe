"""A client, a router and a server as network namespaces of the kernel, with nftables rules on the router."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Street", "street"]

CLIENT, ROUTER_INSIDE = "10.77.0.2", "10.77.0.1"
ROUTER, ROUTER_STATIC = "203.0.113.1", "203.0.113.9"
SERVER, SERVER_OTHER = "203.0.113.2", "203.0.113.3"
CLIENT6, ROUTER6_INSIDE, ROUTER6 = "2001:db8:1::2", "2001:db8:1::1", "2001:db8:2::1"
SERVER6, SERVER6_OTHER = "2001:db8:2::2", "2001:db8:2::3"


@dataclass(frozen=True, slots=True)
class Street:
    """The three namespaces; the client reaches the server through the router only."""

    ip: Path
    client: str
    router: str
    server: str

    def add_ipv6(self) -> None:
        """Give everybody IPv6 addresses, which the router translates for nobody."""
        for namespace, device, addresses in (
            (self.client, "wan", [CLIENT6]),
            (self.router, "in", [ROUTER6_INSIDE]),
            (self.router, "out", [ROUTER6]),
            (self.server, "wan", [SERVER6, SERVER6_OTHER]),
        ):
            for address in addresses:
                self.do(namespace, "ip", "address", "add", f"{address}/64", "dev", device, "nodad")
        self.do(self.client, "ip", "route", "add", "default", "via", ROUTER6_INSIDE)
        self.do(self.server, "ip", "route", "add", "2001:db8:1::/64", "via", ROUTER6)
        self.do(self.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")

    def command(self, namespace: str, *arguments: str) -> list[str]:
        """Return the command line that runs ``arguments`` in a namespace."""
        return [str(self.ip), "netns", "exec", namespace, *arguments]

    def do(self, namespace: str, *arguments: str, text: str | None = None) -> None:
        """Run a command in a namespace to its end."""
        subprocess.run(self.command(namespace, *arguments), input=text, text=True, check=True, capture_output=True)

    async def run(self, namespace: str, *arguments: str, timeout: float = 60.0) -> tuple[int, str, str]:
        """Run a command in a namespace and return its status, output and errors."""
        process = await asyncio.create_subprocess_exec(
            *self.command(namespace, *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode(), err.decode()

    @asynccontextmanager
    async def running(self, namespace: str, *arguments: str) -> AsyncIterator[str]:
        """Run a command in a namespace for a while; yields its first line of output."""
        process = await asyncio.create_subprocess_exec(
            *self.command(namespace, *arguments), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(20):
                ready = await process.stdout.readline()
            yield ready.decode()
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


@asynccontextmanager
async def street(ip: Path, nft: Path, rules: str) -> AsyncIterator[Street]:
    """Build the namespaces, load ``rules`` into the router's nftables, and take everything down at the end."""
    names = [f"lr-nat-{os.getpid()}-{part}" for part in ("c", "r", "s")]
    made = Street(ip, *names)
    try:
        for name in names:
            _netns(ip, "add", name)
            made.do(name, "ip", "link", "set", "lo", "up")
        _cable(made, made.client, made.router, "in", [f"{CLIENT}/24"], [f"{ROUTER_INSIDE}/24"])
        outer = [f"{ROUTER}/24", f"{ROUTER_STATIC}/24"]
        _cable(made, made.server, made.router, "out", [f"{SERVER}/24", f"{SERVER_OTHER}/24"], outer)
        made.do(made.client, "ip", "route", "add", "default", "via", ROUTER_INSIDE)
        made.do(made.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        made.do(made.router, str(nft), "-f", "-", text=rules)
        yield made
    finally:
        for name in names:
            _netns(ip, "del", name)


def _netns(ip: Path, verb: str, name: str) -> None:
    subprocess.run([str(ip), "netns", verb, name], check=verb == "add", capture_output=True)


def _cable(made: Street, host: str, router: str, side: str, here: list[str], there: list[str]) -> None:
    made.do(host, "ip", "link", "add", "wan", "type", "veth", "peer", "name", side, "netns", router)
    for namespace, device, addresses in ((host, "wan", here), (router, side, there)):
        for address in addresses:
            made.do(namespace, "ip", "address", "add", address, "dev", device)
        made.do(namespace, "ip", "link", "set", device, "up")
