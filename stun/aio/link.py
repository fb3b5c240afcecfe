"""One port for every client-to-server transport: UDP, TCP, TLS and DTLS look the same to what runs above.

A link is one five-tuple. Whatever fails on the way to the server is a :class:`~stun.errors.StunLinkError` that names
the server and says what is wrong; certificates have an error of their own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, cast

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.tcp import TcpConnection
from stun.aio.tls import TlsConnection, client_context, describe_certificate_error
from stun.aio.trust import ascii_name, lists_no_authority
from stun.aio.udp import UdpNetwork
from stun.config import DtlsConfig, StreamConfig
from stun.errors import StunCertificateError, StunConfigurationError, StunHandshakeError, StunLinkError
from stun.network import ConnectableSocket, DatagramSocket, Network, provides

if TYPE_CHECKING:
    from stun.aio.dtls import DtlsClient

__all__ = ["ALPN_NAT_DISCOVERY", "ALPN_TURN", "Closed", "LinkOptions", "Receiver", "ServerLink", "open_link"]

logger = logging.getLogger("stun")

ALPN_TURN = "stun.turn"
"""What a TURN client offers in ALPN (RFC 7443)."""
ALPN_NAT_DISCOVERY = "stun.nat-discovery"
"""What a client of Binding and of RFC 5780 offers in ALPN (RFC 7443)."""

Receiver = Callable[[bytes], None]
"""Takes one datagram (UDP, DTLS), or the next bytes of the stream cut anywhere (TCP, TLS); must not raise."""
Closed = Callable[[Exception | None], None]
"""Called once when the server or the network ends a link, with the error if there was one; not after our ``close``."""

_ANY = {4: "0.0.0.0", 6: "::"}


class ServerLink(Protocol):
    """A connected path to one server."""

    @property
    def path(self) -> FiveTuple:
        """Our address, the server's, and what runs between them."""

    @property
    def is_stream(self) -> bool:
        """Whether bytes come as a stream (TCP, TLS) rather than in datagrams."""

    def send(self, data: bytes) -> bool:
        """Send one datagram or whole message; False when it was dropped (closed, or too much waits already)."""

    def close(self) -> None:
        """Close after what was sent; nothing is received from now on. Harmless twice."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LinkOptions:
    """How to reach a server, beyond its address."""

    server_name: str | None = None
    """What the certificate has to be for, and what SNI says: a host name or an IP literal; None takes the address."""
    ssl_context: ssl.SSLContext | None = None
    """Trust for TLS, and for DTLS, which takes over the CA certificates that it lists (those of files, not of folders),
    ``verify_mode`` and ``check_hostname``; None trusts what the system trusts. Its ALPN protocols are its owner's;
    ``alpn`` is for None."""
    alpn: Sequence[str] = (ALPN_TURN,)
    """What to offer in ALPN (RFC 7443)."""
    local: TransportAddress | None = None
    """Where to send from; None lets the system choose."""
    network: Network | None = None
    """UDP sockets, DTLS's too; real ones by default. TCP always runs on real ones."""
    stream: StreamConfig = field(default_factory=StreamConfig)
    """Limits of TCP and TLS."""
    dtls: DtlsConfig = field(default_factory=DtlsConfig)
    """Limits of DTLS."""


async def open_link(
    server: TransportAddress,
    protocol: TransportProtocol,
    *,
    receiver: Receiver,
    closed: Closed,
    options: LinkOptions | None = None,
) -> ServerLink:
    """Open a path to ``server``; over TLS and DTLS the handshake is done and the certificate is checked on return.

    Raises:
        StunConfigurationError: over TLS and DTLS, ``server_name`` is not a host name, or (DTLS) ``ssl_context`` lists
            no CA certificate; nothing was sent.
        StunCertificateError: the server's certificate is not trusted; says why.
        StunHandshakeError: TLS or DTLS failed otherwise.
        StunLinkError: the server refuses, cannot be reached or does not answer in time.
    """
    options = options or LinkOptions()
    if protocol in (TransportProtocol.TLS, TransportProtocol.DTLS):
        options = _checked(server, protocol, options)
    try:
        if protocol is TransportProtocol.UDP:
            return await _open_udp(server, receiver, options)
        if protocol is TransportProtocol.DTLS:
            return await _open_dtls(server, receiver, closed, options)
        return await _open_stream(server, protocol, receiver, closed, options)
    except ssl.SSLCertVerificationError as error:
        problem = describe_certificate_error(error, options.server_name or server.host)
        raise StunCertificateError(_describe(server, protocol, options), problem) from error
    except ssl.SSLError as error:
        reason = (error.reason or str(error)).replace("_", " ").lower()
        raise StunHandshakeError(_describe(server, protocol, options), f"the TLS handshake failed: {reason}") from error
    except StunLinkError:
        raise
    except TimeoutError as error:
        problem = f"no connection within {options.stream.connect_timeout:g} s"
        raise StunLinkError(_describe(server, protocol, options), problem) from error
    except OSError as error:
        problem = os.strerror(error.errno) if error.errno else str(error) or "the connection was lost in the handshake"
        raise StunLinkError(_describe(server, protocol, options), problem) from error


def _checked(server: TransportAddress, protocol: TransportProtocol, options: LinkOptions) -> LinkOptions:
    """Return the options with ``server_name`` in ASCII, or raise StunConfigurationError."""
    if options.server_name is not None:
        try:
            options = replace(options, server_name=ascii_name(options.server_name))
        except ValueError as error:
            raise StunConfigurationError(f"{server} over {protocol.upper()}", str(error)) from error
    if protocol is TransportProtocol.DTLS and lists_no_authority(options.ssl_context):
        problem = (
            "the SSL context lists no CA certificate that DTLS could take over (one in a folder, capath, is never "
            "listed); load a file (cafile), or give no context to trust what the system trusts"
        )
        raise StunConfigurationError(_describe(server, protocol, options), problem)
    return options


def _describe(server: TransportAddress, protocol: TransportProtocol, options: LinkOptions) -> str:
    name = f"{options.server_name} " if options.server_name not in (None, server.host) else ""
    return f"{name}{server} over {protocol.upper()}"


# -- datagrams --


class UdpLink:
    """A UDP socket that only one server is heard on."""

    is_stream = False

    def __init__(self, bound: DatagramSocket, server: TransportAddress) -> None:
        # A socket of the server's own is faster, and knows which of our addresses the route takes.
        can_connect = provides(type(bound), ConnectableSocket)
        twin = cast(ConnectableSocket, bound).connect(server) if can_connect else None
        self._sockets = [bound] if twin is None else [twin, bound]
        self._send = self._sockets[0].send
        self._server = server
        self.path = FiveTuple(self._sockets[0].local, server, TransportProtocol.UDP)

    def send(self, data: bytes) -> bool:
        """As of :class:`ServerLink`."""
        return self._send(data, self._server)

    def close(self) -> None:
        """As of :class:`ServerLink`."""
        for bound in self._sockets:
            bound.close()


async def _open_udp(server: TransportAddress, receiver: Receiver, options: LinkOptions) -> UdpLink:
    def receive(data: bytes, remote: tuple[str, int]) -> None:
        if remote == server:  # Anybody can send to an unconnected socket.
            receiver(data)

    network = options.network or UdpNetwork()
    return UdpLink(await network.bind(options.local or TransportAddress(_ANY[server.family], 0), receive), server)


async def _open_dtls(server: TransportAddress, receiver: Receiver, closed: Closed, options: LinkOptions) -> DtlsClient:
    # In a thread: the first link over DTLS loads OpenSSL and cryptography, which takes a fifth of a second.
    client = (await asyncio.to_thread(_dtls_client))(
        options.server_name or server.host, options.ssl_context, options.alpn, receiver, closed, options.dtls
    )
    client.attach(await _open_udp(server, client.receive_datagram, options))
    await client.handshake(_describe(server, TransportProtocol.DTLS, options))
    return client


def _dtls_client() -> type[DtlsClient]:
    from stun.aio.dtls import DtlsClient

    return DtlsClient


# -- streams --


class StreamLink:
    """A TCP or TLS connection to a server."""

    is_stream = True

    def __init__(self, receiver: Receiver, closed: Closed) -> None:
        self._receiver: Receiver | None = receiver
        self._closed: Closed | None = closed
        self._connection: TcpConnection | None = None
        self.path = FiveTuple(TransportAddress("0.0.0.0", 0), TransportAddress("0.0.0.0", 0), TransportProtocol.TCP)

    def send(self, data: bytes) -> bool:
        """As of :class:`ServerLink`."""
        return self._connection is not None and self._connection.offer(data)

    def close(self) -> None:
        """As of :class:`ServerLink`."""
        self._receiver = self._closed = None
        if self._connection is not None:
            self._connection.close()

    @property
    def alpn(self) -> str | None:
        """What ALPN agreed on; None over TCP and with servers that do not speak it."""
        return self._connection.alpn if isinstance(self._connection, TlsConnection) else None

    def _opened(self, connection: TcpConnection) -> None:
        self._connection = connection
        self.path = connection.path

    def _received(self, data: bytes, connection: TcpConnection) -> None:
        if data and self._receiver is not None:
            self._receiver(data)
        elif not data:
            connection.close()  # A server that sends no more is of no use.

    def _gone(self, connection: TcpConnection) -> None:
        self._connection = None
        if self._closed is not None:
            closed, self._closed, self._receiver = self._closed, None, None
            closed(connection.error)


async def _open_stream(
    server: TransportAddress, protocol: TransportProtocol, receiver: Receiver, closed: Closed, options: LinkOptions
) -> StreamLink:
    link = StreamLink(receiver, closed)
    try:
        if protocol is TransportProtocol.TCP:
            await TcpConnection.open(server, link._opened, link._received, link._gone, options.stream, options.local)
        else:
            context = options.ssl_context
            if context is None:
                context = await asyncio.to_thread(client_context, options.alpn)
            name = options.server_name or server.host
            await TlsConnection.open_tls(
                server, context, name, link._opened, link._received, link._gone, options.stream, options.local
            )
    except BaseException:
        link.close()
        raise
    return link
