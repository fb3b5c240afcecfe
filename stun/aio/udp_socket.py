"""UDP sockets: non-blocking, and read in batches straight from the loop's selector.

asyncio's DatagramProtocol makes a call, a buffer and often a queue entry per datagram; here a wake-up reads until the
kernel has no more (or the batch is full) and hands every datagram to the receiver at once.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial

from stun.address import TransportAddress
from stun.aio.alarms import Alarms
from stun.aio.offload import CoalescedReader, SegmentedSender
from stun.config import UdpConfig
from stun.network import DatagramReceiver, DatagramSocket, SocketAddress

__all__ = ["Ipv6Socket", "UdpSocket", "configure"]


def configure(bound: socket.socket, config: UdpConfig) -> None:
    """Set what every socket here needs, before it is bound.

    Raises:
        OSError: the system refuses one of the settings.
    """
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, config.receive_buffer)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, config.send_buffer)
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def _share_port(bound: socket.socket, shared: bool) -> None:
    # Set only while a twin is bound: a port that the kernel picks for a sharing socket may already be somebody's.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))


class UdpSocket:
    """A bound, non-blocking UDP socket (:class:`stun.network.DatagramSocket`)."""

    __slots__ = (
        "_alarms",
        "_batch",
        "_closed",
        "_coalesced",
        "_config",
        "_crowd",
        "_loop",
        "_max_datagram",
        "_receiver",
        "_sendto",
        "_socket",
        "local",
        "send_failures",
        "socket_errors",
    )

    def __init__(
        self,
        bound: socket.socket,
        receiver: DatagramReceiver,
        config: UdpConfig,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        host, port = bound.getsockname()[:2]
        self.local = TransportAddress(host, port)
        """The address it is bound to; the port is the real one."""
        self.send_failures = 0
        """Datagrams that the kernel did not take."""
        self.socket_errors = 0
        """Errors that reads reported (an ICMP error on some platforms)."""
        self._socket = bound
        self._sendto = bound.sendto
        self._receiver = receiver
        self._config = config
        self._batch = config.batch
        self._max_datagram = config.max_datagram
        self._coalesced = CoalescedReader(bound, config.offload)
        self._crowd = min(config.offload.crowd_begins_at, config.batch)
        self._loop = loop
        self._closed = False
        self._alarms = Alarms.of(loop)
        loop.add_reader(bound.fileno(), self._readable)

    def send(self, data: bytes, remote: SocketAddress) -> bool:
        """Send one datagram; False when the kernel would not take it (it is then dropped), never an error."""
        try:
            self._sendto(data, remote)
        except OSError:  # full buffer, no route, too long, closed: to the protocols above all of them are loss
            self.send_failures += 1
            return False
        return True

    def connect(self, remote: SocketAddress) -> DatagramSocket | None:
        """Return a second socket on our port for one peer alone, or None where the system cannot do that.

        Datagrams to and from that peer then skip the route and address look-ups of an unconnected socket; all others
        stay with us. Both have the same receiver. The second one has to be closed before, or with, this one.
        """
        if self._closed or sys.platform != "linux":
            return None  # Elsewhere two sockets on a port share datagrams by other rules.
        twin = socket.socket(self._socket.family, socket.SOCK_DGRAM)
        try:
            configure(twin, self._config)
            _share_port(self._socket, True)
            _share_port(twin, True)
            twin.bind(self._socket.getsockname())
            twin.connect(self._peer_address(remote))
        except OSError:
            twin.close()
            return None
        finally:
            _share_port(self._socket, False)  # So that no other process joins in.
        _share_port(twin, False)
        return _ConnectedSocket(twin, self._receiver, self._config, self._loop)

    def lane(self, remote: SocketAddress) -> DatagramSocket | None:
        """Return a way to send to one peer on this very socket that takes several datagrams to the kernel at a time.

        None where the system cannot do that. It opens no file; what arrives is not affected. It has to be closed before
        this socket.
        """
        if self._closed or sys.platform != "linux" or not self._config.offload.enabled:
            return None
        return _Lane(self.local, self._sender_to(remote))

    def _sender_to(self, remote: SocketAddress) -> SegmentedSender:
        peer, send_one = self._peer_address(remote), partial(self._send_to, remote)
        return SegmentedSender(self._socket, send_one, self._lost, self._config.offload, self._loop, peer)

    def _send_to(self, remote: SocketAddress, data: bytes) -> bool:
        return self.send(data, remote)

    def _lost(self, count: int) -> None:
        self.send_failures += count

    def _peer_address(self, remote: SocketAddress) -> tuple[str, int] | tuple[str, int, int, int]:
        return remote[0], remote[1]

    def close(self) -> None:
        """Stop receiving and free the port; harmless twice."""
        if not self._closed:
            self._closed = True
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        if self._coalesced.is_on:
            self._read_coalesced()
            return
        receive = self._socket.recvfrom
        receiver = self._receiver
        size = self._max_datagram
        for count in range(self._batch):
            try:
                data, remote = receive(size)
            except BlockingIOError:
                if count >= self._crowd:
                    self._coalesced.note_crowd()
                return
            except OSError:
                # Closed by the receiver, or an ICMP error that the platform reports here.
                if self._closed:
                    return
                self.socket_errors += 1
                continue
            receiver(data, remote)
        if not self._closed:
            self._coalesced.note_crowd()
            self._alarms.note_backlog()

    def _read_coalesced(self) -> None:
        read, receiver = self._coalesced.read, self._receiver
        count = 0
        while count < self._batch:
            try:
                datagrams, remote = read()
            except BlockingIOError:
                return
            except OSError:
                if self._closed:
                    return
                self.socket_errors += 1
                count += 1
                continue
            count += len(datagrams)
            for data in datagrams:
                if self._closed:  # By the receiver.
                    return
                receiver(data, remote)
        self._alarms.note_backlog()


class _ConnectedSocket(UdpSocket):
    """A socket for one peer; see :meth:`UdpSocket.connect`."""

    __slots__ = ("_send", "_together")

    def __init__(
        self,
        bound: socket.socket,
        receiver: DatagramReceiver,
        config: UdpConfig,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(bound, receiver, config, loop)
        self._send = bound.send
        self._together: SegmentedSender | None = None
        if config.offload.enabled:
            self._together = SegmentedSender(bound, self._send_one, self._lost, config.offload, loop)

    def send(self, data: bytes, remote: SocketAddress) -> bool:
        """As the base; ``remote`` is the peer that it is connected to.

        What is sent in one turn of the loop may leave at its end; what the kernel does not take then is counted.
        """
        return self._send_one(data) if self._together is None else self._together.send(data)

    def close(self) -> None:
        """As the base; what waits is sent first."""
        if self._together is not None and not self._closed:
            self._together.close()
        super().close()

    def _send_one(self, data: bytes) -> bool:
        try:
            self._send(data)
        except ConnectionRefusedError:
            # The report of an earlier datagram's fate, which keeps this one from being sent.
            return UdpSocket.send(self, data, self._socket.getpeername())
        except OSError:
            self.send_failures += 1
            return False
        return True


class _Lane:
    """The way to one peer on a socket that others send on, too; see :meth:`UdpSocket.lane`."""

    __slots__ = ("_together", "local")

    def __init__(self, local: TransportAddress, together: SegmentedSender) -> None:
        self.local = local
        self._together = together

    def send(self, data: bytes, remote: SocketAddress) -> bool:
        """As of :class:`UdpSocket`; ``remote`` is the peer that it is for."""
        return self._together.send(data)

    def close(self) -> None:
        """Send what waits; harmless twice."""
        self._together.close()


class Ipv6Socket(UdpSocket):
    """As its base; the kernel's four-tuples become ``(host, port)``, and link-local peers get our own zone."""

    __slots__ = ("_scope",)

    def __init__(
        self,
        bound: socket.socket,
        receiver: DatagramReceiver,
        config: UdpConfig,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._scope: int = bound.getsockname()[3]

        def without_zone(data: bytes, remote: SocketAddress) -> None:
            host = remote[0]
            receiver(data, (host.partition("%")[0] if "%" in host else host, remote[1]))

        super().__init__(bound, without_zone, config, loop)

    def send(self, data: bytes, remote: SocketAddress) -> bool:
        """As the base; a link-local peer is looked for on our own link."""
        if not self._scope:
            return UdpSocket.send(self, data, remote)
        try:
            self._socket.sendto(data, (remote[0], remote[1], 0, self._scope))
        except OSError:
            self.send_failures += 1
            return False
        return True

    def _peer_address(self, remote: SocketAddress) -> tuple[str, int, int, int]:
        return remote[0], remote[1], 0, self._scope
