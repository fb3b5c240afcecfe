"""TCP on real sockets: connections that never raise on what the network does and that bound what they buffer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import cast

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.config import StreamConfig

__all__ = ["TcpConnection", "TcpListener", "address_of", "bind_listener"]

OnOpened = Callable[["TcpConnection"], None]
OnReceived = Callable[[bytes, "TcpConnection"], None]
OnGone = Callable[["TcpConnection"], None]


class TcpConnection(asyncio.Protocol):
    """One connection: bytes in by callback, bytes out by :meth:`send`."""

    protocol = TransportProtocol.TCP
    """What the path says that it runs over."""
    is_stream = True
    """As of :class:`stun.aio.link.ServerLink`."""

    def __init__(self, opened: OnOpened, received: OnReceived, gone: OnGone, config: StreamConfig) -> None:
        self.path = FiveTuple(TransportAddress("0.0.0.0", 0), TransportAddress("0.0.0.0", 0), self.protocol)
        """Both ends; valid from the first callback on."""
        self.error: Exception | None = None
        """Why the connection was lost, once it is; None for an orderly end."""
        self._opened = opened
        self._received = received
        self._gone = gone
        self._config = config
        self._transport: asyncio.Transport | None = None
        self._linger: asyncio.TimerHandle | None = None

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

    @classmethod
    async def open_from(
        cls,
        bound: socket.socket,
        remote: TransportAddress,
        opened: OnOpened,
        received: OnReceived,
        gone: OnGone,
        config: StreamConfig,
    ) -> TcpConnection:
        """Connect ``bound``, a non-blocking socket that is ours from now on, to ``remote``.

        Raises:
            OSError: as of :meth:`open`.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(config.connect_timeout):
                await loop.sock_connect(bound, remote)
                _, connection = await loop.create_connection(lambda: cls(opened, received, gone, config), sock=bound)
        except BaseException:
            bound.close()
            raise
        return connection

    def send(self, data: bytes) -> bool:
        """Queue bytes; a peer that does not read loses its connection once too many wait.

        False when they will not be sent.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        transport.write(data)
        if transport.get_write_buffer_size() > self._config.max_write_buffer:
            transport.abort()
            return False
        return True

    def offer(self, data: bytes) -> bool:
        """Queue one whole message, or drop it and return False when too much waits already.

        For relayed datagrams, which may be lost: the framing stays whole and the connection stays up.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        if transport.get_write_buffer_size() + len(data) > self._config.max_write_buffer:
            return False
        transport.write(data)
        return True

    def abort(self) -> None:
        """Close at once, and throw away what waits to be sent; harmless twice."""
        if self._transport is not None:
            self._transport.abort()

    @property
    def transport(self) -> asyncio.Transport | None:
        """asyncio's transport, for an owner that takes over the protocol's part; None once it is gone."""
        return self._transport

    @property
    def is_taken_over(self) -> bool:
        """Whether an owner took over the protocol's part, and sees what arrives in our place."""
        return self._transport is not None and self._transport.get_protocol() is not self

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent (any more)."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        """Close after what was sent, or once ``linger`` has passed if the peer does not read; harmless twice."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            self._linger = asyncio.get_running_loop().call_later(self._config.linger, transport.abort)
        transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call when the connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        ours = transport.get_extra_info("sockname")
        theirs = transport.get_extra_info("peername")
        if not ours or not theirs:  # reset before it was accepted
            self._transport.abort()
            return
        self.path = FiveTuple(address_of(ours), address_of(theirs), self.protocol)
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
        if self._linger is not None:
            self._linger.cancel()
        self.error = exc
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
        listening = bind_listener(local)
        try:
            server = await loop.create_server(
                lambda: TcpConnection(opened, received, gone, config), sock=listening, backlog=config.backlog
            )
        except BaseException:
            listening.close()
            raise
        return cls(server, address_of(listening.getsockname()))

    def close(self) -> None:
        """Stop listening; open connections stay open. Harmless twice."""
        self._server.close()


def bind_listener(local: TransportAddress) -> socket.socket:
    """Return a TCP socket bound to ``local``, not listening yet.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if local.family == 6 else socket.AF_INET
    # With the protocol named, asyncio turns Nagle off on what is accepted, too.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if local.family == 6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(local)
    except BaseException:
        bound.close()
        raise
    return bound


def address_of(sockaddr: tuple[str, int]) -> TransportAddress:
    """Return what a socket calls an address, without a zone."""
    return TransportAddress(sockaddr[0].partition("%")[0], sockaddr[1])
