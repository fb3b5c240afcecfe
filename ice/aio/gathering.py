"""Gathering's asyncio half: which sockets to bind, and the names of STUN servers, all asked at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from ice.agent import Agent
from ice.config import IceConfig
from ice.interfaces import usable_addresses
from stun.address import TransportAddress
from stun.network import Network

__all__ = ["Gatherer"]

logger = logging.getLogger("ice")

Bind = Callable[[TransportAddress], Awaitable[None]]
"""Binds a socket and makes it a base of the agent; raises OSError."""


class Gatherer:
    """One session's gathering, up to the point where the agent can finish alone."""

    def __init__(self, agent: Agent, config: IceConfig, network: Network, bind: Bind, pump: Callable[[], None]) -> None:
        self._agent = agent
        self._config = config
        self._network = network
        self._bind = bind
        self._pump = pump
        self._answered = asyncio.Event()

    def note_answer(self) -> None:
        """A server has answered: names that have not resolved yet only get ``gathering_grace`` from now on."""
        self._answered.set()

    async def run(self) -> None:
        """Bind the bases, let host candidates out, then ask every server as soon as its name is known."""
        loop = asyncio.get_running_loop()
        await self._bind_all()
        servers = tuple(dict.fromkeys(self._config.stun_servers))
        self._agent.begin_gathering(loop.time())
        self._pump()
        if servers:
            await self._resolve_all(servers)
        self._agent.end_of_stun_servers(loop.time())
        self._pump()

    def _hosts(self) -> Sequence[str]:
        interfaces = self._network.interfaces()
        with_loopback = replace(self._config, include_loopback=True)
        # A machine that has nothing but loopback still reaches its own processes.
        return usable_addresses(interfaces, self._config) or usable_addresses(interfaces, with_loopback)

    async def _bind_all(self) -> None:
        for host in self._hosts():
            try:
                await self._bind(TransportAddress(host, 0))
            except OSError as error:  # An address may vanish, or not be usable yet.
                logger.debug("no socket on %s: %s", host, error)

    async def _resolve_all(self, servers: Sequence[str]) -> None:
        tasks = [asyncio.create_task(self._resolve(server), name=f"ice: resolve {server}") for server in servers]
        patience = asyncio.create_task(self._patience(), name="ice: patience with resolvers")
        try:
            pending: set[asyncio.Task[None]] = set(tasks)
            while pending and not patience.done():
                _, pending = await asyncio.wait({*pending, patience}, return_when=asyncio.FIRST_COMPLETED)
                pending.discard(patience)
        finally:
            for task in (*tasks, patience):
                task.cancel()
            await asyncio.gather(*tasks, patience, return_exceptions=True)

    async def _patience(self) -> None:
        try:
            async with asyncio.timeout(self._config.gathering_timeout):
                await self._answered.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._config.gathering_grace)

    async def _resolve(self, server: str) -> None:
        try:
            host, port = _host_and_port(server)
            addresses = await self._network.resolve(host, port)
        except (OSError, ValueError) as error:
            logger.info("STUN server %s is left out: %s", server, error)
            return
        for address in addresses:
            self._agent.add_stun_server(address, asyncio.get_running_loop().time())
        self._pump()


def _host_and_port(server: str) -> tuple[str, int]:
    """Return what ``stun:host[:port]`` or ``host[:port]`` names; an IPv6 literal with a port is in brackets.

    Raises:
        ValueError: the text is neither.
    """
    text = server.removeprefix("stun:")
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
    elif text.count(":") > 1:
        host, rest = text, ""
    else:
        host, colon, rest = text.partition(":")
        rest = colon + rest
    if not host or "/" in host or (rest and not (rest[0] == ":" and rest[1:].isdecimal() and int(rest[1:]) < 65536)):
        raise ValueError("not a STUN server's URI")
    return host, int(rest[1:]) if rest else 3478
