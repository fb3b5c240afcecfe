"""The TCP half of a mux on asyncio: one listening socket for each address, and whose each connection becomes."""

from __future__ import annotations

import asyncio
from typing import cast

from ice.aio.shared_network import ProtocolFactory
from ice.mux import MuxRoutes, Seat
from ice.mux_stats import Drop
from ice.mux_tcp import Strangers
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.tcp import address_of, bind_listener

__all__ = ["MuxListener", "TcpDoor"]


class MuxListener:
    """What one session has of a shared listening socket (:class:`ice.aio.shared_network.SharedListener`)."""

    __slots__ = ("_door", "_seat", "local")

    def __init__(self, door: TcpDoor, seat: Seat, local: TransportAddress) -> None:
        self._door = door
        self._seat = seat
        self.local = local
        """The shared address."""

    def close(self) -> None:
        """Take no more connections there; open ones stay the session's. Harmless twice."""
        self._door.forget(self._seat, self.local)


class TcpDoor:
    """Accepts connections for all sessions, and gives each to the one that its first frame names."""

    def __init__(self, routes: MuxRoutes) -> None:
        self.strangers = Strangers(routes)
        """The connections that have not said whose they are."""
        self._routes = routes
        self._loop = asyncio.get_running_loop()
        self._servers: list[asyncio.Server] = []
        self._factories: dict[TransportAddress, dict[Seat, ProtocolFactory]] = {}
        self._open: dict[FiveTuple, _Visitor] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def listen(self, local: TransportAddress) -> TransportAddress:
        """Listen on a shared address (port 0 picks one) and return it.

        Raises:
            OSError: it cannot be bound.
        """
        bound = bind_listener(local)
        try:
            server = await self._loop.create_server(
                lambda: _Visitor(self), sock=bound, backlog=self._routes.config.backlog
            )
        except BaseException:
            bound.close()
            raise
        self._servers.append(server)
        address = address_of(bound.getsockname())
        self._factories[address] = {}
        return address

    def attach(self, seat: Seat, local: TransportAddress, factory: ProtocolFactory) -> MuxListener:
        """Let a session take connections at a shared address.

        Raises:
            KeyError: nothing listens there.
        """
        self._factories[local][seat] = factory
        return MuxListener(self, seat, local)

    def forget(self, seat: Seat, local: TransportAddress | None = None) -> None:
        """Let a session take no more connections, at one address or at all; harmless twice."""
        for address in self._factories if local is None else (local,):
            self._factories[address].pop(seat, None)

    def close(self) -> None:
        """Stop listening and close what has no owner; harmless twice."""
        for server in self._servers:
            server.close()
        for visitor in list(self._open.values()):
            visitor.abort()
        self._open.clear()
        self._factories = {address: {} for address in self._factories}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- one connection --

    def opened(self, visitor: _Visitor) -> bool:
        """A connection was accepted; False when there is no room for it."""
        if not self.strangers.opened(visitor.path, self._loop.time()):
            return False
        self._open[visitor.path] = visitor
        self._arm()
        return True

    def received(self, data: bytes, visitor: _Visitor) -> None:
        """Bytes of a connection that has no owner yet."""
        verdict = self.strangers.receive(data, visitor.path)
        if verdict is None:
            return
        self._open.pop(visitor.path, None)
        if isinstance(verdict, Drop):
            visitor.abort()
            return
        factory = self._factories.get(visitor.path.local, {}).get(verdict.seat)
        if factory is None:
            self._routes.dropped[Drop.CONNECTION_UNWANTED] += 1
            visitor.abort()
        else:
            visitor.hand_over(factory(), verdict.data)

    def gone(self, visitor: _Visitor) -> None:
        """A connection that had no owner has ended."""
        self.strangers.closed(visitor.path)
        self._open.pop(visitor.path, None)

    def _arm(self) -> None:
        deadline = self.strangers.next_timeout()
        if self._timer is None and deadline is not None:
            self._timer = self._loop.call_at(deadline.at, self._timeout)

    def _timeout(self) -> None:
        self._timer = None
        for path in self.strangers.handle_timeout(self._loop.time()):
            if (visitor := self._open.pop(path, None)) is not None:
                visitor.abort()
        self._arm()


class _Visitor(asyncio.Protocol):
    """A connection until it has an owner."""

    def __init__(self, door: TcpDoor) -> None:
        self.path = _NOWHERE
        self._door = door
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        ours, theirs = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
        if not ours or not theirs:  # Reset before it was accepted.
            self._transport.abort()
            return
        self.path = FiveTuple(address_of(ours), address_of(theirs), TransportProtocol.TCP)
        if not self._door.opened(self):
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._door.received(data, self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._door.gone(self)

    def hand_over(self, owner: asyncio.Protocol, data: bytes) -> None:
        """Let ``owner`` have the connection as if it had accepted it, and what arrived on it."""
        transport = self._transport
        assert transport is not None
        transport.set_protocol(owner)
        owner.connection_made(transport)
        owner.data_received(data)

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


_NOWHERE = FiveTuple(TransportAddress("0.0.0.0", 0), TransportAddress("0.0.0.0", 0), TransportProtocol.TCP)
