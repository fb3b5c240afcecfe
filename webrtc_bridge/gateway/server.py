"""The WebSocket endpoint: who may connect, how many, and their end."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web

from signalling.libp2p.multiaddr import Multiaddr
from webrtc_bridge.gateway.config import GatewayConfig
from webrtc_bridge.gateway.tab import PresenceFactory, Tab, browser_presence

__all__ = ["Gateway", "serve"]

logger = logging.getLogger("webrtc_bridge")

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class Gateway:
    """An aiohttp handler for the pages' WebSockets: ``app.router.add_get("/gateway", gateway.handle)``.

    ``relay`` is where the guests reserve and are found, ``/…/p2p/<relay>``. Close it before its application ends.
    """

    def __init__(
        self,
        relay: Multiaddr | str,
        config: GatewayConfig | None = None,
        *,
        presence: PresenceFactory = browser_presence,
    ) -> None:
        """Prepare.

        Raises:
            MultiaddrError: the relay's address is malformed.
            ValueError: it does not name the relay.
        """
        self.relay = Multiaddr(relay)
        if self.relay.peer_id is None:
            raise ValueError(f"{self.relay} does not name the relay with /p2p")
        self.config = config or GatewayConfig()
        self.refused: Counter[str] = Counter()
        """WebSockets that were not let in, by reason."""
        self._presence = presence
        self._tabs: dict[Tab, web.WebSocketResponse] = {}
        self._opening = 0
        self._empty = asyncio.Event()
        self._closed = False

    @property
    def tabs(self) -> int:
        """How many tabs are connected."""
        return len(self._tabs)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one WebSocket; answers 403 to foreign origins, 503 when there are too many tabs."""
        if (reason := self._refusal(request)) is not None:
            self.refused[reason] += 1
            logger.debug("gateway: refused a connection: %s", reason)
            raise web.HTTPForbidden(text=f"{reason}\n")
        if self._closed or len(self._tabs) + self._opening >= self.config.max_tabs:
            self.refused["too many tabs"] += 1
            raise web.HTTPServiceUnavailable(text="too many tabs\n", headers={"Retry-After": "10"})
        socket = web.WebSocketResponse(
            max_msg_size=self.config.max_message, heartbeat=self.config.heartbeat, timeout=2.0, compress=False
        )
        self._opening += 1
        try:
            await socket.prepare(request)
        finally:
            self._opening -= 1
        tab = Tab(socket, lambda: _cut_off(request), self.relay, self.config, self._presence)
        self._tabs[tab] = socket
        try:
            await tab.run()
        finally:
            del self._tabs[tab]
            if not self._tabs:
                self._empty.set()
        return socket

    async def close(self) -> None:
        """Send every tab away and return when their guests are gone. Harmless twice."""
        self._closed = True
        sockets = tuple(self._tabs.values())
        closing = (socket.close(code=WSCloseCode.GOING_AWAY, message=b"the gateway ends") for socket in sockets)
        await asyncio.gather(*closing, return_exceptions=True)
        while self._tabs:
            self._empty.clear()
            await self._empty.wait()

    def _refusal(self, request: web.Request) -> str | None:
        """Return why this request is not let in, or None."""
        origin = request.headers.get("Origin")
        if origin is None:
            return "no Origin: only pages may connect"
        if self.config.origins:
            return None if origin in self.config.origins else "foreign Origin"
        if origin != f"{request.scheme}://{request.host}":
            return "foreign Origin"
        # Own origin. A foreign name that resolves to us (DNS rebinding) would pass so far; an IP address cannot be one.
        return None if _is_own_name(urlsplit(origin).hostname) else "the host name is not one of the configured origins"


def _cut_off(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _is_own_name(name: str | None) -> bool:
    if name is None:
        return False
    if name in LOCAL_NAMES:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


@asynccontextmanager
async def serve(gateway: Gateway, port: int = 0, path: str = "/gateway") -> AsyncIterator[tuple[str, int]]:
    """Serve ``gateway`` alone on ``config.bind_host``, and yield the address that it listens on.

    Raises:
        OSError: the address cannot be bound.
    """
    application = web.Application()
    application.router.add_get(path, gateway.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, gateway.config.bind_host, port).start()
        address = runner.addresses[0]
        yield address[0], address[1]
    finally:
        await gateway.close()
        await runner.cleanup()
