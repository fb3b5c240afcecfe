"""The service of one router, asked over HTTP with the libraries ``async-upnp-client`` and ``aiohttp``.

They take a third of a second to load: :mod:`ice.aio.upnp` opens this room when there is a router to ask, in a thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from async_upnp_client.client import UpnpRequester, UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpActionError, UpnpConnectionError
from async_upnp_client.exceptions import UpnpError as LibraryError

from ice.aio.upnp import UpnpError

__all__ = ["WanService"]

_SERVICES = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
_MAX_BODY = 256 * 1024
_TIMEOUT = 5.0


class WanService:
    """The service that maps ports."""

    def __init__(self, service: UpnpService) -> None:
        """Args: ``service`` is the library's; :meth:`of` makes it."""
        self._service = service

    @classmethod
    async def of(cls, location: str, host: str) -> WanService:
        """Read the description of the router ``host`` at ``location``, and what it says of its service.

        Raises:
            UpnpError: it cannot be read, or there is no such service.
        """
        factory = UpnpFactory(_OneHost(host), non_strict=True)
        try:
            device = await factory.async_create_device(location)
        except (LibraryError, ValueError) as error:
            raise UpnpError(f"the router's description cannot be read: {error}") from None
        services = {service.service_type: service for each in device.all_devices for service in each.services.values()}
        for name in _SERVICES:
            if name in services:
                return cls(services[name])
        raise UpnpError("the router has no WAN connection service")

    async def call(self, action: str, **arguments: Any) -> Mapping[str, Any]:
        """Have the router do something, and return its answer.

        Raises:
            UpnpError: it does not; ``errno`` is its error code, if it says one.
        """
        if not self._service.has_action(action):
            raise UpnpError(f"the router does not know {action}")
        try:
            return await self._service.action(action).async_call(**arguments)
        except UpnpActionError as error:
            raise UpnpError(int(error.error_code or 0), f"{action}: {error.error_desc or error.error_code}") from None
        except (LibraryError, ValueError, KeyError) as error:
            raise UpnpError(f"{action}: {error}") from None


class _OneHost(UpnpRequester):
    """Makes the library's HTTP requests: to one host, with limits of time and size."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self._host = host

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        if urlsplit(http_request.url).hostname != self._host:
            raise UpnpConnectionError(f"the router sends us to another host than {self._host}")
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
