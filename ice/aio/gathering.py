"""Gathering's asyncio half: which sockets to bind, and the names of STUN servers, all asked at once."""

from __future__ import annotations

import asyncio
import logging
import random
import re
from collections.abc import Sequence
from functools import partial

from ice.agent import Agent
from ice.aio.binding import bind_in_range, hosts_to_bind, listen_in_range
from ice.aio.driver import AgentDriver
from ice.aio.flag import Flag
from ice.aio.relays import find_relays
from ice.aio.route import Route
from ice.candidate import TcpType
from ice.config import IceConfig
from stun.address import TransportAddress
from stun.aio.resolve import locate
from stun.errors import StunUriError
from stun.network import Network
from stun.uri import Scheme, ServerUri

__all__ = ["Gatherer", "stun_servers"]

_SCHEME = re.compile(r"(stuns?|turns?):(?!\d+$)", re.IGNORECASE)

logger = logging.getLogger("ice")


class Gatherer:
    """One session's gathering, up to the point where the agent can finish alone, and its bases after that.

    Args:
        agent: whose candidates are gathered.
        config: the settings.
        servers: the STUN servers to be asked.
        network: where they are looked up, and what interfaces there are.
        rng: randomness.
        driver: where bases are bound.
        route: the way of data, which must not use a base that is gone.
    """

    __slots__ = ("_agent", "_answered", "_config", "_driver", "_network", "_rng", "_route", "_servers")

    def __init__(
        self,
        agent: Agent,
        config: IceConfig,
        servers: Sequence[ServerUri],
        network: Network,
        rng: random.Random,
        driver: AgentDriver,
        route: Route,
    ) -> None:
        self._agent = agent
        self._servers = servers
        self._rng = rng
        self._config = config
        self._network = network
        self._driver = driver
        self._route = route
        self._answered = Flag() if servers else None

    def note_answer(self) -> None:
        """A server has answered: names that have not resolved yet only get ``gathering_grace`` from now on."""
        if self._answered is not None:
            self._answered.set()

    async def run(self) -> None:
        """Bind the bases, let host candidates out, then ask every server as soon as its name is known."""
        loop = asyncio.get_running_loop()
        directly = not self._config.relays_only
        if directly:
            hosts = await self.hosts()
            await self._bind_all(hosts)
            self._listen_all(hosts)
        self._agent.begin_gathering(loop.time())
        self._driver.pump()
        async with asyncio.TaskGroup() as group:
            if self._answered is not None and directly:
                group.create_task(self._resolve_all(self._answered), name="ice: find STUN servers")
            if self._config.turn_servers:
                relays = find_relays(self._agent, self._config, self._network, self._rng, self._driver.pump)
                group.create_task(relays, name="ice: find TURN servers")
            if self._config.portmap.enabled and directly:
                group.create_task(self._driver.map_ports(self._config, self._rng), name="ice: map ports")
        self._agent.end_of_stun_servers(loop.time())
        self._driver.pump()

    async def hosts(self) -> Sequence[str]:
        """Return the addresses of the machine that are to be bases, as of now."""
        return [] if self._config.relays_only else await hosts_to_bind(self._network, self._config)

    async def add_host(self, host: str) -> None:
        """Make bases of an address that has appeared.

        Raises:
            OSError: no socket can be bound to it, or not yet.
        """
        await bind_in_range(self._driver.bind_base, host, self._config, self._rng)
        self._listen_all([host])
        self._driver.pump()

    def bound(self) -> Sequence[TransportAddress]:
        """Return the bases over UDP."""
        return self._driver.bases()

    def drop(self, base: TransportAddress) -> None:
        """The address of a base is gone."""
        self._route.cut(base)
        self._driver.unbind_base(base)

    async def _bind_all(self, hosts: Sequence[str]) -> None:
        for host in hosts:
            try:
                await bind_in_range(self._driver.bind_base, host, self._config, self._rng)
            except OSError as error:  # An address may vanish, or not be usable yet.
                logger.debug("no socket on %s: %s", host, error)

    def _listen_all(self, hosts: Sequence[str]) -> None:
        if not self._driver.tcp.is_possible:
            return
        kinds = [kind for kind in TcpType if kind in self._config.tcp.candidates]
        if not self._servers and not self._config.turn_servers and TcpType.SIMULTANEOUS_OPEN in kinds:
            kinds.remove(TcpType.SIMULTANEOUS_OPEN)  # Without an address outside of a NAT it is of no use.
        for kind in kinds:
            for host in hosts:
                try:
                    listen_in_range(partial(self._driver.tcp.add_base, host, kind), self._config, self._rng)
                except OSError as error:
                    logger.debug("no %s TCP candidate on %s: %s", kind, host, error)

    async def _resolve_all(self, answered: Flag) -> None:
        tasks = [asyncio.create_task(self._resolve(server), name=f"ice: find {server}") for server in self._servers]
        patience = asyncio.create_task(self._patience(answered), name="ice: patience with resolvers")
        try:
            pending: set[asyncio.Task[None]] = set(tasks)
            while pending and not patience.done():
                _, pending = await asyncio.wait({*pending, patience}, return_when=asyncio.FIRST_COMPLETED)
                pending.discard(patience)
        finally:
            for task in (*tasks, patience):
                task.cancel()
            await asyncio.gather(*tasks, patience, return_exceptions=True)

    async def _patience(self, answered: Flag) -> None:
        try:
            async with asyncio.timeout(self._config.gathering_timeout):
                await answered.wait()
        except TimeoutError:
            return
        await asyncio.sleep(self._config.gathering_grace)

    async def _resolve(self, server: ServerUri) -> None:
        try:
            addresses = await locate(server, self._network, self._rng)
        except OSError as error:
            logger.info("STUN server %s is left out: %s", server, error)
            return
        # A server that has many addresses is still one server: one of each family, those that the resolver put first.
        for address in {address.family: address for address in reversed(addresses)}.values():
            self._agent.add_stun_server(address, asyncio.get_running_loop().time())
        self._driver.pump()


def stun_servers(config: IceConfig) -> list[ServerUri]:
    """Return what ``config.stun_servers`` names, each once.

    Raises:
        StunUriError: one of them is neither a ``stun:`` URI nor ``host[:port]``.
    """
    found = []
    for text in config.stun_servers:
        uri = ServerUri.parse(text if _SCHEME.match(text) else f"stun:{text}")
        if uri.scheme is not Scheme.STUN:
            raise StunUriError(f"{text!r}: gathering over UDP asks stun: servers only")
        found.append(uri)
    return list(dict.fromkeys(found))
