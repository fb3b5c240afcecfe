"""The dialling side of WebSockets."""

from __future__ import annotations

import ssl

import aiohttp

from signalling.errors import HandshakeError
from signalling.libp2p.aio.websocket_stream import WebSocketStream
from signalling.libp2p.host_config import HostConfig

__all__ = ["open_websocket"]


async def open_websocket(url: str, tls: ssl.SSLContext | None, config: HostConfig) -> WebSocketStream:
    """Connect to ``url``; ``tls`` stands in for what the system trusts.

    Raises:
        HandshakeError: there is no WebSocket.
        OSError: it cannot be reached.
    """
    session = aiohttp.ClientSession()
    try:
        socket = await session.ws_connect(
            url,
            max_msg_size=config.max_websocket_message,
            timeout=aiohttp.ClientWSTimeout(ws_close=config.close_timeout),
            ssl=tls if tls is not None else True,
        )
    except (aiohttp.ClientError, ValueError) as error:
        await session.close()
        raise HandshakeError(f"no WebSocket at {url}: {error}") from None
    except BaseException:
        await session.close()
        raise
    return WebSocketStream(socket, session)
