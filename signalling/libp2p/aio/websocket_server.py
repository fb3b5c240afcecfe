"""The listening side of WebSockets: HTTP upgrades on one port, with a bound on what is not upgraded yet."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, cast

from aiohttp import web

from signalling.errors import SignallingError
from signalling.libp2p.aio.tcp import TurnedAway
from signalling.libp2p.aio.websocket_stream import WebSocketStream
from signalling.libp2p.host_config import HostConfig

__all__ = ["WebSocketServer"]

logger = logging.getLogger("signalling")


class _HttpLogger(logging.LoggerAdapter[logging.Logger]):
    """What the HTTP server has to say about garbage is not worth a traceback."""

    def exception(self, msg: object, *args: object, **kwargs: Any) -> None:
        self.logger.debug(msg, *args)


class WebSocketServer:
    """Serves every WebSocket that comes in with ``serve``; other requests are told so."""

    def __init__(self, serve: Callable[[WebSocketStream], Awaitable[None]], config: HostConfig) -> None:
        self._serve = serve
        self._config = config
        quiet = cast(logging.Logger, _HttpLogger(logger, {}))
        self._http = web.Server(self._handle, access_log=None, logger=quiet, lingering_time=0.0)
        self._server: asyncio.Server | None = None
        self._pending: dict[asyncio.BaseProtocol, asyncio.TimerHandle] = {}

    def names(self) -> list[tuple[str, int]]:
        """Return host and port of the listening socket; nothing once it is closed."""
        return [sock.getsockname()[:2] for sock in self._server.sockets] if self._server is not None else []

    async def start(self, sock: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Accept on ``sock``."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._make_protocol, sock=sock, ssl=tls)

    async def close(self) -> None:
        """Stop accepting; connections that were upgraded go on. Harmless twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for protocol in list(self._pending):
            self._give_up(protocol)

    def _make_protocol(self) -> asyncio.BaseProtocol:
        if len(self._pending) >= self._config.max_pending_inbound:
            return TurnedAway()
        protocol = self._http()
        loop = asyncio.get_running_loop()
        # The HTTP server itself waits for ever for the rest of a request.
        self._pending[protocol] = loop.call_later(self._config.upgrade.timeout, self._give_up, protocol)
        return protocol

    def _give_up(self, protocol: asyncio.BaseProtocol) -> None:
        """Close a connection that did not become a WebSocket."""
        self._settle(protocol)
        if isinstance(protocol, web.RequestHandler):
            protocol.force_close()

    def _settle(self, protocol: asyncio.BaseProtocol) -> None:
        timer = self._pending.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        websocket = web.WebSocketResponse(
            max_msg_size=self._config.max_websocket_message, timeout=self._config.close_timeout, compress=False
        )
        if not websocket.can_prepare(request):
            return web.Response(
                status=426, text="This port speaks libp2p over WebSocket.", headers={"Upgrade": "websocket"}
            )
        await websocket.prepare(request)
        self._settle(request.protocol)
        stream = WebSocketStream(websocket)
        try:
            await self._serve(stream)
        except SignallingError as error:
            logger.debug("inbound WebSocket: %s", error)
            await stream.reset()
        return websocket
