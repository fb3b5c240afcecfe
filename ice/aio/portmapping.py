"""Port mapping on asyncio: the sockets and the router behind the clients of :mod:`ice.portmap.client`."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

from ice.aio.portmap import default_gateway, default_gateway_ipv6
from ice.aio.upnp import UpnpGateway, is_installed
from ice.candidate import Base
from ice.portmap import pcp
from ice.portmap.client import PortmapClient
from ice.portmap.config import PortmapConfig
from ice.portmap.events import MapperEvent, PortMapped, PortMappingFailed, PortUnmapped, UpnpMap, UpnpUnmap
from ice.portmap.protocol import PortMapperProtocol
from stun.address import FiveTuple, TransportAddress
from stun.aio.driver import Driver
from stun.aio.udp import UdpNetwork
from stun.network import Network

__all__ = ["PortMapping"]

logger = logging.getLogger("ice")


class PortMapping:
    """Has the bases of one session mapped.

    Args:
        config: what and for how long.
        network: where sockets come from.
        rng: a CSPRNG.
        tell: takes the events; it is called from the loop.
    """

    def __init__(
        self, config: PortmapConfig, network: Network, rng: random.Random, tell: Callable[[MapperEvent], None]
    ) -> None:
        self._config = config
        self._network = network
        self._rng = rng
        self._tell = tell
        self._by_host: dict[str, _Client] = {}
        self._closing = False
        self.mapped: dict[Base, TransportAddress] = {}
        """What is mapped now."""
        self.failures: dict[Base, str] = {}
        """Why what is not mapped is not."""
        self._settled = asyncio.Event()
        self._ending: asyncio.Task[None] | None = None

    async def map(self, bases: list[Base]) -> None:
        """Ask for all of these, and return when each was answered, or after ``config.patience``."""
        gateways = {4: self._config.gateway, 6: self._config.gateway_ipv6}
        if isinstance(self._network, UdpNetwork):
            gateways = {4: gateways[4] or default_gateway(), 6: gateways[6] or default_gateway_ipv6()}
        loop = asyncio.get_running_loop()
        for base in bases:
            gateway = gateways[base.address.family]
            ip = base.address.ip
            # Loopback is nobody's to map, and what is link-local passes no router.
            if gateway is None or ip.is_loopback or ip.is_link_local or self._closing:
                continue
            client = await self._client(base.address.host, gateway)
            if client is not None:
                client.mapper.map(base, loop.time())
                client.pump()
        try:
            async with asyncio.timeout(self._config.patience):
                while any(client.mapper.is_asking for client in self._by_host.values()):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            logger.debug("a router has not answered yet: %s", ", ".join(filter(None, gateways.values())))

    async def _client(self, host: str, gateway: str) -> _Client | None:
        if host not in self._by_host:
            try:
                client = await _Client.open(self, host, gateway)
            except OSError as error:
                logger.info("no port of %s is mapped: %s", host, error)
                return None
            if self._closing:
                client.close()
                return None
            self._by_host[host] = client
        return self._by_host.get(host)

    def heard(self, event: MapperEvent) -> None:
        """Take an event of a client."""
        match event:
            case PortMapped(base, external):
                self.mapped[base] = external
                self.failures.pop(base, None)
            case PortUnmapped(base, _, reason) | PortMappingFailed(base, reason):
                self.mapped.pop(base, None)
                self.failures[base] = reason
        self._settled.set()
        if not self._closing:
            self._tell(event)

    def end(self) -> None:
        """The session is over: have all mappings deleted; :meth:`ended` waits for it. Harmless twice."""
        if not self._closing:
            self._closing = True
            self._settled.set()
            self._ending = asyncio.get_running_loop().create_task(self._end(), name="ice: unmap ports")

    async def _end(self) -> None:
        clients, self._by_host = list(self._by_host.values()), {}
        await asyncio.gather(*(client.end(self._config.close_timeout) for client in clients))

    async def ended(self) -> None:
        """Return when the router has confirmed it, or after ``config.close_timeout``."""
        if self._ending is not None:
            await asyncio.shield(self._ending)

    # -- for the clients --

    @property
    def config(self) -> PortmapConfig:
        """The settings."""
        return self._config

    @property
    def network(self) -> Network:
        """Where sockets come from."""
        return self._network

    @property
    def rng(self) -> random.Random:
        """Randomness."""
        return self._rng


class _Client(Driver[MapperEvent]):
    """Drives the client of one of our addresses."""

    def __init__(self, owner: PortMapping, mapper: PortmapClient, gateway: TransportAddress, upnp: UpnpGateway) -> None:
        super().__init__(mapper, owner.network, owner.heard, on_effect=self._perform)
        self.mapper = mapper
        self._gateway = gateway
        self._upnp = upnp
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()

    @classmethod
    async def open(cls, owner: PortMapping, host: str, gateway: str) -> _Client:
        """Bind a socket to ask from.

        Raises:
            OSError: it cannot be bound.
        """
        clients: list[_Client] = []

        def receive(data: bytes, remote: tuple[str, int]) -> None:
            for client in clients:
                client.received(data, TransportAddress(*remote))

        # PCP clients SHOULD ask from a port that nobody can foresee (RFC 6887 section 8.1), which port 0 gives.
        bound = await owner.network.bind(TransportAddress(host, 0), receive)
        path = FiveTuple(bound.local, TransportAddress(gateway, pcp.PORT))
        wants_upnp = PortMapperProtocol.UPNP_IGD in owner.config.protocols and isinstance(owner.network, UdpNetwork)
        mapper = PortmapClient(owner.config, path, owner.rng, upnp=wants_upnp and is_installed())
        client = cls(owner, mapper, path.remote, UpnpGateway(owner.config, host, gateway, owner.network))
        client.sockets = (bound,)
        clients.append(client)
        return client

    def received(self, data: bytes, remote: TransportAddress) -> None:
        """Take what came to the socket."""
        if remote == (self._gateway.host.partition("%")[0], self._gateway.port):
            remote = self._gateway  # Sockets report a link-local address without its zone.
        for bound in self.sockets:
            self.mapper.receive_datagram(data, FiveTuple(bound.local, remote), self._loop.time())
        self.pump()

    def pump(self) -> None:
        """As of the base; tells when the gateway has nothing of ours."""
        super().pump()
        if self.mapper.is_idle:
            self._idle.set()

    async def end(self, patience: float) -> None:
        """Delete what is mapped, and close."""
        self.mapper.close(self._loop.time())
        self.pump()
        try:
            async with asyncio.timeout(patience):
                await self._idle.wait()
        except TimeoutError:
            logger.debug("the router has not confirmed that the mappings are gone")
        self.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upnp.close()

    def _perform(self, effect: object) -> None:
        match effect:
            case UpnpMap():
                self._start(self._map(effect), "ice: UPnP mapping")
            case UpnpUnmap():
                self._start(self._unmap(effect), "ice: UPnP unmapping")

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _map(self, wanted: UpnpMap) -> None:
        try:
            external, lifetime = await self._upnp.map(wanted.base, wanted.suggested, wanted.lifetime)
        except OSError as error:
            self.mapper.upnp_failed(wanted.base, str(error.strerror or error), self._loop.time())
        else:
            self.mapper.upnp_mapped(wanted.base, external, lifetime, self._loop.time())
        self.pump()

    async def _unmap(self, wanted: UpnpUnmap) -> None:
        try:
            await self._upnp.unmap(wanted.base, wanted.external_port)
        except OSError as error:
            logger.info("a UPnP mapping was not deleted: %s", error)
        self.mapper.upnp_unmapped(wanted.base, self._loop.time())
        self.pump()
