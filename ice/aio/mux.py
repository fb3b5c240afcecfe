"""A mux on asyncio: a network whose port, of each kind, any number of sessions share."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from ice.aio.mux_tcp import MuxListener, TcpDoor
from ice.aio.tcp_sockets import Accepted, Dialled, SystemTcp, TcpDial
from ice.config import IceConfig
from ice.errors import MuxError
from ice.interfaces import usable_addresses
from ice.mux import MuxRoutes, Place, Port, Seat
from ice.mux_config import MuxConfig
from ice.mux_stats import MuxStats
from stun.address import TransportAddress, TransportProtocol
from stun.aio import UdpNetwork
from stun.aio.udp import UdpSocket
from stun.demux import is_stun
from stun.network import DatagramReceiver, DatagramSocket, Interface, Network

__all__ = ["Mux", "MuxSeat", "MuxSocket"]

Remote = tuple[str, int]


class Mux:
    """A :class:`stun.network.Network` on which all sessions have the same port: ``Session(network=mux)``.

    A peer's check says by its user name fragment which session it is for, so no session needs a port of its own
    (:mod:`ice.mux` has the rules). What sessions open besides, such as their ways to TURN servers, is not shared.

    Close the sessions first: without the mux those that are left have no way to send, and end for lack of consent.

    Args:
        network: where the shared UDP sockets come from, and all that is not shared.
        config: the limits.
        transports: what is shared; TCP connections are accepted by the operating system's sockets.
    """

    def __init__(self, network: Network, config: MuxConfig, transports: Collection[TransportProtocol]) -> None:
        if not transports or not set(transports) <= {TransportProtocol.UDP, TransportProtocol.TCP}:
            raise ValueError("a mux shares UDP, TCP or both")
        self.routes = MuxRoutes(config)
        """Which session has what."""
        self._network = network
        self._config = config
        self._ports: dict[str, Port] = {}
        self._sockets: dict[Port, DatagramSocket] = {}
        self._door = TcpDoor(self.routes)
        self._addresses: list[TransportAddress] = []
        self._transports = transports
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        port: int = 0,
        hosts: Sequence[str] | None = None,
        *,
        transports: Collection[TransportProtocol] | None = None,
        network: Network | None = None,
        config: MuxConfig | None = None,
    ) -> AsyncIterator[Mux]:
        """Bind one socket of each kind for each address and yield the mux; closed on exit.

        Args:
            port: the port, the same for all addresses and transports; 0 picks one.
            hosts: the IP addresses, or None for all that a session would use by default.
            transports: what to share: UDP, TCP or both; None for both, or for UDP alone on a ``network`` of one's own.
            network: where sockets come from; the operating system unless told.
            config: the limits.

        Raises:
            OSError: an address cannot be bound, or there is none.
            ValueError: another transport, or none.
        """
        if transports is None:
            is_real = network is None or isinstance(network, UdpNetwork)
            transports = (TransportProtocol.UDP, TransportProtocol.TCP) if is_real else (TransportProtocol.UDP,)
        mux = cls(network or UdpNetwork(), config or MuxConfig(), transports)
        try:
            await mux._bind(port, mux._default_hosts() if hosts is None else hosts)
            yield mux
        finally:
            mux.close()

    @property
    def addresses(self) -> list[TransportAddress]:
        """The shared addresses, all with the same port."""
        return self._addresses[:]

    @property
    def port(self) -> int:
        """The shared port."""
        return self.addresses[0].port

    @property
    def shares_tcp(self) -> bool:
        """Whether TCP connections are accepted for the sessions."""
        return TransportProtocol.TCP in self._transports

    def stats(self) -> MuxStats:
        """Return counters of now."""
        return dataclasses.replace(self.routes.stats(), strangers=len(self._door.strangers))

    def close(self) -> None:
        """Close the shared sockets; harmless twice. TCP connections that are a session's stay open."""
        self._closed = True
        self._door.close()
        for bound in self._sockets.values():
            bound.close()

    # -- as a network --

    def interfaces(self) -> Sequence[Interface]:
        """Return the interfaces' addresses that are shared: sessions gather from no others."""
        hosts = {address.host for address in self._addresses}
        return [interface for interface in self._network.interfaces() if interface.host in hosts]

    async def resolve(self, host: str, port: int) -> Sequence[TransportAddress]:
        """As of the network below.

        Raises:
            OSError: the name does not resolve.
        """
        return await self._network.resolve(host, port)

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        """Bind a socket that is not shared, as the network below does.

        Raises:
            OSError: the address cannot be bound.
        """
        return await self._network.bind(local, receiver)

    def join(self, ufrag: str) -> MuxSeat:
        """Make room for a session whose checks begin with ``ufrag``; a session that was given the mux does this itself.

        Raises:
            MuxError: there is no room, the fragment is another session's, or the mux is closed.
        """
        if self._closed:
            raise MuxError("the mux is closed")
        return MuxSeat(self, self.routes.join(ufrag))

    # -- the shared sockets --

    def _default_hosts(self) -> Sequence[str]:
        interfaces = self._network.interfaces()
        return usable_addresses(interfaces, IceConfig()) or usable_addresses(interfaces, IceConfig.for_loopback())

    async def _bind(self, number: int, hosts: Sequence[str]) -> None:
        if not hosts:
            raise OSError(errno.EADDRNOTAVAIL, "there is no address to share a port on")
        tries = self._config.port_tries if number == 0 and len(hosts) * len(self._transports) > 1 else 1
        while True:
            tries -= 1
            try:
                await self._bind_all([TransportAddress.parse(host, number) for host in hosts])
                return
            except OSError as error:  # The number that one address gave is in use on another one.
                self._release()
                if error.errno != errno.EADDRINUSE or tries <= 0:
                    raise

    async def _bind_all(self, wanted: Sequence[TransportAddress]) -> None:
        number = wanted[0].port
        for host in [address.host for address in wanted]:
            if TransportProtocol.UDP in self._transports:
                number = await self._bind_udp(TransportAddress(host, number))
            if TransportProtocol.TCP in self._transports:
                number = self._door.listen(TransportAddress(host, number)).port
            self._addresses.append(TransportAddress(host, number))
        for port in self._ports.values():
            self.routes.add_port(port)

    async def _bind_udp(self, wanted: TransportAddress) -> int:
        holder: list[Port] = []
        bound = await self._network.bind(wanted, self._receiver(holder))
        port = Port(bound.local)
        holder.append(port)
        self._ports[wanted.host], self._sockets[port] = port, bound
        return bound.local.port

    def _release(self) -> None:
        for bound in self._sockets.values():
            bound.close()
        self._door.close()
        self._door = TcpDoor(self.routes)
        self._ports.clear()
        self._sockets.clear()
        self._addresses.clear()

    def _receiver(self, holder: list[Port]) -> DatagramReceiver:
        deliver, time = self.routes.deliver, asyncio.get_running_loop().time

        def receive(data: bytes, remote: Remote) -> None:
            port = holder[0]
            binding = port.routes.get(remote)
            if binding is not None and data and data[0] > 3:
                binding.receive(data, remote)
            else:
                deliver(data, port, remote, time())

        return receive

    def attach(self, seat: Seat, host: str, receiver: DatagramReceiver) -> MuxSocket:
        """Give a session a base at one of the shared addresses.

        Raises:
            OSError: ``host`` is not one of them, or the session has a base there or has left.
        """
        port = self._ports.get(host)
        if port is None or self._closed:
            raise OSError(errno.EADDRNOTAVAIL, f"{host} has no shared port")
        made = MuxSocket(seat, port, receiver, self.routes, self._sockets[port])
        try:
            self.routes.attach(made)
        except MuxError as error:
            raise OSError(errno.EADDRNOTAVAIL, str(error)) from error  # No other port would do either.
        return made

    def listen(self, seat: Seat, host: str, accepted: Accepted) -> MuxListener:
        """Let a session take TCP connections at one of the shared addresses.

        Raises:
            OSError: nothing listens there, or the session takes them already, or it has left.
        """
        local = next((address for address in self._addresses if address.host == host), None)
        if local is None or self._closed or not seat.ufrags or not self.shares_tcp:
            raise OSError(errno.EADDRNOTAVAIL, f"{host} has no shared TCP port")
        return self._door.attach(seat, local, accepted)

    def leave(self, seat: Seat) -> None:
        """Free all that is a session's; harmless twice."""
        self.routes.leave(seat)
        self._door.forget(seat)


class MuxSeat:
    """One session's place at a mux (:class:`ice.aio.shared_network.NetworkSeat`)."""

    __slots__ = ("_mux", "_seat")

    def __init__(self, mux: Mux, seat: Seat) -> None:
        self._mux = mux
        self._seat = seat

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> MuxSocket:
        """Return what the session has of the shared socket on ``local.host``; the port is the shared one.

        Raises:
            OSError: that is not a shared address, or the session has left.
        """
        return self._mux.attach(self._seat, local.host, receiver)

    @property
    def tcp(self) -> MuxSeat | None:
        """What the session has of TCP, in place of :class:`ice.aio.tcp_sockets.SystemTcp`; None if none is shared."""
        return self if self._mux.shares_tcp else None

    def dial(
        self, local: TransportAddress, remote: TransportAddress, dialled: Dialled, ttl: int | None = None
    ) -> TcpDial:
        """Begin to open a connection from any port of ``local.host``: an active candidate's, which is not shared.

        Raises:
            OSError: the address cannot be bound, or a port is asked for: the shared one only listens.
        """
        if local.port:
            raise OSError(errno.EADDRNOTAVAIL, "nothing is opened from a shared port")
        return SystemTcp().dial(local, remote, dialled, ttl)

    def listen(self, local: TransportAddress, accepted: Accepted, backlog: int) -> MuxListener:
        """Take TCP connections at the shared address on ``local.host``: those that begin with a check for this session.

        The port is the shared one, and so is the backlog.

        Raises:
            OSError: nothing listens there, or the session takes them already, or it has left.
        """
        return self._mux.listen(self._seat, local.host, accepted)

    def set_ufrags(self, ufrags: Sequence[str]) -> None:
        """Take checks for these user name fragments and no others.

        Raises:
            MuxError: one is another session's, there are none or too many, or the session has left.
        """
        self._mux.routes.set_ufrags(self._seat, ufrags)

    def leave(self) -> None:
        """Free all that is the session's; harmless twice."""
        self._mux.leave(self._seat)


class MuxSocket(Place):
    """What one session has of a shared socket (:class:`stun.network.ConnectableSocket`)."""

    __slots__ = ("_routes", "_shared", "local")

    def __init__(
        self, seat: Seat, port: Port, receive: DatagramReceiver, routes: MuxRoutes, shared: DatagramSocket
    ) -> None:
        super().__init__(seat, port, receive)
        self._routes = routes
        self._shared = shared
        self.local = port.local
        """The shared address."""

    def send(self, data: bytes, remote: Remote) -> bool:
        """Send one datagram; False when it was not taken, or this socket is closed."""
        if self not in self.seat.places:
            return False
        if data and data[0] < 4 and is_stun(data):
            self._routes.note_sent(data, self, remote, asyncio.get_running_loop().time())
        return self._shared.send(data, remote)

    def connect(self, remote: Remote) -> DatagramSocket | None:
        """Return a short way for data to ``remote``: the mux looks for STUN in nothing that is sent on it."""
        if self not in self.seat.places:
            return None
        lane = self._shared.lane(remote) if isinstance(self._shared, UdpSocket) else None
        return lane or _DataSocket(self.port.local, self._shared)

    def close(self) -> None:
        """Give the base up, with all that was reached through it; harmless twice."""
        self._routes.detach(self)


class _DataSocket:
    """A shared socket for a session that sends data on it and nothing else."""

    __slots__ = ("local", "send")

    def __init__(self, local: TransportAddress, shared: DatagramSocket) -> None:
        self.local = local
        self.send = shared.send

    def close(self) -> None:
        """Nothing is held."""
