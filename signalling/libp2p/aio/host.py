"""The libp2p host: one identity, its transports, its connections and the protocols it serves."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Self

from pyee.asyncio import AsyncIOEventEmitter

from signalling.errors import ConnectionClosed, DialError, LimitedConnection, LimitExceeded
from signalling.libp2p.addresses import AddressBook, with_peer
from signalling.libp2p.aio.circuit import CircuitTransport
from signalling.libp2p.aio.connection import Connection, Listener, Transport
from signalling.libp2p.aio.connections import ConnectionTable, is_direct
from signalling.libp2p.aio.dialer import Dialer, SharedDials
from signalling.libp2p.aio.identify import IdentifyService
from signalling.libp2p.aio.ping import PingService
from signalling.libp2p.aio.protocols import Handler, ProtocolTable
from signalling.libp2p.aio.reservations import Reservation
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.aio.tcp import TcpTransport
from signalling.libp2p.aio.websocket import WebSocketTransport
from signalling.libp2p.circuit import is_relayed
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

__all__ = ["Host"]

logger = logging.getLogger("signalling")


class Host(AsyncIOEventEmitter):
    """A libp2p peer.

    Events, each with its argument:

    - ``"connection"(Connection)``: a connection is up, whoever dialled;
    - ``"disconnection"(Connection)``: it is gone;
    - ``"identified"(Connection)``: the peer told about itself: ``connection.peer_info``;
    - ``"addresses"(list[Multiaddr])``: where we can be reached has changed.

    ::

        async with Host(PrivateKey.generate()) as host:
            await host.listen("/ip4/0.0.0.0/tcp/4001")
            host.handle("/echo/1.0.0", echo)
            connection = await host.connect("/ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…")
            stream = await host.new_stream(connection, ["/echo/1.0.0"])
    """

    def __init__(
        self,
        identity: PrivateKey,
        config: HostConfig | None = None,
        transports: Sequence[Transport] | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        """Make a host that neither listens nor dials yet; ``transports`` None means TCP, WebSocket and circuits."""
        super().__init__()
        self.config = config or HostConfig()
        self.identity = identity
        self.peer_id = PeerId.from_public_key(identity.public_key)
        self.rng = rng or random.SystemRandom()
        self.address_book = AddressBook(self.config)
        self._tasks = TaskSet()
        self._connections = ConnectionTable(self.config)
        self._protocols = ProtocolTable(self.config, self._tasks)
        self._listeners: list[Listener] = []
        self._announced: tuple[Multiaddr, ...] = ()
        self._told_addresses: list[Multiaddr] = []
        self._dials = SharedDials()
        self._closed = False
        self._transports: list[Transport] = []
        self._dialer = Dialer(self.config, self._transports, self.address_book)
        self._identify = IdentifyService(self)
        self._identify.register()
        self._ping = PingService(self)
        if transports is None:
            transports = (
                TcpTransport(identity, self.config, self.rng),
                WebSocketTransport(identity, self.config, self.rng),
                CircuitTransport(self),
            )
        for transport in transports:
            self.add_transport(transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._closed

    # ------------------------------------------------------------ addresses

    def add_transport(self, transport: Transport) -> None:
        """Use one more transport. For an address that several understand, the one added first is asked."""
        self._transports.append(transport)

    async def listen(self, address: Multiaddr | str) -> Listener:
        """Accept connections at ``address``; port 0 picks one.

        Raises:
            MultiaddrError: the text is malformed.
            DialError: no transport listens on this kind of address.
            OSError: the address cannot be bound.
            SignallingError: the relay of a circuit address cannot be reached, or refuses; or the host is closed.
        """
        self._check_open()
        address = Multiaddr(address)
        for transport in self._transports:
            if transport.can_listen(address):
                listener = await transport.listen(address, self._accept)
                if self._closed:
                    await listener.close()
                    self._check_open()
                self._listeners.append(listener)
                self.addresses_changed()
                return listener
        raise DialError(f"no transport listens on {address}")

    async def reserve(self, relay: Multiaddr | str) -> Reservation:
        """Get a reservation at the relay of ``relay`` (``/…/p2p/<relay>``), refresh it and regain it when it is lost.

        Raises:
            CircuitRefused: the relay said no.
            SignallingError: it cannot be reached, or does not serve as a relay.
        """
        address = Multiaddr(relay)
        if "p2p-circuit" not in address.protocols():
            address = address.encapsulate("/p2p-circuit")
        listener = await self.listen(address)
        if not isinstance(listener, Reservation):
            raise DialError(f"the transport for {address} keeps no reservations")
        return listener

    async def unlisten(self, listener: Listener) -> None:
        """Stop accepting on what :meth:`listen` or :meth:`reserve` returned. Harmless twice."""
        if listener in self._listeners:
            self._listeners.remove(listener)
        await listener.close()
        self.addresses_changed()

    def announce(self, addresses: Iterable[Multiaddr | str]) -> None:
        """Tell peers these addresses too, such as a public address that a router forwards to us."""
        self._announced = tuple(Multiaddr(address) for address in addresses)
        self.addresses_changed()

    def addresses(self) -> list[Multiaddr]:
        """Return where we can be reached: listening, announced and confirmed observed addresses, with ``/p2p``."""
        own = [address for listener in self._listeners for address in listener.addresses]
        every = (*self._announced, *own, *self._identify.confirmed_addresses())
        return list(dict.fromkeys(with_peer(address, self.peer_id) for address in every))

    def addresses_changed(self) -> None:
        """Tell the application and the peers if our addresses changed; transports and listeners call this."""
        addresses = self.addresses()
        if addresses != self._told_addresses and not self._closed:
            self._told_addresses = addresses
            self.notify("addresses", addresses)
            self._identify.push_soon()

    # ------------------------------------------------------------ connections

    def connections(self, peer: PeerId | None = None) -> list[Connection]:
        """Return the open connections, to ``peer`` or to everyone."""
        return self._connections.get(peer)

    async def connect(self, target: Multiaddr | PeerId | str) -> Connection:
        """Connect to an address, or to a peer at the addresses known of it.

        An open connection to the peer is returned instead, unless it is a relayed one and the target may give better.

        Raises:
            MultiaddrError: the text is malformed.
            DialError: it cannot be reached; ``failures`` says why, address by address.
            LimitExceeded: too many connections or dials.
        """
        self._check_open()
        if isinstance(target, str):
            target = Multiaddr(target)
        if isinstance(target, Multiaddr) and target.protocols() == ("p2p",):
            target = target.peer_id or target
        peer = target if isinstance(target, PeerId) else target.peer_id
        if peer == self.peer_id:
            raise DialError("that is ourselves")
        addresses = (target,) if isinstance(target, Multiaddr) else self.address_book.get(target)
        existing = self._connections.best(peer) if peer is not None else None
        if existing is not None and (is_direct(existing) or all(map(is_relayed, addresses))):
            return existing
        return await self._dials.join(target, self._dial(addresses, peer))

    async def _dial(self, addresses: Sequence[Multiaddr], peer: PeerId | None) -> Connection:
        """Dial, and take the connection in."""
        connection = await self._dialer.dial(addresses, peer)
        if self._closed:
            await connection.close()
            raise ConnectionClosed("the host is closed")
        if connection.remote_peer == self.peer_id:
            await connection.close()
            raise DialError("that is ourselves")
        try:
            self._take_in(connection)
        except LimitExceeded:
            await connection.close()
            raise
        self.address_book.add(connection.remote_peer, [connection.remote_address])
        return connection

    def _accept(self, connection: Connection) -> None:
        """Take an inbound connection in; transports call it."""
        try:
            if self._closed:
                raise LimitExceeded("the host is closed")
            self._take_in(connection)
        except LimitExceeded as error:
            logger.debug("%r refused: %s", connection, error)
            self._tasks.spawn(connection.close(), "close a refused connection")

    def _take_in(self, connection: Connection) -> None:
        if connection.remote_peer == self.peer_id:
            raise LimitExceeded("that is ourselves")
        self._connections.add(connection)
        self.notify("connection", connection)
        self._tasks.spawn(self._protocols.serve(connection), f"streams of {connection.remote_peer}")
        self._tasks.spawn(self._watch(connection), f"connection to {connection.remote_peer}")
        self._identify.start(connection)

    async def _watch(self, connection: Connection) -> None:
        await connection.wait_closed()
        self._take_out(connection)

    def _take_out(self, connection: Connection) -> None:
        if self._connections.remove(connection):
            self._identify.forget(connection)
            self.notify("disconnection", connection)

    # ------------------------------------------------------------ streams

    def handle(self, protocol: str, handler: Handler, allow_limited: bool = False) -> None:
        """Serve ``protocol`` with ``handler``: called with each inbound stream, which is closed when it returns.

        A stream that the handler hands to somebody else ends when the handler does: wait there for its end. Without
        ``allow_limited`` the protocol is refused (``na``) on limited, that is relayed, connections.
        """
        self._protocols.handle(protocol, handler, allow_limited=allow_limited)
        self._identify.push_soon()

    def unhandle(self, protocol: str) -> None:
        """Serve ``protocol`` no more; streams that are open go on."""
        self._protocols.unhandle(protocol)
        self._identify.push_soon()

    def protocols(self) -> list[str]:
        """Return the protocols served."""
        return self._protocols.names()

    async def new_stream(
        self, target: PeerId | Connection, protocols: Sequence[str], allow_limited: bool = False
    ) -> Stream:
        """Open a stream and agree on the first of ``protocols`` that the peer speaks.

        A peer is reached over its best connection: an unlimited one if there is any, else, with ``allow_limited``, a
        limited one; without any connection it is dialled at its known addresses.

        Raises:
            LimitedConnection: only limited connections, and the protocol did not opt in.
            NegotiationError: the peer speaks none of the protocols.
            DialError: there is no connection and none can be had.
            ConnectionClosed: the connection went away.
            LimitExceeded: too many streams are open.
        """
        self._check_open()
        if isinstance(target, Connection):
            return await _open(target, protocols, allow_limited)
        for connection in iter(lambda: self._connections.best(target), None):
            try:
                return await _open(connection, protocols, allow_limited)
            except ConnectionClosed:
                if not connection.closed:
                    raise
        return await _open(await self.connect(target), protocols, allow_limited)

    async def ping(self, target: PeerId | Connection) -> float:
        """Return the round-trip time to a peer in seconds.

        Raises:
            SignallingError: as :meth:`new_stream`, or the peer did not send back what it got.
            TimeoutError: it did not answer in time.
        """
        return await self._ping.ping(target)

    async def identified(self, connection: Connection) -> Connection:
        """Return once the peer told about itself.

        Raises:
            IdentifyError: it did not, in time or at all.
        """
        await self._identify.wait(connection)
        return connection

    # ------------------------------------------------------------ the end

    def notify(self, event: str, *arguments: object) -> None:
        """Emit an event from the loop: a listener that raises is the loop's business, not that of a protocol."""
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: self.emit(event, *arguments))

    async def close(self) -> None:
        """Close listeners, connections and everything that runs. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        await self._dials.close()
        listeners, self._listeners = self._listeners, []
        await asyncio.gather(*(listener.close() for listener in listeners))
        connections = self._connections.get()
        relayed = [connection for connection in connections if is_relayed(connection.remote_address)]
        # First those that others carry: what was written on them still has to pass through the relay's connection.
        await _close_all(relayed, self.config.close_timeout)
        await _close_all([one for one in connections if one not in relayed], self.config.close_timeout)
        for connection in connections:
            self._take_out(connection)
        await self._identify.close()
        await self._tasks.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectionClosed("the host is closed")


async def _open(connection: Connection, protocols: Sequence[str], allow_limited: bool) -> Stream:
    if connection.limit is not None and not allow_limited:
        raise LimitedConnection(f"{connection.remote_peer} is reached only through a relay with limits")
    return await connection.open_stream(protocols)


async def _close_all(connections: Sequence[Connection], timeout: float) -> None:
    """Close connections side by side; one whose good-bye does not get through is left to the loop after ``timeout``."""
    if not connections:
        return
    tasks = [asyncio.ensure_future(connection.close()) for connection in connections]
    _, late = await asyncio.wait(tasks, timeout=timeout)
    for task in late:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
