"""Listening and connecting on one port, without blocking, on the sockets of the operating system (RFC 6544 5, 7.1)."""

from __future__ import annotations

import asyncio
import errno
import socket
import sys
from collections.abc import Callable

from ice.tcp import ConnectError
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress

__all__ = ["Accepted", "Dialled", "SystemTcp", "TcpDial", "TcpListener"]

_ERRORS = {
    errno.ECONNREFUSED: ConnectError.REFUSED,
    errno.ECONNRESET: ConnectError.REFUSED,
    errno.EHOSTUNREACH: ConnectError.UNREACHABLE,
    errno.ENETUNREACH: ConnectError.UNREACHABLE,
    errno.ETIMEDOUT: ConnectError.TIMED_OUT,
    errno.EADDRINUSE: ConnectError.IN_USE,
    errno.EADDRNOTAVAIL: ConnectError.IN_USE,
    errno.EALREADY: ConnectError.IN_USE,
}

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Accepted = Callable[[socket.socket, TransportAddress], None]
"""Takes an accepted connection, non-blocking, and where it comes from; must not raise."""
Dialled = Callable[[socket.socket | ConnectError], None]
"""Takes the connection, or why there is none; called once, and not after ``cancel``."""


class TcpListener:
    """A port that connections are accepted at, and may be opened from."""

    def __init__(self, listening: socket.socket, accepted: Accepted, backlog: int, pause: float) -> None:
        """Args:
        listening: the socket, ours from now on.
        accepted: takes each connection.
        backlog: how many are taken in one turn of the loop.
        pause: seconds for which none is taken after the system had no descriptor or memory for one.
        """
        host, port = listening.getsockname()[:2]
        self.local = TransportAddress(host, port)
        """The address; the port is the real one."""
        self._socket = listening
        self._accepted = accepted
        self._backlog = backlog
        self._pause = pause
        self._paused: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._loop.add_reader(listening.fileno(), self._readable)

    def _readable(self) -> None:
        for _ in range(self._backlog):
            if self._closed:
                return
            try:
                accepted, remote = self._socket.accept()
            except OSError as error:  # None waits, or it is gone again.
                if error.errno in _EXHAUSTED:  # It still waits: without a pause the loop would never sleep.
                    self._loop.remove_reader(self._socket.fileno())
                    self._paused = self._loop.call_later(self._pause, self._go_on)
                return
            accepted.setblocking(False)
            self._accepted(accepted, TransportAddress(remote[0].partition("%")[0], remote[1]))

    def _go_on(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Stop listening; harmless twice."""
        if not self._closed:
            self._closed = True
            if self._paused is not None:
                self._paused.cancel()
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()


class TcpDial:
    """A connection that is being opened."""

    def __init__(self, opening: socket.socket, remote: TransportAddress, ttl: int | None, dialled: Dialled) -> None:
        self._socket = opening
        self._dialled = dialled
        self._loop = asyncio.get_running_loop()
        self._old_ttl = _set_ttl(opening, ttl) if ttl is not None else None
        self._done = False
        code = opening.connect_ex(tuple(remote))
        if code in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._loop.add_writer(opening.fileno(), self._writable)
        else:
            self._loop.call_soon(self._finish, code)

    def _writable(self) -> None:
        if not self._done:
            self._loop.remove_writer(self._socket.fileno())
            self._finish(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))

    def _finish(self, code: int) -> None:
        if self._done:
            return
        self._done = True
        if code:
            self._socket.close()
            self._dialled(_ERRORS.get(code, ConnectError.OTHER))
            return
        if self._old_ttl is not None:
            _set_ttl(self._socket, self._old_ttl)
        self._dialled(self._socket)

    def cancel(self) -> None:
        """Give up; harmless twice, and once it is done."""
        if not self._done:
            self._done = True
            if not self._loop.is_closed():
                self._loop.remove_writer(self._socket.fileno())
            self._socket.close()


class SystemTcp:
    """TCP as the operating system has it. Anything with these two methods can take its place."""

    def __init__(self, config: TcpConfig | None = None) -> None:
        self._pause = (config or TcpConfig()).accept_pause

    def listen(self, local: TransportAddress, accepted: Accepted, backlog: int) -> TcpListener:
        """Listen on ``local`` (port 0 picks one), on a port that :meth:`dial` can open connections from as well.

        Raises:
            OSError: the address cannot be bound.
        """
        listening = _socket(local)
        try:
            _bind(listening, local, shared=False)
            # Only now that the port is ours alone: a port that the kernel picks for sharing may be somebody's.
            _share(listening)
            listening.listen(backlog)
            return TcpListener(listening, accepted, backlog, self._pause)
        except BaseException:
            listening.close()
            raise

    def dial(
        self, local: TransportAddress, remote: TransportAddress, dialled: Dialled, ttl: int | None = None
    ) -> TcpDial:
        """Begin to open a connection from ``local``; with port 0 from any port.

        Raises:
            OSError: the address cannot be bound.
        """
        opening = _socket(local)
        try:
            _bind(opening, local, shared=local.port != 0)
            return TcpDial(opening, remote, ttl, dialled)
        except BaseException:
            opening.close()
            raise


def _socket(local: TransportAddress) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if local.family == 6 else socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    if local.family == 6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


def _bind(made: socket.socket, local: TransportAddress, shared: bool) -> None:
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _share(made)
    made.bind(tuple(local))


def _share(made: socket.socket) -> None:
    if sys.platform != "win32":
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _set_ttl(made: socket.socket, ttl: int) -> int:
    """Set the time to live (IPv6: the hop limit) and return what it was."""
    if made.family == socket.AF_INET6:
        level, option = socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS
    else:
        level, option = socket.IPPROTO_IP, socket.IP_TTL
    old = made.getsockopt(level, option)
    made.setsockopt(level, option, ttl)
    return old
