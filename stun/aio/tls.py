"""STUN and TURN over TLS on TCP (RFC 8489 section 6.2.3): connections, listeners, trust, and what a failure means."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Sequence

from stun.address import TransportAddress, TransportProtocol
from stun.aio.tcp import OnGone, OnOpened, OnReceived, TcpConnection, address_of, bind_listener
from stun.config import ListenerConfig, StreamConfig
from stun.rate_limit import source_key

__all__ = [
    "WRONG_NAME",
    "TlsConnection",
    "TlsListener",
    "certificate_problem",
    "client_context",
    "describe_certificate_error",
    "serve_tls",
    "server_context",
]

logger = logging.getLogger("stun")

# Of OpenSSL's x509_vfy.h; the ssl module reports them but does not name them.
WRONG_NAME = 62
"""X509_V_ERR_HOSTNAME_MISMATCH."""
_PROBLEMS = {
    9: "the server's certificate is not valid yet",
    10: "the server's certificate has expired",
    18: "the server's certificate is self-signed",
    19: "the server's certificate is signed by a self-signed issuer that is not trusted",
    20: "the server's certificate is of an issuer that is not trusted",
    21: "the server's certificate is of an issuer that is not trusted",
    23: "the server's certificate has been revoked",
    WRONG_NAME: "the server's certificate is not for {name}",
    64: "the server's certificate is not for {name}",
}


def client_context(alpn: Sequence[str] = ()) -> ssl.SSLContext:
    """Return a context that trusts what the system trusts; reads files."""
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def server_context(
    certificate: str, key: str | None = None, alpn: Sequence[str] = (), password: str | None = None
) -> ssl.SSLContext:
    """Return a context for a listener; reads files.

    Args:
        certificate: path of a PEM file with the certificate, and the chain after it.
        key: path of the PEM file with the key; None when it is in ``certificate``.
        alpn: what to agree to in ALPN (RFC 7443), first choice first.
        password: of the key.

    Raises:
        OSError: a file cannot be read, or (ssl.SSLError) the two do not fit together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # No password must not mean that the terminal is asked for one.
    context.load_cert_chain(certificate, key, password or "")
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def describe_certificate_error(error: ssl.SSLCertVerificationError, name: str) -> str:
    """Say what is wrong with the certificate of a server that we call ``name``."""
    return certificate_problem(error.verify_code, error.verify_message, name)


def certificate_problem(code: int, message: str, name: str) -> str:
    """Say what OpenSSL's verification result ``code`` means for a server that we call ``name``."""
    if code in _PROBLEMS:
        return _PROBLEMS[code].format(name=name)
    return f"the server's certificate is not trusted: {message}"


class TlsConnection(TcpConnection):
    """A connection under TLS; the first callback comes after the handshake."""

    protocol = TransportProtocol.TLS

    @classmethod
    async def open_tls(
        cls,
        remote: TransportAddress,
        context: ssl.SSLContext,
        server_name: str,
        opened: OnOpened,
        received: OnReceived,
        gone: OnGone,
        config: StreamConfig,
        local: TransportAddress | None = None,
    ) -> TlsConnection:
        """Connect to ``remote`` and check that its certificate is for ``server_name``.

        Raises:
            ssl.SSLError: the handshake failed (ssl.SSLCertVerificationError: for the certificate).
            OSError: the connection cannot be opened (a TimeoutError after ``config.connect_timeout``).
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(config.connect_timeout):
            _, connection = await loop.create_connection(
                lambda: cls(opened, received, gone, config),
                remote.host,
                remote.port,
                ssl=context,
                server_hostname=server_name,
                local_addr=local,
                ssl_shutdown_timeout=config.close_timeout,
            )
        return connection

    @property
    def alpn(self) -> str | None:
        """What ALPN agreed on, or None."""
        tls = self._transport.get_extra_info("ssl_object") if self._transport is not None else None
        return tls.selected_alpn_protocol() if tls is not None else None

    def eof_received(self) -> bool:
        """asyncio's call when the peer closed its half, which TLS does not outlive."""
        super().eof_received()
        return False


class _Place:
    """One connection's share of its source's limit, which it gives back once."""

    def __init__(self, sources: Counter[str], source: str) -> None:
        self._sources = sources
        self._source: str | None = source
        sources[source] += 1

    def release(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]


class TlsListener:
    """Accepts TLS connections on one address, within the limits of a :class:`~stun.config.ListenerConfig`."""

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext,
        opened: OnOpened,
        received: OnReceived,
        gone: OnGone,
        config: StreamConfig,
        limits: ListenerConfig,
    ) -> None:
        self.local = address_of(listening.getsockname())
        """The address it listens on; the port is the real one."""
        self.refused = 0
        """Connections closed at once because there were too many."""
        self.failed_handshakes = 0
        """Handshakes that failed or took too long."""
        self._socket = listening
        self._context = context
        self._callbacks = (opened, received, gone)
        self._config = config
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._active: dict[TcpConnection, float] = {}
        self._sources: Counter[str] = Counter()
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._listen()

    @property
    def connections(self) -> int:
        """Connections at this moment, those in their handshake included."""
        return self._sources.total()

    def close(self) -> None:
        """Stop listening and give up handshakes; open connections stay open. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        if not self._loop.is_closed():
            self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        for handshake in self._handshakes:
            handshake.cancel()

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket.fileno(), self._acceptable)

    def _acceptable(self) -> None:
        for _ in range(self._config.backlog):
            try:
                accepted, sockaddr = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # The client is gone already.
            except OSError as error:  # Out of descriptors or memory: trying again at once would only burn time.
                logger.warning("cannot accept a connection at %s: %s", self.local, error)
                self._loop.remove_reader(self._socket.fileno())
                self._loop.call_later(self._config.accept_pause, self._listen)
                return
            accepted.setblocking(False)
            source = source_key(sockaddr[0].partition("%")[0])
            full = self.connections >= self._limits.max_connections
            busy = len(self._handshakes) >= self._limits.max_handshakes
            if full or busy or self._sources[source] >= self._limits.max_connections_per_source:
                self.refused += 1
                accepted.close()
                continue
            handshake = self._loop.create_task(self._handshake(accepted, _Place(self._sources, source)))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _handshake(self, accepted: socket.socket, place: _Place) -> None:
        opened, _, gone = self._callbacks

        def lost(connection: TcpConnection) -> None:
            self._active.pop(connection, None)
            place.release()
            gone(connection)

        connection = TlsConnection(opened, self._received, lost, self._config)
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_timeout,
                ssl_shutdown_timeout=self._config.close_timeout,
            )
        except OSError as error:  # ssl.SSLError is one
            self.failed_handshakes += 1
            place.release()
            logger.info("no TLS with a client at %s: %s", self.local, error)
        except asyncio.CancelledError:
            place.release()
            raise
        else:
            if not connection.is_closed:
                self._active[connection] = self._loop.time()
                self._arm()

    def _received(self, data: bytes, connection: TcpConnection) -> None:
        if connection in self._active:
            self._active[connection] = self._loop.time()
        self._callbacks[1](data, connection)

    def _arm(self) -> None:
        if self._sweeper is None and self._active:
            self._sweeper = self._loop.call_later(self._limits.idle_timeout / 4, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        before = self._loop.time() - self._limits.idle_timeout
        for connection in [connection for connection, active in self._active.items() if active <= before]:
            if not connection.is_taken_over:
                connection.close()
        self._arm()


async def serve_tls(
    local: TransportAddress,
    context: ssl.SSLContext,
    opened: OnOpened,
    received: OnReceived,
    gone: OnGone,
    config: StreamConfig | None = None,
    limits: ListenerConfig | None = None,
) -> TlsListener:
    """Listen for TLS on ``local`` (port 0 picks one); the callbacks are those of :class:`stun.aio.tcp.TcpListener`.

    Raises:
        OSError: the address cannot be bound.
    """
    config = config or StreamConfig()
    listening = bind_listener(local)
    try:
        listening.setblocking(False)
        listening.listen(config.backlog)
        return TlsListener(listening, context, opened, received, gone, config, limits or ListenerConfig())
    except BaseException:
        listening.close()
        raise
