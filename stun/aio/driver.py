"""The driver: it runs one machine on an asyncio loop, over any :class:`stun.network.Network`."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from OpenSSL import SSL

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.dtls_listener import serve_dtls
from stun.aio.link import LinkOptions, ServerLink, open_link
from stun.aio.tcp import TcpConnection, TcpListener
from stun.aio.timer import MachineTimer
from stun.aio.tls import serve_tls
from stun.config import ListenerConfig, StreamConfig
from stun.errors import StunLinkError
from stun.machine import Machine, Release, StreamMachine, Transmit
from stun.network import DatagramReceiver, DatagramSocket, Network
from stun.values import COOKIE

__all__ = ["DataReceiver", "Driver", "StreamDriver"]

logger = logging.getLogger("stun")

EventT = TypeVar("EventT")

DataReceiver = Callable[[bytes, tuple[str, int], TransportAddress], None]
"""Called with application data, the ``(host, port)`` it came from and our own address; must not raise."""


class Driver(Generic[EventT]):
    """Feeds a machine its datagrams and the time, carries out its effects, and keeps its one timer.

    The time is ``loop.time()``, so a loop with virtual time drives a machine just as well. Call :meth:`pump` after
    every input that you give the machine yourself.
    """

    __slots__ = (
        "_closed",
        "_loop",
        "_on_data",
        "_on_effect",
        "_on_event",
        "_pumping",
        "_timer",
        "machine",
        "network",
        "sockets",
        "unsendable",
    )

    def __init__(
        self,
        machine: Machine[Any, EventT],
        network: Network,
        on_event: Callable[[EventT], None],
        *,
        on_effect: Callable[[Any], None] | None = None,
        on_data: DataReceiver | None = None,
    ) -> None:
        """Args:
        machine: what to run.
        network: where :meth:`bind` gets sockets from.
        on_event: takes the machine's events; it may call the machine and :meth:`pump`.
        on_effect: takes effects other than Transmit.
        on_data: takes datagrams that do not look like STUN, past the machine; without it the machine gets all.
        """
        self.machine = machine
        self.network = network
        self.sockets: tuple[DatagramSocket, ...] = ()
        """The bound sockets."""
        self.unsendable = 0
        """Transmits whose path has no socket (any more)."""
        self._on_event = on_event
        self._on_effect = on_effect
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._timer = MachineTimer(machine, self)
        self._pumping = False
        self._closed = False

    async def bind(self, local: TransportAddress) -> TransportAddress:
        """Bind a UDP socket for the machine and return its real address.

        Raises:
            OSError: the address cannot be bound.
        """
        # The receiver needs the real port, which only the socket knows; nothing arrives before the next await.
        holder: list[TransportAddress] = [local]
        bound = await self.network.bind(local, self._receiver(holder))
        holder[0] = bound.local
        if self._closed:
            bound.close()
            raise OSError("the driver is closed")
        self.sockets += (bound,)
        return bound.local

    def socket_at(self, local: TransportAddress) -> DatagramSocket | None:
        """Return the socket that is bound to an address, or None."""
        for bound in self.sockets:  # Of one or two; a dictionary would take more room than the sockets.
            if bound.local == local:
                return bound
        return None

    def unbind(self, local: TransportAddress) -> None:
        """Close one socket; harmless when there is none."""
        if (bound := self.socket_at(local)) is not None:
            self.sockets = tuple(other for other in self.sockets if other is not bound)
            bound.close()

    def pump(self) -> None:
        """Drain effects, then events, then re-arm the timer."""
        if self._pumping or self._closed:
            return  # the outer call goes on draining
        self._pumping = True
        try:
            self._drain()
        finally:
            self._pumping = False
        self._timer.arm()

    def close(self) -> None:
        """Close the sockets and stop the timer; harmless twice. Effects still queued are carried out first."""
        if self._closed:
            return
        self.pump()
        self._closed = True
        self._timer.stop()
        for bound in self.sockets:
            bound.close()
        self.sockets = ()

    def _receiver(self, holder: list[TransportAddress]) -> DatagramReceiver:
        machine = self.machine
        time = self._loop.time
        on_data = self._on_data

        def receive(data: bytes, remote: tuple[str, int]) -> None:
            if on_data is not None and (data[4:8] != COOKIE or data[0] > 3):
                on_data(data, remote, holder[0])
                return
            path = FiveTuple(holder[0], TransportAddress(remote[0], remote[1]), TransportProtocol.UDP)
            machine.receive_datagram(data, path, time())
            self.pump()

        return receive

    def _drain(self) -> None:
        machine = self.machine
        while True:
            while (effect := machine.next_effect()) is not None:
                if isinstance(effect, Transmit):
                    self._transmit(effect)
                elif not self._other_effect(effect):
                    logger.warning("nobody carries out %r", effect)
            if (event := machine.next_event()) is None:
                return
            self._notice(event)

    def _notice(self, event: EventT) -> None:
        self._on_event(event)

    def _transmit(self, effect: Transmit) -> None:
        bound = self.socket_at(effect.path.local)
        if bound is None:
            self.unsendable += 1
        else:
            bound.send(effect.data, effect.path.remote)

    def _other_effect(self, effect: object) -> bool:
        if self._on_effect is None:
            return False
        self._on_effect(effect)
        return True


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
