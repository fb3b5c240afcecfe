"""The HTTP server: the page's files with strict headers, and the gateway's WebSocket under the same origin."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from browser_demo.config import ServerConfig
from webrtc_bridge.gateway import Gateway

__all__ = ["PageServer"]

STATIC = Path(__file__).parent / "static"

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


class PageServer:
    """Serves the page on ``config.host``; use it as an asynchronous context manager."""

    def __init__(self, gateway: Gateway, config: ServerConfig | None = None) -> None:
        self.config = config or ServerConfig()
        self.port = self.config.port
        """The port; the real one once the server runs."""
        self._gateway = gateway
        self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=1.0)

    @property
    def url(self) -> str:
        """Where the page is, as a browser on this machine opens it."""
        address = ipaddress.ip_address(self.config.host)
        if address.is_unspecified:
            return f"http://localhost:{self.port}/"
        host = f"[{address}]" if address.version == 6 else str(address)
        return f"http://{host}:{self.port}/"

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the address cannot be bound.
        """
        await self._runner.setup()
        await web.TCPSite(self._runner, self.config.host, self.config.port).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Send the tabs away and stop. Harmless twice."""
        await self._gateway.close()
        await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def _application(self) -> web.Application:
        application = web.Application()
        application.on_response_prepare.append(_add_headers)
        application.router.add_get("/gateway", self._gateway.handle)
        application.router.add_get("/", _index)
        application.router.add_static("/", STATIC)
        return application


async def _index(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "index.html")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(HEADERS)
