"""The driver of the TURN server: it owns the sockets, carries out effects and keeps the one timer."""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.tcp import TcpConnection, TcpListener
from stun.aio.tls import serve_tls
from stun.config import ListenerConfig, StreamConfig
from stun.machine import Release, Transmit
from stun.values import Icmp
from turn.aio.service.peers import PeerRoom
from turn.aio.service.poller import Poller
from turn.aio.service.sockets import SocketCounters, bind_udp
from turn.aio.service.udp import ClientSocket, RelaySocket
from turn.credentials import UserStore
from turn.service.config import TurnServiceConfig
from turn.service.events import (
    AllocationCreated,
    CloseRelay,
    DialPeer,
    DropPeer,
    OpenRelay,
    RelayFailure,
    SendToPeer,
    ServerEvent,
    Splice,
)
from turn.service.server import TurnServer

if TYPE_CHECKING:
    from OpenSSL import SSL

    from stun.aio.dtls_listener import DtlsConnection

__all__ = ["TurnServerDriver"]

logger = logging.getLogger("turn")

_LISTENING_BUFFER = 4 * 1024 * 1024

Connection: TypeAlias = "TcpConnection | DtlsConnection"


class TurnServerDriver:
    """Runs one :class:`~turn.service.server.TurnServer` on real sockets."""

    def __init__(
        self,
        config: TurnServiceConfig,
        users: UserStore,
        listening: tuple[str, ...],
        on_event: Callable[[ServerEvent], None],
    ) -> None:
        """Args:
        config: of the server.
        users: who may have allocations.
        listening: the IP addresses that will be listened on, and all others of this host.
        on_event: takes the server's events.
        """
        self.server = TurnServer(config, users, random.SystemRandom(), listening, unix_time=time.time)
        self.counters = SocketCounters()
        """What the UDP sockets have done."""
        self.udp: dict[TransportAddress, ClientSocket] = {}
        """The sockets for UDP clients."""
        self._loop = asyncio.get_running_loop()
        self._poller = Poller(self._loop)
        self._relays: dict[TransportAddress, RelaySocket] = {}
        self._connections: dict[FiveTuple, Connection] = {}
        self._listeners: list[Callable[[], None]] = []
        self._on_event = on_event
        streams = config.streams
        self._stream_config = StreamConfig(max_write_buffer=streams.write_buffer, max_message=streams.max_message)
        self._peers = PeerRoom(self.server, self.pump, self._stream_config.linger)
        # The machine has the limits of connections and of silence; the listeners bound the handshakes.
        self._limits = ListenerConfig(
            max_connections=streams.connections,
            max_connections_per_source=streams.connections_per_source,
            idle_timeout=2 * config.times.max_lifetime,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._pumping = False
        self._closed = False

    @property
    def sockets(self) -> int:
        """Sockets of relayed addresses, UDP and TCP, and of peers' connections."""
        return len(self._relays) + len(self._peers)

    # -- listening --

    def listen_udp(self, local: TransportAddress) -> TransportAddress:
        """Serve UDP clients on an address.

        Raises:
            OSError: it cannot be bound.
        """
        bound = bind_udp(local, _LISTENING_BUFFER)
        port = ClientSocket(bound, self._poller, self.counters, self.server, self._datagram)
        self.udp[port.local] = port
        self._listeners.append(port.close)
        return port.local

    async def listen_tcp(self, local: TransportAddress) -> TransportAddress:
        """Serve TCP clients on an address.

        Raises:
            OSError: it cannot be bound.
        """
        listener = await TcpListener.open(local, self._opened, self._received, self._gone, self._stream_config)
        self._listeners.append(listener.close)
        return listener.local

    async def listen_tls(self, local: TransportAddress, context: ssl.SSLContext) -> TransportAddress:
        """Serve TLS clients on an address.

        Raises:
            OSError: it cannot be bound.
        """
        listener = await serve_tls(
            local, context, self._opened, self._received, self._gone, self._stream_config, self._limits
        )
        self._listeners.append(listener.close)
        return listener.local

    async def listen_dtls(self, local: TransportAddress, context: SSL.Context) -> TransportAddress:
        """Serve DTLS clients on an address.

        Raises:
            OSError: it cannot be bound.
        """
        await asyncio.to_thread(_load_dtls)
        from stun.aio.dtls_listener import serve_dtls

        listener = await serve_dtls(
            local, context, self._opened, self._sealed_datagram, self._gone, limits=self._limits
        )
        self._listeners.append(listener.close)
        return listener.local

    # -- running --

    def pump(self) -> None:
        """Drain effects, then events, then re-arm the timer; after every input of the server."""
        if self._pumping:
            return  # the outer call goes on draining
        self._pumping = True
        try:
            server = self.server
            while True:
                while (effect := server.next_effect()) is not None:
                    self._carry_out(effect)
                if (event := server.next_event()) is None:
                    break
                if isinstance(event, AllocationCreated):
                    self._attach(event.number)
                self._on_event(event)
        finally:
            self._pumping = False
        self._arm()

    async def close(self) -> None:
        """End all allocations, close every socket; harmless twice."""
        if self._closed:
            return
        for close in self._listeners:
            close()
        self.server.close(self._loop.time())
        self.pump()
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for connection in list(self._connections.values()):
            connection.close()
        await self._peers.close()
        self._poller.close()
        await asyncio.sleep(0)  # lets the connections' last callbacks run

    def _arm(self) -> None:
        deadline = None if self._closed else self.server.next_timeout()
        if self._timer is not None:
            if deadline is not None and self._timer_at <= deadline.at:
                return  # one early wake-up costs less than a timer each time
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer_at = deadline.at
            self._timer = self._loop.call_at(deadline.at, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        self.server.handle_timeout(max(self._loop.time(), self._timer_at))
        self.pump()

    # -- clients --

    def _datagram(self, data: bytes, path: FiveTuple) -> None:
        self.server.receive_datagram(data, path, self._loop.time())
        self.pump()

    def _sealed_datagram(self, data: bytes, connection: DtlsConnection) -> None:
        self._datagram(data, connection.path)

    def _opened(self, connection: Connection) -> None:
        if self._closed:
            connection.close()
            return
        self._connections[connection.path] = connection
        self.server.path_opened(connection.path, self._loop.time())
        self.pump()

    def _received(self, data: bytes, connection: Connection) -> None:
        if not self._closed:
            self.server.receive_data(data, connection.path, self._loop.time())
            self.pump()

    def _gone(self, connection: Connection) -> None:
        if self._connections.pop(connection.path, None) is not None and not self._closed:
            self.server.path_closed(connection.path, self._loop.time())
            self.pump()

    def _to_client(self, path: FiveTuple, data: bytes) -> None:
        if path.protocol is TransportProtocol.UDP:
            if (port := self.udp.get(path.local)) is not None:
                port.send(data, path.remote)
        elif (connection := self._connections.get(path)) is None or not connection.offer(data):
            self.counters.dropped += 1

    # -- effects --

    def _carry_out(self, effect: object) -> None:
        match effect:
            case Transmit(data, path):
                self._to_client(path, data)
            case SendToPeer():
                self._to_peer(effect)
            case OpenRelay(address, protocol):
                self._open(address, protocol)
            case CloseRelay(address, protocol):
                if protocol is TransportProtocol.TCP:
                    self._peers.stop_listening(address)
                elif (port := self._relays.pop(address, None)) is not None:
                    port.close()
            case Release(path):
                if (connection := self._connections.get(path)) is not None:
                    connection.close()
            case DialPeer(number, relay, peer):
                self._peers.dial(number, relay, peer)
            case Splice(number, path, early):
                self._splice(number, path, early)
            case DropPeer(number):
                self._peers.drop(number)

    def _to_peer(self, effect: SendToPeer) -> None:
        port = self._relays.get(effect.relay)
        if port is None:
            self.counters.dropped += 1
        elif effect.dont_fragment:
            port.send_unfragmented(effect.data, effect.peer)
        else:
            port.send(effect.data, effect.peer)

    def _open(self, address: TransportAddress, protocol: TransportProtocol) -> None:
        now = self._loop.time()
        try:
            if protocol is TransportProtocol.TCP:
                self._peers.listen(address)
            else:
                self._relays[address] = RelaySocket(
                    bind_udp(address),
                    self._poller,
                    self.counters,
                    self.server,
                    self.udp,
                    self._to_client,
                    self._icmp,
                )
        except OSError as error:
            taken = error.errno in (errno.EADDRINUSE, errno.EACCES)
            if not taken:
                logger.warning("cannot bind the relayed address %s: %s", address, error)
            failure = RelayFailure.IN_USE if taken else RelayFailure.UNAVAILABLE
            self.server.relay_failed(address, protocol, failure, now)
            return
        self.server.relay_opened(address, protocol, now)

    def _attach(self, number: int) -> None:
        """Give the relays of a new allocation their sockets, for the fast path."""
        allocation = self.server.allocations.get(number)
        for relay in allocation.relays.values() if allocation is not None else ():
            if relay.protocol is TransportProtocol.UDP and (port := self._relays.get(relay.address)) is not None:
                port.attach(relay)

    def _splice(self, number: int, path: FiveTuple, early: bytes) -> None:
        connection = self._connections.get(path)
        if isinstance(connection, TcpConnection):
            self._peers.splice(number, connection, early)
        else:
            self._peers.drop(number)

    def _icmp(self, error: Icmp, relay: TransportAddress, peer: TransportAddress) -> None:
        self.server.receive_icmp(error, relay, peer, self._loop.time())
        self.pump()


def _load_dtls() -> None:
    """Load the listener, and OpenSSL if need be: in a thread, because a loop that does it stands still meanwhile."""
    import stun.aio.dtls_listener  # noqa: F401
