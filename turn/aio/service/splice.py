"""TCP peers (RFC 6062): listening on and dialling from relayed addresses, and splicing them with clients' streams.

Nothing is read from a peer before its connection is spliced: what it sends waits in the kernel, whose buffers are
bounded. Afterwards an end that cannot send stops the other one from reading.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import cast

from stun.address import TransportAddress
from stun.aio.tcp import TcpConnection

__all__ = ["PeerEnd", "bind_tcp", "dial", "listen", "splice"]

Meter = Callable[[int, bool], float]
"""Called with the size of what is carried and whether it goes to the peer; returns seconds to stop reading for."""


def bind_tcp(address: TransportAddress, *, dialling: bool) -> socket.socket:
    """Return a TCP socket bound to a relayed address: first the one that listens, then beside it those that dial.

    Raises:
        OSError: the address cannot be bound.
    """
    bound = socket.socket(socket.AF_INET6 if address.family == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.family == 6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if dialling:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
        # The listener shares its port only once it has it, so that nobody else's port is joined.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except BaseException:
        bound.close()
        raise
    return bound


class _End(asyncio.Protocol, ABC):
    """One end of a splice."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self._meter: Meter | None = None
        self._to_peer = False
        self._timer: asyncio.TimerHandle | None = None
        self._silence: asyncio.TimerHandle | None = None
        """Runs once this end has finished."""
        self._half_closed = 0.0
        self._heard = 0.0
        self._blocked = True
        """The other end cannot send."""

    def join(self, other: _End, meter: Meter, to_peer: bool, half_closed: float) -> None:
        """Send what arrives here to ``other`` from now on."""
        self.other, self._meter, self._to_peer, self._half_closed = other, meter, to_peer, half_closed
        self._blocked = False
        self._read_on()

    def write(self, data: bytes) -> None:
        """Send; harmless when the connection is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    @abstractmethod
    def close(self) -> None:
        """Close after what was sent, if that is read in time."""

    def data_received(self, data: bytes) -> None:
        """asyncio's call for bytes."""
        if self.other is None or self._meter is None:
            return
        self.other.write(data)
        loop = asyncio.get_running_loop()
        self._heard = loop.time()
        delay = self._meter(len(data), self._to_peer)
        if delay > 0 and self.transport is not None and self._timer is None:
            self.transport.pause_reading()
            self._timer = loop.call_later(delay, self._paid)

    def eof_received(self) -> bool:
        """asyncio's call when this end sends no more; the other way stays open where that is possible."""
        other = self.other
        if other is None or other.transport is None or other.transport.is_closing():
            return False
        if other._silence is not None or not other.transport.can_write_eof():
            return False  # both have finished, or TLS, which knows no half of a connection
        other.transport.write_eof()
        other._heard = asyncio.get_running_loop().time()
        self._watch(self._half_closed)
        return True

    def _watch(self, seconds: float) -> None:
        self._silence = asyncio.get_running_loop().call_later(seconds, self._silent)

    def _silent(self) -> None:
        """Close both ends when the one that has not finished has sent nothing for as long as it may."""
        if self.other is None:
            return
        left = self.other._heard + self._half_closed - asyncio.get_running_loop().time()
        if left > 0:
            self._watch(left)
        else:
            self.other.close()
            self.close()

    def pause_writing(self) -> None:
        """asyncio's call when too much waits to be sent."""
        if self.other is not None:
            self.other._block()

    def resume_writing(self) -> None:
        """asyncio's call when it has been sent."""
        if self.other is not None:
            self.other._blocked = False
            self.other._read_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call when the connection is gone; the other end goes too."""
        self.transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._silence is not None:
            self._silence.cancel()
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            other.close()

    def _block(self) -> None:
        self._blocked = True
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def _paid(self) -> None:
        self._timer = None
        self._read_on()

    def _read_on(self) -> None:
        if self.transport is not None and not self._blocked and self._timer is None and not self.transport.is_closing():
            self.transport.resume_reading()


class PeerEnd(_End):
    """A connection to a peer; it reads nothing until it is spliced."""

    def __init__(
        self, made: Callable[[PeerEnd, TransportAddress], None], lost: Callable[[PeerEnd], None], linger: float
    ) -> None:
        """Args:
        made: called with the peer's address once connected.
        lost: called once when the connection is gone.
        linger: seconds that a closed connection has to send what waits; a peer that does not read loses it.
        """
        super().__init__()
        self._linger = linger
        self._aborting: asyncio.TimerHandle | None = None
        self.number = 0
        """What the server calls this connection."""
        self._made = made
        self._lost = lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's call when the connection is there."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.pause_reading()
        peer = transport.get_extra_info("peername")
        if peer:
            self._made(self, TransportAddress(peer[0].partition("%")[0], peer[1]))
        else:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call when the connection is gone."""
        super().connection_lost(exc)
        if self._aborting is not None:
            self._aborting.cancel()
        self._lost(self)

    def close(self) -> None:
        """Close after what was sent; harmless twice."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size():
            self._aborting = asyncio.get_running_loop().call_later(self._linger, transport.abort)
        transport.close()


class _ClientEnd(_End):
    """A client's data connection, taken over from the protocol that made it."""

    def __init__(self, connection: TcpConnection, transport: asyncio.Transport) -> None:
        super().__init__()
        self._connection = connection
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio's call when the connection is gone; its maker has to know."""
        super().connection_lost(exc)
        self._connection.connection_lost(exc)

    def close(self) -> None:
        """Close as its maker does."""
        self._connection.close()


def splice(connection: TcpConnection, peer: PeerEnd, early: bytes, meter: Meter, half_closed: float) -> None:
    """Carry bytes between a client's connection and a peer's, both ways, until one of them is closed.

    Once one end has finished, both are closed when the other has too, or was silent for ``half_closed`` seconds.
    """
    transport = connection.transport
    if transport is None or transport.is_closing() or peer.transport is None:
        peer.close()
        connection.close()
        return
    client = _ClientEnd(connection, transport)
    transport.set_protocol(client)
    if early:
        peer.write(early)
        meter(len(early), True)
    client.join(peer, meter, True, half_closed)
    peer.join(client, meter, False, half_closed)


async def listen(bound: socket.socket, make: Callable[[], PeerEnd], backlog: int) -> asyncio.Server:
    """Accept peers' connections on a bound socket."""
    return await asyncio.get_running_loop().create_server(make, sock=bound, backlog=backlog)


async def dial(local: TransportAddress, peer: TransportAddress, end: PeerEnd) -> None:
    """Connect to a peer from a relayed address.

    Raises:
        OSError: it refuses, is not there, or the address cannot be dialled from.
    """
    loop = asyncio.get_running_loop()
    bound = bind_tcp(local, dialling=True)
    try:
        await loop.sock_connect(bound, peer)
        await loop.create_connection(lambda: end, sock=bound)
    except BaseException:
        bound.close()
        raise
