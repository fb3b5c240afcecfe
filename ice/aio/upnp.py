"""UPnP IGD: what the router is asked over HTTP, with the library ``async-upnp-client`` where it is installed.

The router is searched for by multicast and may name any address as its own; only one that answers from the default
gateway, or whose description is on the host that answered, is talked to, and nothing but that host.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ice.candidate import Base
from ice.portmap import ssdp
from ice.portmap.config import PortmapConfig
from ice.portmap.probe import PortMapper as Found
from ice.portmap.probe import PortmapProbe, ProbeConfig, ProbeFinished
from ice.portmap.protocol import PortMapperProtocol
from stun.address import TransportAddress
from stun.aio.driver import Driver
from stun.network import Network

if TYPE_CHECKING:
    from ice.aio.upnp_service import WanService

__all__ = ["UpnpError", "UpnpGateway", "is_installed"]

logger = logging.getLogger("ice")

_ONLY_PERMANENT = 725
_CONFLICT = 718
_PORTS_TO_TRY = 5


class UpnpError(OSError):
    """The router does not map."""


def is_installed() -> bool:
    """Whether the library is there (``pip install lastresort[upnp]``)."""
    return find_spec("async_upnp_client") is not None


class UpnpGateway:
    """The router of one network, found when it is first needed."""

    group = ssdp.GROUP
    """Where searches go."""

    def __init__(self, config: PortmapConfig, local_host: str, gateway: str, network: Network) -> None:
        self._config = config
        self._local_host = local_host
        self._gateway = gateway
        self._network = network
        self._finding: asyncio.Task[WanService] | None = None

    async def map(self, base: Base, suggested: int, lifetime: int) -> tuple[TransportAddress, int]:
        """Map ``base`` and return the outer address and the lifetime in seconds, 0 for a mapping without end.

        Raises:
            UpnpError: there is no such router, or it refuses.
        """
        service = await self._service()
        external = await service.call("GetExternalIPAddress")
        try:
            host = str(ipaddress.IPv4Address(str(external.get("NewExternalIPAddress") or "")))
        except ValueError:
            raise UpnpError("it has no outer address") from None
        port, granted = await self._add(service, base, suggested, lifetime)
        return TransportAddress(host, port), granted

    async def _add(self, service: WanService, base: Base, suggested: int, lifetime: int) -> tuple[int, int]:
        """Add a mapping at the suggested port or, where that is somebody's, at another one.

        Not by AddAnyPortMapping of version 2: routers describe its answer otherwise than they give it.
        """
        port, granted = suggested, lifetime
        for attempt in range(_PORTS_TO_TRY):
            try:
                await self._request(service, base, port, granted)
            except UpnpError as error:
                if error.errno == _ONLY_PERMANENT and granted:
                    granted = 0
                elif error.errno == _CONFLICT and attempt + 1 < _PORTS_TO_TRY:
                    port = 1024 + (port + 7919 - 1024) % (65536 - 1024)
                else:
                    raise
            else:
                return port, granted
        raise UpnpError("every outer port that was tried is somebody's")

    async def _request(self, service: WanService, base: Base, port: int, lifetime: int) -> None:
        await service.call(
            "AddPortMapping",
            NewRemoteHost="",
            NewExternalPort=port,
            NewProtocol=base.protocol.value.upper(),
            NewInternalPort=base.address.port,
            NewInternalClient=base.address.host,
            NewEnabled=True,
            NewPortMappingDescription=self._config.description,
            NewLeaseDuration=lifetime,
        )

    async def unmap(self, base: Base, port: int) -> None:
        """Delete a mapping.

        Raises:
            UpnpError: it is not there, or the router is gone.
        """
        service = await self._service()
        protocol = base.protocol.value.upper()
        await service.call("DeletePortMapping", NewRemoteHost="", NewExternalPort=port, NewProtocol=protocol)

    async def _service(self) -> WanService:
        if self._finding is None or (self._finding.done() and self._finding.exception() is not None):
            self._finding = asyncio.create_task(self._find(), name="ice: find UPnP")
        return await asyncio.shield(self._finding)

    async def _find(self) -> WanService:
        found = await self._search()
        host = urlsplit(found.location or "").hostname
        if host != found.gateway.host:
            raise UpnpError(f"a router at {found.gateway.host} has its description elsewhere")
        # The libraries are loaded in a thread: it takes long, and few networks have such a router.
        wan_service = await asyncio.to_thread(_wan_service)
        return await wan_service.of(str(found.location), host)

    async def _search(self) -> Found:
        """Return the router: the first that answers from the gateway, else the first that answers."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        found: list[Found] = []

        def on_event(event: Found | ProbeFinished) -> None:
            if isinstance(event, Found) and event.protocol is PortMapperProtocol.UPNP_IGD:
                found.append(event)
            if not over.done() and (isinstance(event, ProbeFinished) or event.gateway.host == self._gateway):
                over.set_result(None)

        driver: Driver[Found | ProbeFinished] = Driver(PortmapProbe(ProbeConfig(sends=2)), self._network, on_event)
        try:
            local = await driver.bind(TransportAddress(self._local_host, 0))
            driver.machine.search(local, loop.time(), self.group)  # type: ignore[attr-defined]
            driver.pump()
            await over
        finally:
            driver.close()
        found.sort(key=lambda each: each.gateway.host != self._gateway)
        if not found:
            raise UpnpError("no router answers")
        return found[0]

    async def close(self) -> None:
        """Stop looking."""
        if self._finding is not None:
            self._finding.cancel()
            await asyncio.gather(self._finding, return_exceptions=True)


def _wan_service() -> type[WanService]:
    try:
        from ice.aio.upnp_service import WanService
    except ImportError as error:
        raise UpnpError(f"the library async-upnp-client cannot be used: {error}") from error
    return WanService
