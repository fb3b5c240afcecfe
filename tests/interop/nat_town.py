"""Many hosts behind NATs of the kernel, each in network namespaces of its own, around one street with a server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.simulation import NatBehaviour

__all__ = ["MOST_SITES", "SERVER", "Site", "SiteKind", "Town", "town"]

SERVER = "203.0.113.1"
MOST_SITES = 250

# The router's own input is dropped, so that early packets leave no sessions of the router itself behind.
_RULES = """table ip nat {{ chain post {{ type nat hook postrouting priority 100; oifname out {masquerade}; }}; }}
table ip filter {{
  chain input {{ type filter hook input priority 0; iifname out drop; }}
  chain forward {{ type filter hook forward priority 0; {forward} }}
}}
"""
_PLAIN = _RULES.format(masquerade="masquerade", forward="")
_RANDOM = _RULES.format(masquerade="masquerade random,fully-random", forward="")
_BLOCKED = _RULES.format(masquerade="masquerade", forward="meta l4proto udp drop;")


@dataclass(frozen=True)
class SiteKind:
    """What stands between a host and the street: rules for nftables from the host outwards, and what the oracle hears
    of them."""

    name: str
    routers: tuple[str, ...] = ()
    nats: tuple[NatBehaviour, ...] = ()

    @classmethod
    def all(cls) -> tuple[SiteKind, ...]:
        """Every kind that there is."""
        plain, random = NatBehaviour.linux_masquerade(), NatBehaviour.linux_masquerade_random()
        return (
            cls("open"),
            cls("masquerade", (_PLAIN,), (plain,)),
            cls("random masquerade", (_RANDOM,), (random,)),
            cls("UDP blocked", (_BLOCKED,), (replace(plain, udp_blocked=True),)),
            cls("double NAT", (_PLAIN, _PLAIN), (plain, plain)),
        )


@dataclass(frozen=True, slots=True)
class Site:
    """One host and the NATs around it."""

    kind: SiteKind
    namespace: str
    host: str
    """The host's own address."""


@dataclass(frozen=True, slots=True)
class Town:
    """The sites in the order in which they were asked for, and the namespace of the street's server."""

    sites: tuple[Site, ...]
    server: str
    """The namespace where :data:`SERVER` is."""


@contextmanager
def town(ip: Path, nft: Path, kinds: Sequence[SiteKind]) -> Iterator[Town]:
    """Build one site a kind, and take everything down at the end."""
    assert len(kinds) <= MOST_SITES
    builder = _Builder(ip, nft)
    try:
        builder.make(builder.server, ["link add br0 type bridge", f"addr add {SERVER}/24 dev br0", "link set br0 up"])
        with ThreadPoolExecutor(4) as pool:
            sites = tuple(pool.map(builder.site, range(1, len(kinds) + 1), kinds))
        yield Town(sites, builder.server)
    finally:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(builder.remove, builder.made))


class _Builder:
    def __init__(self, ip: Path, nft: Path) -> None:
        self._ip, self._nft = ip, nft
        self._prefix = f"lr-town-{os.getpid()}"
        self.server = f"{self._prefix}-s"
        self.made: list[str] = []

    def site(self, number: int, kind: SiteKind) -> Site:
        """Build a site: its routers from the street inwards, then the host."""
        outer, beyond, port = f"203.0.113.{1 + number}", self.server, f"site{number}"
        for depth, rules in reversed(list(enumerate(kind.routers))):
            name = f"{self._prefix}-{number}r{depth}"
            self._plug(name, beyond, port, outer)
            script = f"echo 1 > /proc/sys/net/ipv4/ip_forward && exec {self._nft} -f -"
            self._run("netns", "exec", name, "sh", "-c", script, text=rules)
            outer, beyond, port = f"10.{number}.{depth}.2", name, "in"
        host = f"{self._prefix}-{number}h"
        self._plug(host, beyond, port, outer)
        return Site(kind, host, outer)

    def _plug(self, name: str, beyond: str, port: str, address: str) -> None:
        """Make a namespace with a cable from its ``out`` to ``port`` of the street, or of the router ``beyond`` it."""
        gateway = f"{address.rpartition('.')[0]}.1"
        on_street = beyond == self.server
        self.make(
            name,
            [
                f"link add out type veth peer name {port} netns {beyond}",
                f"addr add {address}/24 dev out",
                "link set out up",
                *([] if on_street else [f"route add default via {gateway}"]),
            ],
        )
        there = [f"link set {port} master br0 up"]
        if not on_street:
            there = [f"addr add {gateway}/24 dev {port}", f"link set {port} up"]
        self._run("-n", beyond, "-batch", "-", text="\n".join(there))

    def make(self, name: str, commands: list[str]) -> None:
        """Make a namespace and run these commands of ip there."""
        self.made.append(name)
        self._run("netns", "add", name)
        self._run("-n", name, "-batch", "-", text="\n".join(["link set lo up", *commands]))

    def remove(self, name: str) -> None:
        """Remove a namespace with all that is in it."""
        subprocess.run([str(self._ip), "netns", "del", name], check=False, capture_output=True)

    def _run(self, *arguments: str, text: str | None = None) -> None:
        done = subprocess.run([str(self._ip), *arguments], input=text, text=True, capture_output=True, check=False)
        assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr or done.stdout}\n{text or ''}"
