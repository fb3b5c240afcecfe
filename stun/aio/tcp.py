"""TCP on real sockets: connections that never raise on what the network does and that bound what they buffer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.config import StreamConfig

__all__ = ["TcpConnection", "TcpListener"]

OnOpened = Callable[["TcpConnection"], None]
OnReceived = Callable[[bytes, "TcpConnection"], None]
OnGone = Callable[["TcpConnection"], None]


class TcpConnection(asyncio.Protocol):
    """One connection: bytes in by callback, bytes out by :meth:`send`."""

    def __init__(self, opened: OnOpened, received: OnReceived, gone: OnGone, config: StreamConfig) -> None:
        self.path = FiveTuple(TransportAddress("0.0.0.0", 0), TransportAddress("0.0.0.0", 0), TransportProtocol.TCP)
        """Both ends; valid from the first callback on."""
        self._opened = opened
        self._received = received
        self._gone = gone
        self._config = config
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls,
        remote: TransportAddress,
        opened: OnOpened,
        received: OnReceived,
        gone: OnGone,
        config: StreamConfig,
        local: TransportAddress | None = None,
    ) -> TcpConnection:
        """Connect to ``remote``.

        Raises:
            OSError: it cannot be opened (a TimeoutError after ``config.connect_timeout``).
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(config.connect_timeout):
            _, connection = await loop.create_connection(
                lambda: cls(opened, received, gone, config), remote.host, remote.port, local_addr=local
            )
        return connection

    def send(self, data: bytes) -> None:
        """Queue bytes; a peer that does not read loses its connection once too many wait."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(data)
        if transport.get_write_buffer_size() > self._config.max_write_buffer:
            transport.abort()

    def close(self) -> None:
        """Close after what was sent; harmless twice."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call when the connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        ours = transport.get_extra_info("sockname")
        theirs = transport.get_extra_info("peername")
        if not ours or not theirs:  # reset before it was accepted
            self._transport.abort()
            return
        self.path = FiveTuple(_address(ours), _address(theirs), TransportProtocol.TCP)
        self._opened(self)

    def data_received(self, data: bytes) -> None:
        """asyncio's call for bytes."""
        self._received(data, self)

    def eof_received(self) -> bool:
        """asyncio's call when the peer will send no more; we may still answer, so keep our half open."""
        self._received(b"", self)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call when the connection is gone."""
        self._transport = None
        self._gone(self)


class TcpListener:
    """Accepts connections on one address."""

    def __init__(self, server: asyncio.Server, local: TransportAddress) -> None:
        self._server = server
        self.local = local
        """The address it listens on; the port is the real one."""

    @classmethod
    async def open(
        cls, local: TransportAddress, opened: OnOpened, received: OnReceived, gone: OnGone, config: StreamConfig
    ) -> TcpListener:
        """Listen on ``local`` (port 0 picks one); an IPv6 listener takes IPv6 only.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        listening = socket.socket(socket.AF_INET6 if local.family == 6 else socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if local.family == 6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind(local)
            server = await loop.create_server(
                lambda: TcpConnection(opened, received, gone, config), sock=listening, backlog=config.backlog
            )
        except BaseException:
            listening.close()
            raise
        return cls(server, _address(listening.getsockname()))

    def close(self) -> None:
        """Stop listening; open connections stay open. Harmless twice."""
        self._server.close()


def _address(sockaddr: tuple[str, int]) -> TransportAddress:
    return TransportAddress(sockaddr[0].partition("%")[0], sockaddr[1])
