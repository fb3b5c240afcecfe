"""The fast path: ChannelData of UDP clients to relayed addresses, and what peers send there back to the client."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from struct import Struct

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.values import Icmp
from turn.aio.service.poller import Poller
from turn.aio.service.sockets import LINUX, BatchSocket, SocketCounters
from turn.service.allocation import Relay
from turn.service.server import TurnServer

__all__ = ["ClientSocket", "RelaySocket", "ToClient"]

_SIZE = 65535
_MOST = 64
"""Datagrams that one socket's turn reads at most."""
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_ERROR = Struct("=IBBBBII")
_ORIGIN_LOCAL = 1
_ICMP_ORIGINS = (2, 3)
_EMSGSIZE_AS_ICMP = {4: (3, 4), 6: (2, 0)}
"""Type and code of "too big": what the kernel knows of a path's MTU it tells without another ICMP message."""
_MAX_ERRORS = 16

ToClient = Callable[[FiveTuple, bytes], None]
"""Sends a message to a client of any transport but UDP."""
OnIcmp = Callable[[Icmp, TransportAddress, TransportAddress], None]
"""Takes an ICMP error, the relayed address it came to, and the peer that the datagram had been sent to."""
Slow = Callable[[bytes, FiveTuple], None]
"""Takes a datagram of a client that is no ChannelData."""


class ClientSocket(BatchSocket):
    """A listening address for UDP clients."""

    __slots__ = ("_clients", "_limit", "_server", "_slow", "_strip", "_time")

    def __init__(
        self, bound: socket.socket, poller: Poller, counters: SocketCounters, server: TurnServer, slow: Slow
    ) -> None:
        super().__init__(bound, poller, counters)
        self._server = server
        self._clients = server.door(self.local, TransportProtocol.UDP)
        self._slow = slow
        self._strip = bound.family == socket.AF_INET6
        self._time = asyncio.get_running_loop().time
        self._limit = 1

    def _readable(self, has_error: bool) -> None:
        receive, clients, strip = self._socket.recvfrom, self._clients, self._strip
        from_client = self._server.data.from_client
        now = self._time()
        touched: list[BatchSocket] = []
        limit, count = self._limit, 0
        while count < limit:
            try:
                data, remote = receive(_SIZE)
            except BlockingIOError:
                break
            except OSError:
                if self._socket.fileno() < 0:
                    break
                count += 1
                continue
            count += 1
            if strip:
                remote = _without_zone(remote)
            if not data or not 0x40 <= data[0] <= 0x7F:
                self._slow(data, FiveTuple(self.local, TransportAddress(remote[0], remote[1]), TransportProtocol.UDP))
                continue
            allocation = clients.get(remote)
            if allocation is None:
                self._server.stats.no_allocation += 1
                continue
            if allocation.pending_path is not None:
                path = FiveTuple(self.local, TransportAddress(remote[0], remote[1]), TransportProtocol.UDP)
                self._server.client_data(allocation, path)
            found = from_client(allocation, data, now)
            if found is not None and (port := found[0].port) is not None:
                port.queue(found[2], found[1], touched)
        self._counters.received += count
        self._limit = _next_limit(limit, count)
        for port in touched:
            port.flush()


class RelaySocket(BatchSocket):
    """The UDP socket of a relayed address."""

    __slots__ = ("_limit", "_on_icmp", "_relay", "_server", "_strip", "_time", "_to_client", "_udp")

    def __init__(
        self,
        bound: socket.socket,
        poller: Poller,
        counters: SocketCounters,
        server: TurnServer,
        udp: dict[TransportAddress, ClientSocket],
        to_client: ToClient,
        on_icmp: OnIcmp,
    ) -> None:
        """Args:
        bound: the socket.
        poller: watches it.
        counters: of the server.
        server: decides.
        udp: the sockets that UDP clients are reached by.
        to_client: reaches all other clients.
        on_icmp: takes what the kernel says about datagrams that were sent from here.
        """
        super().__init__(bound, poller, counters)
        self._server = server
        self._relay: Relay | None = None
        self._udp = udp
        self._to_client = to_client
        self._on_icmp = on_icmp
        self._strip = bound.family == socket.AF_INET6
        self._time = asyncio.get_running_loop().time
        self._limit = 1
        if LINUX and self._strip:
            bound.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
        elif LINUX:
            bound.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)

    def attach(self, relay: Relay) -> None:
        """Belong to a relay of the server's table from now on."""
        self._relay = relay
        relay.port = self

    def _readable(self, has_error: bool) -> None:
        if has_error:
            self._read_errors()
        relay = self._relay
        allocation = relay.allocation if relay is not None else None
        if relay is None or allocation is None:
            self._discard()
            return
        path = allocation.path
        client = self._udp.get(path.local) if path.protocol is TransportProtocol.UDP else None
        receive, from_peer, strip = self._socket.recvfrom, self._server.data.from_peer, self._strip
        now = self._time()
        touched: list[BatchSocket] = []
        limit, count = self._limit, 0
        while count < limit:
            try:
                data, peer = receive(_SIZE)
            except BlockingIOError:
                break
            except OSError:
                count += 1  # an error that the error queue tells too
                continue
            count += 1
            if strip:
                peer = _without_zone(peer)
            message = from_peer(relay, data, peer, now)
            if message is None:
                continue
            if client is not None:
                client.queue(message, path.remote, touched)
            else:
                self._to_client(path, message)
        self._counters.received += count
        self._limit = _next_limit(limit, count)
        for port in touched:
            port.flush()

    def _discard(self) -> None:
        """Read and drop what arrives at a port that is only held."""
        try:
            for _ in range(_MOST):
                self._socket.recvfrom(_SIZE)
        except OSError:
            pass

    def _read_errors(self) -> None:
        """Tell the server what ICMP said about datagrams that were sent from here."""
        for _ in range(_MAX_ERRORS):
            try:
                _, ancillary, _, peer = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE)
            except OSError:
                return
            for _, _, payload in ancillary:
                if len(payload) < _ERROR.size or self._relay is None:
                    continue
                error = self._icmp(payload)
                if error is not None:
                    self._on_icmp(error, self.local, TransportAddress(*_without_zone(peer)))

    def _icmp(self, payload: bytes) -> Icmp | None:
        _, origin, kind, code, _, info, _ = _ERROR.unpack_from(payload)
        too_big = _EMSGSIZE_AS_ICMP[self.local.family]
        if origin == _ORIGIN_LOCAL:
            kind, code = too_big
        elif origin not in _ICMP_ORIGINS:
            return None
        is_too_big = (kind, code) == too_big
        return Icmp(kind, code, info.to_bytes(4, "big") if is_too_big else bytes(4))


def _next_limit(limit: int, count: int) -> int:
    # A read that finds nothing costs as much as one that does: look for as many as there were last time, or more.
    return min(2 * limit, _MOST) if count == limit else max(count, 1)


def _without_zone(remote: tuple[str, int]) -> tuple[str, int]:
    host = remote[0]
    return (host.partition("%")[0] if "%" in host else host), remote[1]
