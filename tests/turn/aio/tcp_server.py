"""The small TURN server of ``tests.turn.fake_server`` on real TCP connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from stun.address import TransportAddress
from stun.aio.tls import server_context
from stun.errors import StunParseError
from stun.message import MessageClass, Method, parse
from tests.turn.fake_server import FakeServer
from turn.framing import TurnStreamDecoder


class TcpFake:
    """Every connection speaks TURN until a ConnectionBind succeeds; then it sends back what it gets."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []
        self.second = asyncio.Event()
        """Set with the second connection, the first one for data."""
        self.reads = asyncio.Event()
        """Whether bound connections are read; cleared, they fill up."""
        self.reads.set()
        self.scheme = "turn"
        self.greeting = b""
        """Sent as a peer's first bytes in one piece with the response to ConnectionBind."""

    @property
    def url(self) -> str:
        return f"{self.scheme}:127.0.0.1:{self.port}?transport=tcp"

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        if len(self.writers) == 2:
            self.second.set()
        decoder = TurnStreamDecoder()
        client = TransportAddress(*writer.get_extra_info("peername"))
        bound = False
        try:
            while data := await reader.read(65536):
                if bound:
                    writer.write(data)
                    continue
                for message in decoder.receive(data):
                    for reply in self.server.receive(message, client, 0.0):
                        bound = bound or _is_bound(reply)
                        writer.write(reply + (self.greeting if bound else b""))
                if bound:
                    await self.reads.wait()
        except ConnectionError:
            pass
        finally:
            writer.close()


def _is_bound(reply: bytes) -> bool:
    try:
        message = parse(reply)
    except StunParseError:
        return False
    return message.method is Method.CONNECTION_BIND and message.message_class is MessageClass.SUCCESS


@asynccontextmanager
async def tcp_fake(server: FakeServer | None = None, certificate: str | None = None) -> AsyncIterator[TcpFake]:
    """Serve on loopback, over TLS with a certificate."""
    fake = TcpFake(server or FakeServer())
    context = None if certificate is None else server_context(certificate)
    fake.scheme = "turn" if context is None else "turns"
    listener = await asyncio.start_server(fake.connected, "127.0.0.1", 0, ssl=context)
    fake.port = listener.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        listener.close()
        for writer in fake.writers:
            writer.close()
        await asyncio.sleep(0)
