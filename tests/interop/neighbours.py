"""Two hosts on one cable as network namespaces, both families and multicast included; and a peer to run in one."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import ice
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.roles import Role

__all__ = ["HOSTS", "Neighbours", "neighbours"]

HOSTS = (("10.78.0.1", "fd78::1"), ("10.78.0.2", "fd78::2"))
"""The addresses of the two."""
PORT = 7800


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The two namespaces."""

    ip: Path
    names: tuple[str, str]

    def command(self, index: int, *arguments: str) -> list[str]:
        """Return the command line that runs ``arguments`` at one of the two."""
        return [str(self.ip), "netns", "exec", self.names[index], *arguments]

    def do(self, index: int, *arguments: str) -> None:
        """Run a command to its end."""
        subprocess.run(self.command(index, *arguments), check=True, capture_output=True)

    async def start(self, index: int, *arguments: str) -> asyncio.subprocess.Process:
        """Start a command whose output is read by the caller."""
        return await asyncio.create_subprocess_exec(
            *self.command(index, *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )


@asynccontextmanager
async def neighbours(ip: Path) -> AsyncIterator[Neighbours]:
    """Lay the cable, and take everything away at the end."""
    names = (f"lr-near-{os.getpid()}-a", f"lr-near-{os.getpid()}-b")
    made = Neighbours(ip, names)
    try:
        for name in names:
            _netns(ip, "add", name)
        made.do(0, "ip", "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", names[1])
        for index, (ipv4, ipv6) in enumerate(HOSTS):
            made.do(index, "ip", "link", "set", "lo", "up")
            made.do(index, "ip", "address", "add", f"{ipv4}/24", "dev", "wan")
            made.do(index, "ip", "address", "add", f"{ipv6}/64", "dev", "wan", "nodad")
            made.do(index, "ip", "link", "set", "wan", "multicast", "on", "up")
            made.do(index, "ip", "route", "add", "224.0.0.0/4", "dev", "wan")
        yield made
    finally:
        for name in names:
            _netns(ip, "del", name)


def _netns(ip: Path, verb: str, name: str) -> None:
    subprocess.run([str(ip), "netns", verb, name], check=verb == "add", capture_output=True)


# -- the peer --


@asynccontextmanager
async def signalling(index: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A TCP connection from the second to the first."""
    arrived: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    server: asyncio.Server | None = None
    if index == 0:
        server = await asyncio.start_server(lambda *streams: arrived.set_result(streams), HOSTS[0][0], PORT)
    while index == 1 and not arrived.done():
        try:
            arrived.set_result(await asyncio.open_connection(HOSTS[0][0], PORT))
        except OSError:  # The first one is not there yet.
            await asyncio.sleep(0.05)
    reader, writer = await arrived
    try:
        yield reader, writer
    finally:
        writer.close()
        if server is not None:
            server.close()


async def peer(index: int, mode: MdnsMode, ipv6: bool, silent: bool) -> dict[str, object]:
    """Connect to the other one and say what was told and seen.

    Args:
        index: which of the two this is.
        mode: what to do with names.
        ipv6: use that family alone; IPv4 alone otherwise.
        silent: have no candidate to tell, so that all depends on the other's names.
    """
    config = ice.IceConfig(
        mdns=MdnsConfig(mode=mode),
        include_ipv4=not ipv6,
        include_ipv6=ipv6,
        announce_host_candidates=not silent,
        checking_timeout=39.5,
    )
    async with signalling(index) as (reader, writer):
        return await talk(index, config, ice.StreamExchange(reader, writer))


async def talk(index: int, config: ice.IceConfig, exchange: ice.Exchange) -> dict[str, object]:
    """Connect, greet each other, and return what was told, heard and shown."""
    told: list[str] = []

    role = (Role.CONTROLLING, Role.CONTROLLED)[index]
    async with ice.connect(exchange, role=role, config=config) as path:
        await path.send(f"hello from {index}".encode())
        heard = (await path.receive()).decode()
        pair = path.selected_pair
        assert pair is not None
        seen = [repr(pair), repr(path.stats()), repr(path.session.remote_candidates)]
        told += [candidate.to_sdp() for candidate in path.session.local_candidates]
        result = {"told": told, "heard": heard, "remote": pair.path.remote.host, "seen": " ".join(seen)}
        await asyncio.sleep(0.5)  # The other one is still to hear us.
    return result


if __name__ == "__main__":
    number, mode_word, family, voice = sys.argv[1:]
    print(json.dumps(asyncio.run(peer(int(number), MdnsMode(mode_word), family == "6", voice == "silent"))))  # noqa: T201
