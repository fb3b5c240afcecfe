"""The server's UDP sockets: those that clients reach, those of relayed addresses, and how they send in batches.

What one wake-up reads is forwarded when it has been read: datagrams of one size to one destination leave in one system
call (UDP_SEGMENT, Linux 4.18), because walking the kernel's stack once a datagram is what bounds a relay.
"""

from __future__ import annotations

import errno
import socket
import sys
from struct import Struct

from stun.address import TransportAddress
from turn.aio.service.poller import Poller

__all__ = ["BatchSocket", "SocketCounters", "bind_udp"]

_UDP_SEGMENT = 103
_SO_RCVBUFFORCE = 33
_SO_SNDBUFFORCE = 32
_U16 = Struct("=H")
_MAX_SEGMENTS = 64
_MAX_BATCH = 65000
_IP_MTU_DISCOVER = 10
_IPV6_MTU_DISCOVER = 23
_PMTUDISC_DONT = 0
_PMTUDISC_DO = 2

LINUX = sys.platform == "linux"


class SocketCounters:
    """What the sockets of one server have done."""

    __slots__ = ("batches", "datagrams", "dropped", "received", "unsegmented")

    def __init__(self) -> None:
        self.received = 0
        """Datagrams read."""
        self.datagrams = 0
        """Datagrams handed to the kernel."""
        self.batches = 0
        """System calls that sent more than one."""
        self.unsegmented = 0
        """Batches that the kernel did not take as such."""
        self.dropped = 0
        """Datagrams that the kernel did not take."""


def bind_udp(address: TransportAddress, buffer: int = 0) -> socket.socket:
    """Return a non-blocking UDP socket bound to ``address``; IPv6 ones take IPv6 only.

    Args:
        address: port 0 picks one.
        buffer: bytes of its kernel buffers, as far as the system allows; 0 leaves the default.

    Raises:
        OSError: the address cannot be bound.
    """
    version6 = address.family == 6
    bound = socket.socket(socket.AF_INET6 if version6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        if buffer:
            _set_buffers(bound, buffer)
        if version6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if LINUX:  # DF is set only where a client asks for it (RFC 8656 section 14)
            _discover(bound, _PMTUDISC_DONT)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def _set_buffers(bound: socket.socket, size: int) -> None:
    for force, plain in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            bound.setsockopt(socket.SOL_SOCKET, force, size)
        except OSError:  # not root, or not Linux: as much as the system's limit allows
            bound.setsockopt(socket.SOL_SOCKET, plain, size)


def _discover(bound: socket.socket, mode: int) -> None:
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, mode)
    else:
        bound.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, mode)


class BatchSocket:
    """A bound UDP socket that gathers what is to be sent until :meth:`flush`."""

    __slots__ = ("_counters", "_pending", "_poller", "_remote", "_segmented", "_short", "_size", "_socket", "local")

    def __init__(self, bound: socket.socket, poller: Poller, counters: SocketCounters) -> None:
        host, port = bound.getsockname()[:2]
        self.local = TransportAddress(host.partition("%")[0], port)
        """The address it is bound to; the port is the real one."""
        self._socket = bound
        self._poller = poller
        self._counters = counters
        self._segmented = LINUX
        self._pending: list[bytes] | None = None
        self._remote: tuple[str, int] = self.local
        self._size = 0
        self._short = False
        poller.add(bound, self._readable)

    def _readable(self, has_error: bool) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Stop receiving and free the port; harmless twice."""
        if self._socket.fileno() >= 0:
            self._pending = None
            self._poller.remove(self._socket)
            self._socket.close()

    def send(self, data: bytes, remote: tuple[str, int]) -> bool:
        """Send one datagram now; False when the kernel would not take it."""
        counters = self._counters
        for _ in range(2):
            try:
                self._socket.sendto(data, remote)
            except BlockingIOError:
                break
            except OSError as error:
                # An ICMP error about an earlier datagram is reported here too, and then this one was not sent.
                if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH):
                    break
            else:
                counters.datagrams += 1
                return True
        counters.dropped += 1
        return False

    def send_unfragmented(self, data: bytes, remote: tuple[str, int]) -> bool:
        """Send one datagram with the DF bit set; False when it was not sent."""
        if not LINUX:
            return False
        _discover(self._socket, _PMTUDISC_DO)
        try:
            return self.send(data, remote)
        finally:
            _discover(self._socket, _PMTUDISC_DONT)

    def queue(self, data: bytes, remote: tuple[str, int], touched: list[BatchSocket]) -> None:
        """Gather one datagram; the socket is put into ``touched`` when it was not yet."""
        pending = self._pending
        size = len(data)
        if pending:
            if (
                self._short
                or not size
                or size > self._size
                or (remote is not self._remote and remote != self._remote)
                or len(pending) >= _MAX_SEGMENTS
                or self._size * (len(pending) + 1) > _MAX_BATCH
            ):
                self._send_pending()
                pending = self._pending = []
            else:
                pending.append(data)
                self._short = size < self._size
                return
        else:
            touched.append(self)
            pending = self._pending = []
        pending.append(data)
        self._remote = remote
        self._size = size
        self._short = not size or not self._segmented

    def flush(self) -> None:
        """Send what was gathered."""
        if self._pending:
            self._send_pending()
            self._pending = None

    def _send_pending(self) -> None:
        pending = self._pending
        assert pending is not None
        if len(pending) == 1:
            self.send(pending[0], self._remote)
            return
        counters = self._counters
        try:
            self._socket.sendmsg(pending, [(socket.IPPROTO_UDP, _UDP_SEGMENT, _U16.pack(self._size))], 0, self._remote)
        except BlockingIOError:
            counters.dropped += len(pending)
        except OSError as error:
            # Larger than the path's MTU, a device or kernel that cannot, or the report of an earlier datagram's fate.
            counters.unsegmented += 1
            if error.errno in (errno.ENOPROTOOPT, errno.EIO, errno.EOPNOTSUPP):
                self._segmented = False
            for data in pending:
                self.send(data, self._remote)
        else:
            counters.batches += 1
            counters.datagrams += len(pending)
