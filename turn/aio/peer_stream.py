"""A peer's byte stream through a TCP allocation (RFC 6062)."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio.link import ALPN_TURN
from stun.aio.tls import client_context, describe_certificate_error
from stun.machine import Transmit
from turn.client import TurnClient
from turn.errors import TurnError, TurnTimeoutError, TurnTlsError, TurnUnreachableError
from turn.tcp_client import BindFailed, Bound, DataConnection

__all__ = ["PeerStream", "open_peer_stream"]


class PeerStream:
    """Bytes to and from one peer, with back-pressure both ways."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: TransportAddress, linger: float
    ) -> None:
        """Args:
        reader: of the bound data connection.
        writer: of the same.
        peer: whose bytes it carries.
        linger: seconds that closing waits for a server that does not read what was written.
        """
        self._linger = linger
        self.peer = peer
        """The peer's transport address, as the server sees it."""
        self._reader = reader
        self._writer = writer
        self._lost: TurnError | None = None

    @property
    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._writer.is_closing()

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return the next bytes; ``b""`` at the peer's end.

        Raises:
            ConnectionError: the connection was reset, or (a TurnError) the allocation ended before the peer did.
        """
        data = await self._reader.read(max_bytes)
        if not data and self._lost is not None:
            raise self._lost.again()
        return data

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly so many bytes.

        Raises:
            ConnectionError: as of :meth:`read`.
            asyncio.IncompleteReadError: the peer ended before.
        """
        try:
            return await self._reader.readexactly(count)
        except asyncio.IncompleteReadError as error:
            if self._lost is None:
                raise
            raise self._lost.again() from error

    async def write(self, data: bytes) -> None:
        """Send bytes; returns when there is room for more.

        Raises:
            ConnectionError: the connection is gone.
        """
        self._writer.write(data)
        await self._writer.drain()

    def offer(self, data: bytes, limit: int) -> bool:
        """Queue bytes, or drop them and return False when it is closing or more than ``limit`` bytes would wait."""
        transport = self._writer.transport
        if transport.is_closing() or transport.get_write_buffer_size() + len(data) > limit:
            return False
        self._writer.write(data)
        return True

    def end(self) -> None:
        """Close once what waits is sent, without waiting for that; harmless twice."""
        self._writer.close()

    async def close_write(self) -> None:
        """Say that no more will come; TLS cannot, and closes."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    async def close(self) -> None:
        """Send what was written and close both ways; harmless twice.

        A server that does not read loses the connection after ``StreamConfig.linger``, or when the call is cancelled.
        """
        self._writer.close()
        try:
            async with asyncio.timeout(self._linger):
                await self._writer.wait_closed()
        except OSError:  # ssl.SSLError and TimeoutError are
            pass  # gone is gone
        finally:
            self.abort()

    def abort(self) -> None:
        """Close at once, without sending what waits."""
        self._writer.transport.abort()

    def lose(self, error: TurnError) -> None:
        """The allocation is gone: close at once, and let nobody take that for the peer's end."""
        if not isinstance(error, ConnectionError):
            error = TurnUnreachableError(f"the allocation is gone ({error})", code=error.code)
        self._lost = error
        self.abort()

    async def __aenter__(self) -> PeerStream:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()


async def open_peer_stream(
    client: TurnClient, peer: TransportAddress, connection_id: int, server_name: str | None
) -> PeerStream:
    """Open a connection to the client's server and bind it to a peer's.

    Raises:
        TurnError: the server cannot be reached, or does not bind.
    """
    reader, writer = await _connect(client, server_name)
    try:
        ours = TransportAddress(*writer.get_extra_info("sockname")[:2])
        machine = client.data_connection(connection_id, FiveTuple(ours, client.path.remote, client.path.protocol))
        await _bind(machine, reader, writer, client)
    except BaseException:
        writer.transport.abort()
        raise
    return PeerStream(reader, writer, peer, client.config.client.stream.linger)


async def _connect(client: TurnClient, server_name: str | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    server = client.path.remote
    tls: dict[str, Any] = {}
    if client.path.protocol is TransportProtocol.TLS:
        context = client.config.ssl_context or await asyncio.to_thread(client_context, (ALPN_TURN,))
        tls = {"ssl": context, "server_hostname": server_name or server.host}
    try:
        async with asyncio.timeout(client.config.client.stream.connect_timeout):
            return await asyncio.open_connection(server.host, server.port, **tls)
    except ssl.SSLCertVerificationError as error:
        problem = describe_certificate_error(error, server_name or server.host)
        raise TurnTlsError(problem, server=client.server) from error
    except TimeoutError as error:
        text = f"no data connection within {client.config.client.stream.connect_timeout:g} s"
        raise TurnUnreachableError(text, server=client.server) from error
    except OSError as error:  # ssl.SSLError is one
        raise TurnUnreachableError(f"no data connection: {error}", server=client.server) from error


async def _bind(
    machine: DataConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: TurnClient
) -> None:
    try:
        async with asyncio.timeout(client.config.client.transaction.stream_timeout):
            await _ask(machine, reader, writer)
    except TimeoutError as error:
        raise TurnTimeoutError("no response to ConnectionBind", server=client.server) from error
    except (asyncio.IncompleteReadError, OSError) as error:
        raise TurnUnreachableError("the server closed the data connection", server=client.server) from error


async def _ask(machine: DataConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    machine.start(loop.time())
    while True:
        while (effect := machine.next_effect()) is not None:
            if isinstance(effect, Transmit):
                writer.write(effect.data)
        event = machine.next_event()
        if isinstance(event, Bound):
            return
        if isinstance(event, BindFailed):
            raise event.error
        # Whole messages only: what follows the last one is the peer's, and stays in the reader.
        machine.receive_data(await reader.readexactly(machine.wanted), loop.time())
