"""A DTLS listener on UDP (RFC 7350) that keeps nothing for a client before it shows that it receives at its address."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import Callable

from OpenSSL import SSL

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.dtls import RecordPump
from stun.aio.dtls_session import DtlsSession, Phase, dtls_server_context
from stun.aio.udp import UdpNetwork
from stun.config import DtlsConfig, ListenerConfig
from stun.dtls_cookie import ClientHello, CookieExchange, HelloVerdict, is_handshake, parse_client_hello
from stun.errors import StunParseError
from stun.network import DatagramSocket, Network
from stun.rate_limit import RateLimiter, source_key

__all__ = ["DtlsConnection", "DtlsListener", "dtls_server_context", "serve_dtls"]

logger = logging.getLogger("stun")


class DtlsConnection:
    """One client's session; what the callbacks of :func:`serve_dtls` get."""

    is_stream = False

    def __init__(
        self,
        path: FiveTuple,
        hello: ClientHello,
        session: DtlsSession,
        send: Callable[[bytes], bool],
        ended: Callable[[DtlsConnection], None],
    ) -> None:
        self.path = path
        """Both ends."""
        self.error: Exception | None = None
        """Why the session was lost, once it is; None for an orderly end."""
        self._loop = asyncio.get_running_loop()
        self.active = self.began = self._loop.time()
        """When the client last sent something that was a record of this session, and when it began."""
        self.client_random = hello.random
        """Of the ClientHello, which tells a retransmission from a new session."""
        self.is_open = False
        """Whether ``opened`` was called."""
        self.session = session
        self.pump = RecordPump(session, send)
        self._ended = ended

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be sent (any more)."""
        return self.session.phase is not Phase.OPEN

    @property
    def alpn(self) -> str | None:
        """What ALPN agreed on, or None."""
        return self.session.alpn

    def send(self, data: bytes) -> bool:
        """Send one datagram; False when it was dropped."""
        return self.session.send(data) and self.pump.flush()

    offer = send
    """As of :class:`stun.aio.tcp.TcpConnection`: a datagram waits for nothing, so both are the same."""

    def close(self) -> None:
        """End the session and say so to the client; ``gone`` follows in the loop's next round. Harmless twice."""
        self.end()
        self._loop.call_soon(self._ended, self)

    abort = close

    def end(self) -> None:
        """End the session without a word to the listener."""
        self.session.close()
        self.pump.flush()
        self.pump.stop()


OnOpened = Callable[[DtlsConnection], None]
OnReceived = Callable[[bytes, DtlsConnection], None]
OnGone = Callable[[DtlsConnection], None]


class DtlsListener:
    """Accepts DTLS sessions on one UDP port, within the limits of a :class:`~stun.config.ListenerConfig`."""

    def __init__(
        self,
        context: SSL.Context,
        opened: OnOpened,
        received: OnReceived,
        gone: OnGone,
        config: DtlsConfig,
        limits: ListenerConfig,
    ) -> None:
        """Args: as of :func:`serve_dtls`, which also attaches the socket."""
        self.local = TransportAddress("0.0.0.0", 0)
        """The address it listens on; the port is the real one."""
        self.refused = 0
        """Clients that were ignored because there were too many."""
        self.limited = 0
        """Datagrams outside of a session over the rate of their source."""
        self.failed_handshakes = 0
        """Handshakes that failed or took too long."""
        self.ignored = 0
        """Datagrams outside of a session that begin none."""
        self._context = context
        self._opened, self._received, self._gone = opened, received, gone
        self._config = config
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._cookies = CookieExchange(secrets.token_bytes(32))
        self._limiter = RateLimiter(limits.hello_rate, limits.hello_burst, limits.max_sources)
        self._connections: dict[tuple[str, int], DtlsConnection] = {}
        self._sources: Counter[str] = Counter()
        self._handshakes = 0
        self._socket: DatagramSocket | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Sessions at this moment, those in their handshake included."""
        return len(self._connections)

    def attach(self, bound: DatagramSocket) -> None:
        """Take the UDP socket, which delivers to :meth:`receive_datagram`."""
        self._socket = bound
        self.local = bound.local

    def close(self) -> None:
        """End all sessions, of which ``gone`` tells, and free the port; harmless twice."""
        for connection in list(self._connections.values()):
            connection.end()
            self._forget(connection)
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def receive_datagram(self, data: bytes, remote: tuple[str, int]) -> None:
        """Take one datagram from the socket. Never raises."""
        connection = self._connections.get(remote)
        # A client that was restarted begins anew on the port of its old session (RFC 6347 section 4.2.8).
        if connection is None or (connection.is_open and is_handshake(data)):
            hello = self._verified_hello(data, remote)
            if hello is not None and (connection is None or connection.client_random != hello.random):
                if connection is not None:
                    connection.end()
                    self._forget(connection)
                self._accept(data, hello, TransportAddress(remote[0], remote[1]))
                return
            if connection is None:
                return
        self._feed(connection, data)

    # -- inside --

    def _verified_hello(self, data: bytes, remote: tuple[str, int]) -> ClientHello | None:
        now = self._loop.time()
        try:
            hello = parse_client_hello(data)
        except StunParseError:
            self.ignored += 1
            return None
        if not self._limiter.take(source_key(remote[0]), now):
            self.limited += 1
            return None
        if self._cookies.judge(hello, remote, now) is HelloVerdict.VERIFIED:
            return hello
        self._send(self._cookies.challenge(hello, remote, now), remote)
        return None

    def _accept(self, data: bytes, hello: ClientHello, remote: TransportAddress) -> None:
        source = source_key(remote.host)
        full = self.connections >= self._limits.max_connections or self._handshakes >= self._limits.max_handshakes
        if full or self._sources[source] >= self._limits.max_connections_per_source:
            self.refused += 1
            return
        path = FiveTuple(self.local, remote, TransportProtocol.DTLS)
        session = DtlsSession(self._context, self._config.mtu)
        connection = DtlsConnection(path, hello, session, lambda datagram: self._send(datagram, remote), self._settle)
        self._connections[remote] = connection
        self._sources[source] += 1
        self._handshakes += 1
        session.accept(data)
        connection.pump.flush()
        self._settle(connection)
        self._arm()

    def _feed(self, connection: DtlsConnection, data: bytes) -> None:
        found = connection.session.receive(data)
        connection.pump.flush()
        if connection.session.phase is Phase.OPEN and not connection.is_open:
            connection.is_open = True
            self._handshakes -= 1
            self._opened(connection)
        if found:
            connection.active = self._loop.time()
        for message in found:
            self._received(message, connection)
        self._settle(connection)

    def _settle(self, connection: DtlsConnection) -> None:
        if connection.session.phase is Phase.FAILED:
            if connection.is_open:
                connection.error = ConnectionError(connection.session.problem)
            else:
                self.failed_handshakes += 1
                logger.info("no DTLS with a client at %s: %s", self.local, connection.session.problem)
        if connection.session.phase in (Phase.CLOSED, Phase.FAILED):
            connection.end()
            self._forget(connection)

    def _forget(self, connection: DtlsConnection) -> None:
        if self._connections.get(connection.path.remote) is not connection:
            return
        del self._connections[connection.path.remote]
        connection.pump.stop()
        source = source_key(connection.path.remote.host)
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]
        if connection.is_open:
            self._gone(connection)
        else:
            self._handshakes -= 1

    def _arm(self) -> None:
        if self._sweeper is None and self._connections:
            delay = min(self._limits.handshake_timeout, self._limits.idle_timeout) / 4
            self._sweeper = self._loop.call_later(delay, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        now = self._loop.time()
        for connection in list(self._connections.values()):
            late = not connection.is_open and connection.began + self._limits.handshake_timeout <= now
            idle = connection.active + self._limits.idle_timeout <= now
            if late:
                self.failed_handshakes += 1
            if late or idle:
                connection.end()
                self._forget(connection)
        self._arm()

    def _send(self, data: bytes, remote: tuple[str, int]) -> bool:
        return self._socket is not None and self._socket.send(data, remote)


async def serve_dtls(
    local: TransportAddress,
    context: SSL.Context,
    opened: OnOpened,
    received: OnReceived,
    gone: OnGone,
    config: DtlsConfig | None = None,
    limits: ListenerConfig | None = None,
    network: Network | None = None,
) -> DtlsListener:
    """Accept DTLS on ``local`` (port 0 picks one).

    Args:
        local: an address of this host; a wildcard would answer from the wrong one on hosts with several.
        context: of :func:`dtls_server_context`.
        opened: called with a session after its handshake.
        received: called with each datagram and its session.
        gone: called once for each session that was opened.
        config: of the sessions.
        limits: how many sessions, and how fast they may come.
        network: UDP sockets; real ones by default.

    Raises:
        OSError: the address cannot be bound.
    """
    listener = DtlsListener(context, opened, received, gone, config or DtlsConfig(), limits or ListenerConfig())
    listener.attach(await (network or UdpNetwork()).bind(local, listener.receive_datagram))
    return listener
