"""UPnP IGD: what the router is asked over HTTP, with the library ``async-upnp-client`` where it is installed.

The router is searched for by multicast and may name any address as its own; only one that answers from the default
gateway, or whose description is on the host that answered, is talked to, and nothing but that host.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from ice.candidate import Base
from ice.portmap import ssdp
from ice.portmap.config import PortmapConfig
from ice.portmap.probe import PortMapper as Found
from ice.portmap.probe import PortMapperProtocol, PortmapProbe, ProbeConfig, ProbeFinished
from stun.address import TransportAddress
from stun.aio.driver import Driver
from stun.network import Network

if TYPE_CHECKING:
    from async_upnp_client.client import UpnpService

__all__ = ["UpnpError", "UpnpGateway", "is_installed"]

logger = logging.getLogger("ice")

_SERVICES = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
_MAX_BODY = 256 * 1024
_TIMEOUT = 5.0
_ONLY_PERMANENT = 725
_CONFLICT = 718
_PORTS_TO_TRY = 5


class UpnpError(OSError):
    """The router does not map."""


def is_installed() -> bool:
    """Whether the library is there (``pip install lastresort[upnp]``)."""
    try:
        import async_upnp_client  # noqa: F401
    except ImportError:
        return False
    return True


class UpnpGateway:
    """The router of one network, found when it is first needed."""

    group = ssdp.GROUP
    """Where searches go."""

    def __init__(self, config: PortmapConfig, local_host: str, gateway: str, network: Network) -> None:
        self._config = config
        self._local_host = local_host
        self._gateway = gateway
        self._network = network
        self._finding: asyncio.Task[UpnpService] | None = None

    async def map(self, base: Base, suggested: int, lifetime: int) -> tuple[TransportAddress, int]:
        """Map ``base`` and return the outer address and the lifetime in seconds, 0 for a mapping without end.

        Raises:
            UpnpError: there is no such router, or it refuses.
        """
        service = await self._service()
        external = await _call(service, "GetExternalIPAddress")
        try:
            host = str(ipaddress.IPv4Address(str(external.get("NewExternalIPAddress") or "")))
        except ValueError:
            raise UpnpError("it has no outer address") from None
        port, granted = await self._add(service, base, suggested, lifetime)
        return TransportAddress(host, port), granted

    async def _add(self, service: UpnpService, base: Base, suggested: int, lifetime: int) -> tuple[int, int]:
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

    async def _request(self, service: UpnpService, base: Base, port: int, lifetime: int) -> None:
        await _call(
            service,
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
        await _call(service, "DeletePortMapping", NewRemoteHost="", NewExternalPort=port, NewProtocol=protocol)

    async def _service(self) -> UpnpService:
        if self._finding is None or (self._finding.done() and self._finding.exception() is not None):
            self._finding = asyncio.create_task(self._find(), name="ice: find UPnP")
        return await asyncio.shield(self._finding)

    async def _find(self) -> UpnpService:
        from async_upnp_client.client_factory import UpnpFactory
        from async_upnp_client.exceptions import UpnpError as LibraryError

        found = await self._search()
        host = urlsplit(found.location or "").hostname
        if host != found.gateway.host:
            raise UpnpError(f"a router at {found.gateway.host} has its description elsewhere")
        factory = UpnpFactory(_requester(host), non_strict=True)
        try:
            device = await factory.async_create_device(str(found.location))
        except (LibraryError, ValueError) as error:
            raise UpnpError(f"the router's description cannot be read: {error}") from None
        services = {service.service_type: service for each in device.all_devices for service in each.services.values()}
        for name in _SERVICES:
            if name in services:
                return services[name]
        raise UpnpError("the router has no WAN connection service")

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


async def _call(service: UpnpService, action: str, **arguments: Any) -> Mapping[str, Any]:
    from async_upnp_client.exceptions import UpnpActionError
    from async_upnp_client.exceptions import UpnpError as LibraryError

    if not service.has_action(action):
        raise UpnpError(f"the router does not know {action}")
    try:
        return await service.action(action).async_call(**arguments)
    except UpnpActionError as error:
        raise UpnpError(int(error.error_code or 0), f"{action}: {error.error_desc or error.error_code}") from None
    except (LibraryError, ValueError, KeyError) as error:
        raise UpnpError(f"{action}: {error}") from None


def _requester(host: str) -> Any:
    """Return what makes the library's HTTP requests: to one host, with limits of time and size."""
    from async_upnp_client.client import UpnpRequester
    from async_upnp_client.const import HttpRequest, HttpResponse
    from async_upnp_client.exceptions import UpnpConnectionError

    class OneHost(UpnpRequester):
        async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
            if urlsplit(http_request.url).hostname != host:
                raise UpnpConnectionError(f"the router sends us to another host than {host}")
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
            try:
                async with (
                    aiohttp.ClientSession(timeout=timeout) as session,
                    session.request(
                        http_request.method,
                        http_request.url,
                        headers=http_request.headers,
                        data=http_request.body,
                        allow_redirects=False,
                    ) as response,
                ):
                    body = await response.content.read(_MAX_BODY + 1)
                    while len(body) <= _MAX_BODY and (more := await response.content.read(_MAX_BODY)):
                        body += more
                    headers = dict(response.headers)
            except (aiohttp.ClientError, TimeoutError) as error:
                raise UpnpConnectionError(str(error) or "no answer in time") from error
            if len(body) > _MAX_BODY:
                raise UpnpConnectionError("the router's answer is too long")
            return HttpResponse(response.status, headers, body.decode("utf-8", "replace"))

    return OneHost()
