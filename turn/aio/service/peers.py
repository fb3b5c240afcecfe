"""The connections of TCP allocations on real sockets: listeners, dials under way, connections by number."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stun.address import TransportAddress
from stun.aio.tcp import TcpConnection
from turn.aio.service.splice import PeerEnd, bind_tcp, dial, listen, splice
from turn.service.server import TurnServer

__all__ = ["PeerRoom"]

_BACKLOG = 32


class PeerRoom:
    """Owns everything that the server has open towards TCP peers."""

    def __init__(self, server: TurnServer, pump: Callable[[], None], linger: float) -> None:
        """Args:
        server: is told what happens; its configuration says how long a half of a connection may be silent.
        pump: drains it.
        linger: seconds that a closed connection has to send what waits.
        """
        self._server = server
        self._pump = pump
        self._linger = linger
        self._half_closed = server.config.streams.half_closed
        self._loop = asyncio.get_running_loop()
        self._listening: dict[TransportAddress, asyncio.Task[asyncio.Server]] = {}
        self._dialling: dict[int, asyncio.Task[None]] = {}
        self._ends: dict[int, PeerEnd] = {}
        self._open: set[PeerEnd] = set()

    def __len__(self) -> int:
        return len(self._listening) + len(self._dialling) + len(self._open)

    # -- relayed addresses --

    def listen(self, address: TransportAddress) -> None:
        """Accept peers on a relayed address.

        Raises:
            OSError: it cannot be bound.
        """
        bound = bind_tcp(address, dialling=False)
        try:
            bound.listen(_BACKLOG)  # a port is taken only once somebody listens there
        except OSError:
            bound.close()
            raise
        accepted = lambda: PeerEnd(lambda end, peer: self._accepted(end, peer, address), self._lost, self._linger)  # noqa: E731
        self._listening[address] = self._loop.create_task(listen(bound, accepted, _BACKLOG))

    def stop_listening(self, address: TransportAddress) -> None:
        """Accept no more peers on a relayed address."""
        task = self._listening.pop(address, None)
        if task is not None:
            task.add_done_callback(lambda done: done.result().close())

    # -- connections --

    def dial(self, number: int, relay: TransportAddress, peer: TransportAddress) -> None:
        """Connect to a peer; the server is told how it went."""
        task = self._loop.create_task(self._dial(number, relay, peer))
        self._dialling[number] = task
        task.add_done_callback(lambda done: self._dialling.pop(number, None))

    def drop(self, number: int) -> None:
        """Close a connection or stop dialling."""
        if (task := self._dialling.get(number)) is not None:
            task.cancel()
        if (end := self._ends.pop(number, None)) is not None:
            end.close()

    def splice(self, number: int, connection: TcpConnection, early: bytes) -> None:
        """Carry bytes between a client's connection and a peer's."""
        end = self._ends.get(number)
        if end is None:
            connection.close()
            return
        meter = lambda size, to_peer: self._spliced(number, size, to_peer)  # noqa: E731
        splice(connection, end, early, meter, self._half_closed)

    async def close(self) -> None:
        """Close everything."""
        for address in list(self._listening):
            self.stop_listening(address)
        dialling = list(self._dialling.values())
        for task in dialling:
            task.cancel()
        if dialling:
            await asyncio.wait(dialling)
        for end in list(self._open):
            end.close()
        await asyncio.sleep(0)

    # -- inside --

    async def _dial(self, number: int, relay: TransportAddress, peer: TransportAddress) -> None:
        end = PeerEnd(lambda made, _: self._connected(number, made), self._lost, self._linger)
        try:
            await dial(relay, peer, end)
        except OSError:
            self._server.peer_failed(number, self._loop.time())
            self._pump()

    def _connected(self, number: int, end: PeerEnd) -> None:
        self._add(number, end)
        self._server.peer_connected(number, self._loop.time())
        self._pump()

    def _accepted(self, end: PeerEnd, peer: TransportAddress, relay: TransportAddress) -> None:
        number = self._server.peer_accepted(relay, peer, self._loop.time())
        if number is None:
            self._open.add(end)
            end.close()
            return
        self._add(number, end)
        self._pump()

    def _add(self, number: int, end: PeerEnd) -> None:
        end.number = number
        self._ends[number] = end
        self._open.add(end)

    def _lost(self, end: PeerEnd) -> None:
        self._open.discard(end)
        if self._ends.get(end.number) is end:
            del self._ends[end.number]
            self._server.peer_closed(end.number, self._loop.time())
            self._pump()

    def _spliced(self, number: int, size: int, to_peer: bool) -> float:
        return self._server.spliced(number, size, to_peer, self._loop.time())
