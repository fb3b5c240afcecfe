"""A WebSocket as a raw stream: binary messages are chunks of bytes, their bounds mean nothing."""

from __future__ import annotations

import socket
from typing import Any

import aiohttp
from aiohttp import web

from signalling.errors import StreamReset
from signalling.libp2p.aio.streams import DEFAULT_READ

__all__ = ["WebSocketStream"]

_CHUNK = 64 * 1024
"""Bytes of one message that we send: what every WebSocket implementation takes."""

_ENDS = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED)


class WebSocketStream:
    """One WebSocket, of either side; a :class:`~signalling.libp2p.aio.streams.RawStream` without half-close."""

    def __init__(
        self,
        websocket: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
        session: aiohttp.ClientSession | None = None,
    ) -> None:
        """Take over ``websocket``, and the ``session`` that was opened for it."""
        self._websocket = websocket
        self._session = session
        self._rest = b""
        self.remote = _socket_name(websocket.get_extra_info("peername"))
        self.local = _socket_name(websocket.get_extra_info("sockname"))

    async def read(self, max_bytes: int = DEFAULT_READ) -> bytes:
        """Return 1 to ``max_bytes`` bytes, or ``b""`` at the end.

        Raises:
            StreamReset: the WebSocket broke, or carried something else than binary messages.
        """
        while not self._rest:
            message = await self._websocket.receive()
            if message.type is aiohttp.WSMsgType.BINARY:
                self._rest = message.data
            elif message.type in _ENDS:
                return b""
            else:
                raise StreamReset(f"the WebSocket broke: {message.type.name} {self._websocket.exception() or ''}")
        data, self._rest = self._rest[:max_bytes], self._rest[max_bytes:]
        return data

    async def write(self, data: bytes) -> None:
        """Send ``data`` in binary messages; returns when the socket took them.

        Raises:
            StreamReset: the WebSocket is closed or broke.
        """
        try:
            for start in range(0, len(data), _CHUNK):
                await self._websocket.send_bytes(data[start : start + _CHUNK])
        except (ConnectionError, aiohttp.ClientError, RuntimeError) as error:
            raise StreamReset(f"the WebSocket broke: {error}") from None

    async def close_write(self) -> None:
        """Close: a WebSocket has no half-close."""
        await self.close()

    async def close_read(self) -> None:
        """Nothing to do: what arrives is not read any more."""

    async def close(self) -> None:
        """Say good-bye and close. Harmless twice."""
        await self._websocket.close()
        await self._close_session()

    async def reset(self) -> None:
        """Close the socket at once, even while the peer does not read. Harmless twice."""
        sock = self._websocket.get_extra_info("socket")
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        if self._session is not None:
            await self._websocket.close()  # Nobody hears the good-bye, but the HTTP client wants its connection back.
        await self._close_session()

    async def _close_session(self) -> None:
        if self._session is not None:
            await self._session.close()


def _socket_name(name: Any) -> tuple[str, int] | None:
    return (str(name[0]), int(name[1])) if name else None
