"""The driver of a machine that also speaks over connections, on any :class:`stun.network.Network`."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.driver import Driver
from stun.aio.link import LinkOptions, ServerLink, open_link
from stun.aio.tcp import TcpConnection, TcpListener
from stun.aio.tls import serve_tls
from stun.config import ListenerConfig, StreamConfig
from stun.errors import StunLinkError
from stun.machine import Release, StreamMachine, Transmit
from stun.network import Network

if TYPE_CHECKING:
    from OpenSSL import SSL

__all__ = ["StreamDriver"]

EventT = TypeVar("EventT")


class _Connection(Protocol):
    """A TCP, TLS or DTLS connection, opened here or accepted."""

    @property
    def path(self) -> FiveTuple: ...

    def send(self, data: bytes) -> bool: ...

    def close(self) -> None: ...


class _Listener(Protocol):
    @property
    def local(self) -> TransportAddress: ...

    def close(self) -> None: ...


class StreamDriver(Driver[EventT]):
    """A driver whose machine also speaks over connections (TCP, TLS, DTLS), opened here or accepted.

    The machine is told of DTLS connections as of the others, but gets their messages as datagrams.
    """

    machine: StreamMachine[Any, EventT]

    def __init__(
        self,
        machine: StreamMachine[Any, EventT],
        network: Network,
        on_event: Callable[[EventT], None],
        *,
        on_effect: Callable[[Any], None] | None = None,
        config: StreamConfig | None = None,
    ) -> None:
        """Args: as of :class:`Driver`; ``config`` has the limits of the connections."""
        super().__init__(machine, network, on_event, on_effect=on_effect)
        self.connections: dict[FiveTuple, _Connection] = {}
        """The open connections by their paths."""
        self._config = config or StreamConfig()
        self._listeners: list[_Listener] = []

    async def listen(self, local: TransportAddress) -> TransportAddress:
        """Accept TCP connections for the machine and return the real address.

        Raises:
            OSError: the address cannot be bound.
        """
        listener = await TcpListener.open(local, self._opened, self._received, self._gone, self._config)
        self._listeners.append(listener)
        return listener.local

    async def listen_tls(
        self, local: TransportAddress, context: ssl.SSLContext, limits: ListenerConfig | None = None
    ) -> TransportAddress:
        """Accept TLS connections for the machine and return the real address.

        Raises:
            OSError: the address cannot be bound.
        """
        listener = await serve_tls(local, context, self._opened, self._received, self._gone, self._config, limits)
        self._listeners.append(listener)
        return listener.local

    async def listen_dtls(
        self, local: TransportAddress, context: SSL.Context, limits: ListenerConfig | None = None
    ) -> TransportAddress:
        """Accept DTLS connections for the machine and return the real address.

        Raises:
            OSError: the address cannot be bound.
        """
        await asyncio.to_thread(_load_dtls)
        from stun.aio.dtls_listener import serve_dtls

        listener = await serve_dtls(
            local, context, self._opened, self._received, self._gone, limits=limits, network=self.network
        )
        self._listeners.append(listener)
        return listener.local

    async def connect_link(
        self, server: TransportAddress, protocol: TransportProtocol, options: LinkOptions | None = None
    ) -> FiveTuple:
        """Open a TCP, TLS or DTLS connection for the machine and return its path; see :func:`stun.aio.link.open_link`.

        Raises:
            StunLinkError: it cannot be opened, or the server's certificate is not trusted.
        """
        links: list[ServerLink] = []
        ends: list[Exception | None] = []

        def received(data: bytes) -> None:
            if links:
                self._received(data, links[0])

        def closed(error: Exception | None) -> None:
            ends.append(error)
            if links:
                self._gone(links[0])

        link = await open_link(server, protocol, receiver=received, closed=closed, options=options)
        if ends or self._closed:
            link.close()
            raise StunLinkError(str(link.path), "closed at once")
        links.append(link)
        self._opened(link)
        return link.path

    async def connect(self, remote: TransportAddress, local: TransportAddress | None = None) -> FiveTuple:
        """Open a TCP connection for the machine and return its path.

        Raises:
            OSError: it cannot be opened (a TimeoutError after ``connect_timeout``).
        """
        connection = await TcpConnection.open(remote, self._opened, self._received, self._gone, self._config, local)
        return connection.path

    async def connect_from(self, bound: socket.socket, remote: TransportAddress) -> FiveTuple:
        """As :meth:`connect`, from a bound socket of the caller's making, which is the driver's from now on.

        Raises:
            OSError: as :meth:`connect`.
        """
        connection = await TcpConnection.open_from(
            bound, remote, self._opened, self._received, self._gone, self._config
        )
        return connection.path

    def close(self) -> None:
        """As of the base; connections are closed after what was already sent on them."""
        super().close()
        for listener in self._listeners:
            listener.close()
        for connection in list(self.connections.values()):
            connection.close()

    def _opened(self, connection: _Connection) -> None:
        if self._closed:
            connection.close()
            return
        self.connections[connection.path] = connection
        self.machine.path_opened(connection.path, self._loop.time())
        self.pump()

    def _received(self, data: bytes, connection: _Connection) -> None:
        if self._closed:
            return
        if connection.path.protocol.is_stream:
            self.machine.receive_data(data, connection.path, self._loop.time())
        else:
            self.machine.receive_datagram(data, connection.path, self._loop.time())
        self.pump()

    def _gone(self, connection: _Connection) -> None:
        if self.connections.pop(connection.path, None) is not None and not self._closed:
            self.machine.path_closed(connection.path, self._loop.time())
            self.pump()

    def _transmit(self, effect: Transmit) -> None:
        if effect.path.protocol is TransportProtocol.UDP:
            super()._transmit(effect)
        elif (connection := self.connections.get(effect.path)) is None:
            self.unsendable += 1
        else:
            connection.send(effect.data)

    def _other_effect(self, effect: object) -> bool:
        if not isinstance(effect, Release):
            return super()._other_effect(effect)
        if (connection := self.connections.get(effect.path)) is not None:
            connection.close()
        return True


def _load_dtls() -> None:
    """Load the listener, and OpenSSL if need be: in a thread, because a loop that does it stands still meanwhile."""
    import stun.aio.dtls_listener  # noqa: F401
