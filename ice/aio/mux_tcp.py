"""The TCP half of a mux on asyncio: one listening socket for each address, and whose each connection becomes."""

from __future__ import annotations

import asyncio
import errno
import socket

from ice.aio.tcp_sockets import Accepted
from ice.mux import MuxRoutes, Seat
from ice.mux_stats import Drop
from ice.mux_tcp import Strangers
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.tcp import address_of, bind_listener

__all__ = ["MuxListener", "TcpDoor"]

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class MuxListener:
    """What one session has of a shared listening socket."""

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
        self.loop = asyncio.get_running_loop()
        """The loop that watches the sockets."""
        self._routes = routes
        self._listening: dict[TransportAddress, socket.socket] = {}
        self._residents: dict[TransportAddress, dict[Seat, Accepted]] = {}
        self._visitors: dict[FiveTuple, _Visitor] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._pauses: set[asyncio.TimerHandle] = set()

    def listen(self, local: TransportAddress) -> TransportAddress:
        """Listen on a shared address (port 0 picks one) and return it.

        Raises:
            OSError: it cannot be bound.
        """
        bound = bind_listener(local)
        try:
            bound.setblocking(False)
            bound.listen(self._routes.config.backlog)
        except BaseException:
            bound.close()
            raise
        address = address_of(bound.getsockname())
        self._listening[address], self._residents[address] = bound, {}
        self._watch(address)
        return address

    def attach(self, seat: Seat, local: TransportAddress, accepted: Accepted) -> MuxListener:
        """Let a session take connections at a shared address.

        Raises:
            OSError: nothing listens there, or the session takes them already.
        """
        residents = self._residents.get(local)
        if residents is None or seat in residents:
            raise OSError(errno.EADDRINUSE, f"the session cannot listen at {local}")
        residents[seat] = accepted
        return MuxListener(self, seat, local)

    def forget(self, seat: Seat, local: TransportAddress | None = None) -> None:
        """Let a session take no more connections, at one address or at all; harmless twice."""
        for address in list(self._residents) if local is None else [local]:
            self._residents.get(address, {}).pop(seat, None)

    def close(self) -> None:
        """Stop listening and close what has no owner; harmless twice."""
        for bound in self._listening.values():
            if not self.loop.is_closed():
                self.loop.remove_reader(bound.fileno())
            bound.close()
        for visitor in list(self._visitors.values()):
            visitor.close()
        for timer in (*self._pauses, *([self._timer] if self._timer is not None else ())):
            timer.cancel()
        for table in (self._listening, self._residents, self._visitors, self._pauses):
            table.clear()
        self._timer = None

    # -- accepting --

    def _watch(self, address: TransportAddress) -> None:
        self.loop.add_reader(self._listening[address].fileno(), self._acceptable, address)

    def _acceptable(self, address: TransportAddress) -> None:
        bound = self._listening[address]
        for _ in range(self._routes.config.backlog):
            try:
                accepted, remote = bound.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:  # The connection still waits: without a pause we would never sleep.
                    self._pause(address)
                return
            accepted.setblocking(False)
            self._enter(accepted, FiveTuple(address, address_of(remote), TransportProtocol.TCP))

    def _pause(self, address: TransportAddress) -> None:
        def go_on() -> None:
            self._pauses.discard(timer)
            self._watch(address)

        self.loop.remove_reader(self._listening[address].fileno())
        timer = self.loop.call_later(self._routes.config.accept_pause, go_on)
        self._pauses.add(timer)

    def _enter(self, accepted: socket.socket, path: FiveTuple) -> None:
        if path in self._visitors or not self.strangers.opened(path, self.loop.time()):
            accepted.close()
            return
        self._visitors[path] = _Visitor(self, accepted, path, self._routes.config.first_pause)
        self._arm()

    # -- one connection --

    def consider(self, data: bytes, visitor: _Visitor) -> bool:
        """Look at all that has arrived on a connection; False when more has to come before it is known whose it is."""
        verdict = self.strangers.receive(data, visitor.path)
        if verdict is None:
            return False
        del self._visitors[visitor.path]
        if isinstance(verdict, Drop):
            visitor.close()
        elif (accepted := self._residents[visitor.path.local].get(verdict)) is None:
            self._routes.dropped[Drop.CONNECTION_UNWANTED] += 1
            visitor.close()
        else:
            accepted(visitor.release(), visitor.path.remote)
        return True

    def gone(self, visitor: _Visitor) -> None:
        """A connection has ended that had no owner."""
        self.strangers.closed(visitor.path)
        del self._visitors[visitor.path]
        visitor.close()

    def _arm(self) -> None:
        deadline = self.strangers.next_timeout()
        if self._timer is None and deadline is not None:
            self._timer = self.loop.call_at(deadline.at, self._timeout, deadline.at)

    def _timeout(self, at: float) -> None:
        self._timer = None
        for path in self.strangers.handle_timeout(max(at, self.loop.time())):
            self._visitors.pop(path).close()
        self._arm()


class _Visitor:
    """A connection until it has an owner. What arrives is peeked at, so that the owner finds it unread."""

    __slots__ = ("_door", "_pause", "_socket", "_timer", "path")

    def __init__(self, door: TcpDoor, accepted: socket.socket, path: FiveTuple, pause: float) -> None:
        self.path = path
        self._door = door
        self._socket = accepted
        self._pause = pause
        self._timer: asyncio.TimerHandle | None = None
        self._watch()

    def _watch(self) -> None:
        self._timer = None
        self._door.loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(self._door.strangers.enough, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._door.gone(self)
        elif not self._door.consider(data, self):
            # What we leave unread keeps the socket readable, so look again only after a while.
            self._door.loop.remove_reader(self._socket.fileno())
            self._timer = self._door.loop.call_later(self._pause, self._watch)
            self._pause *= 2

    def release(self) -> socket.socket:
        """Return the socket, which is its owner's from now on."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._door.loop.is_closed():
            self._door.loop.remove_reader(self._socket.fileno())
        return self._socket

    def close(self) -> None:
        """Close at once."""
        self.release().close()
