"""TCP allocations (RFC 6062) of our client on coturn."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

import turn
from stun.address import TransportAddress
from tests.interop.coturn import STATIC_USER, a_config, coturn, needs_coturn
from tests.ports import silent_port
from tests.stun.certificates import Authority
from turn import errors
from turn.config import (
    RelayTransport,
)

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60), needs_coturn]

HOSTS = ["127.0.0.1", "::1"]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionResetError):  # coturn ends connections so
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("protocol", ["tcp", "tls"])
async def test_it_connects_to_peers(protocol: str, host: str, tmp_path: Path) -> None:
    authority = Authority.make(tmp_path / "ca")
    certificate = Path(authority.issue("localhost", *HOSTS))
    listener = await asyncio.start_server(echo, "127.0.0.1", 0)
    peer = TransportAddress(*listener.sockets[0].getsockname())
    async with coturn(tmp_path, *STATIC_USER, certificate=certificate) as server:
        config = a_config(server.url(protocol, host), transport=RelayTransport.TCP, ssl_context=authority.context)
        async with turn.allocate(config) as allocation:
            await allocation.permit("127.0.0.1")
            async with await allocation.connect(peer) as stream:
                assert stream.peer == peer
                await stream.write(b"a" * 100_000)
                assert await stream.read_exactly(100_000) == b"a" * 100_000
            with silent_port() as closed:
                with pytest.raises(errors.TurnConnectionTimeoutError) as caught:
                    await allocation.connect(closed)
                assert caught.value.code == 447
                with pytest.raises(errors.TurnConnectionTimeoutError, match="a moment ago"):
                    await allocation.connect(closed)
    listener.close()
    await listener.wait_closed()


async def test_peers_connect_to_it(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        config = a_config(server.url("tcp"), transport=RelayTransport.TCP)
        async with turn.allocate(config) as allocation:
            await allocation.permit("127.0.0.1")
            for number in range(3):
                reader, writer = await asyncio.open_connection(*allocation.relayed[0])
                writer.write(b"early bytes")  # before the connection is bound: the server keeps them
                stream = await allocation.accept()
                assert stream.peer == TransportAddress(*writer.get_extra_info("sockname"))
                assert await stream.read_exactly(11) == b"early bytes"
                await stream.write(b"answer %d" % number)
                assert await reader.readexactly(8) == b"answer %d" % number
                writer.close()
                await writer.wait_closed()
                with suppress(ConnectionResetError):
                    assert await stream.read() == b""
                await stream.close()


async def test_two_tcp_allocations_meet(tmp_path: Path) -> None:
    async with coturn(tmp_path, *STATIC_USER) as server:
        config = a_config(server.url("tcp"), transport=RelayTransport.TCP)
        async with turn.allocate(config) as one, turn.allocate(config) as other:
            await asyncio.gather(one.permit("127.0.0.1"), other.permit("127.0.0.1"))
            calling, called = await asyncio.gather(one.connect(other.relayed[0]), other.accept())
            await calling.write(b"hello")
            assert await called.read_exactly(5) == b"hello"
            await called.write(b"there")
            assert await calling.read_exactly(5) == b"there"
            await calling.close()
            await called.close()
