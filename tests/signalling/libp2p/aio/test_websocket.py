"""WebSockets on real sockets: plain and with TLS, and clients that stop half way or send what does not belong."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import ipaddress
import random
import ssl
import warnings
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from signalling.errors import DialError
from signalling.libp2p.aio.circuit import CircuitTransport
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tcp import TcpTransport
from signalling.libp2p.aio.websocket import WebSocketTransport
from signalling.libp2p.config import UpgradeConfig
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr

ECHO = "/echo/1.0.0"
LISTEN = "/ip4/127.0.0.1/tcp/0/ws"
CONFIG = HostConfig(max_websocket_message=100_000, close_timeout=0.3)
HASTY = replace(CONFIG, upgrade=UpgradeConfig(timeout=0.5), max_pending_inbound=8)


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


@pytest.fixture
async def server() -> AsyncIterator[Host]:
    async with Host(PrivateKey.generate(), CONFIG) as host:
        host.handle(ECHO, echo)
        await host.listen(LISTEN)
        yield host


@pytest.fixture
async def hasty() -> AsyncIterator[Host]:
    """A host that waits only for a moment."""
    async with Host(PrivateKey.generate(), HASTY) as host:
        host.handle(ECHO, echo)
        await host.listen(LISTEN)
        yield host


async def check_alive(server: Host) -> None:
    """The host still takes a connection and echoes; on a busy machine not at the first try."""
    async with Host(PrivateKey.generate(), CONFIG) as client, asyncio.timeout(20):
        while not client.connections():
            with contextlib.suppress(DialError):
                await client.connect(server.addresses()[0])
        stream = await client.new_stream(server.peer_id, [ECHO])
        await stream.write(b"alive")
        assert await stream.read_exactly(5) == b"alive"


def port(server: Host) -> int:
    return int(server.addresses()[0].value_for("tcp") or 0)


async def test_a_megabyte_both_ways(server: Host) -> None:
    async with Host(PrivateKey.generate()) as client:
        connection = await client.identified(await client.connect(server.addresses()[0]))
        assert connection.remote_address == server.addresses()[0]
        assert connection.local_address.protocols() == ("ip4", "tcp", "ws")
        assert connection.peer_info is not None
        assert connection.peer_info.observed_address == connection.local_address
        stream = await client.new_stream(connection, [ECHO])
        data = random.Random(1).randbytes(1 << 20)
        writing = asyncio.ensure_future(stream.write(data))
        assert await stream.read_exactly(len(data)) == data
        await writing
        await connection.close()
        assert client.connections() == []


def test_which_addresses_are_websockets() -> None:
    transport = WebSocketTransport(PrivateKey.generate())
    for text in (
        "/ip4/192.0.2.1/tcp/1/ws",
        "/ip6/::1/tcp/1/ws/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
        "/dns4/example.org/tcp/443/wss",
        "/dns/example.org/tcp/443/tls/ws",
        "/dns4/example.org/tcp/443/tls/sni/example.org/ws",
    ):
        assert transport.can_dial(Multiaddr(text))
    assert transport.can_listen(Multiaddr("/ip4/192.0.2.1/tcp/1/ws"))
    assert not transport.can_listen(Multiaddr("/ip4/192.0.2.1/tcp/1/wss")), "there is no certificate"
    assert not transport.can_listen(Multiaddr("/dns4/example.org/tcp/1/ws"))
    for text in ("/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.1/udp/1/quic-v1", "/ip4/192.0.2.1/tcp/1/tls", ""):
        assert not transport.can_dial(Multiaddr(text))


def _certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts of a server at 127.0.0.1 and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    today = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(path)
    return server, ssl.create_default_context(cafile=str(path))


async def test_tls_below_the_websocket(tmp_path: Path) -> None:
    server_tls, client_tls = _certificate(tmp_path)
    identity, other = PrivateKey.generate(), PrivateKey.generate()
    server = Host(identity, CONFIG, [WebSocketTransport(identity, CONFIG, server_tls=server_tls)])
    client = Host(other, CONFIG, [WebSocketTransport(other, CONFIG, client_tls=client_tls)])
    distrustful = Host(PrivateKey.generate(), CONFIG)
    async with server, client, distrustful:
        server.handle(ECHO, echo)
        for tail in ("wss", "tls/ws"):
            listener = await server.listen(f"/ip4/127.0.0.1/tcp/0/{tail}")
            address = listener.addresses[0].encapsulate(f"/p2p/{server.peer_id}")
            assert str(listener.addresses[0]).endswith(tail)
            connection = await client.connect(address)
            assert await client.ping(connection) > 0
            await connection.close()
            with pytest.raises(DialError):
                await distrustful.connect(address)


async def test_where_no_websocket_is_the_dial_fails(server: Host) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    web = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with Host(PrivateKey.generate(), CONFIG) as client:
        with pytest.raises(DialError):
            await client.connect(f"/ip4/127.0.0.1/tcp/{web.sockets[0].getsockname()[1]}/ws")
        with pytest.raises(DialError):
            await client.connect("/ip4/127.0.0.1/tcp/1/ws")
    web.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
        b"\x13/multistream/1.0.0\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\nx",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000,
        b"GET / HTTP/1.1\r\nX" + b"x" * 100_000,
        bytes(range(256)) * 100,
    ],
)
async def test_a_half_open_websocket_or_nonsense_is_given_up(hasty: Host, data: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port(hasty))
    writer.write(data)
    async with asyncio.timeout(5):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
    writer.close()
    assert hasty.connections() == []
    await check_alive(hasty)


async def test_another_request_is_told_what_this_port_is(server: Host) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port(server)}/") as response:
        assert response.status == 426
        assert "libp2p" in await response.text()


async def test_half_open_connections_are_few(hasty: Host) -> None:
    silent = [await asyncio.open_connection("127.0.0.1", port(hasty)) for _ in range(30)]
    async with asyncio.timeout(5):
        await asyncio.gather(*(reader.read() for reader, _ in silent), return_exceptions=True)
    for _, writer in silent:
        writer.close()
    await check_alive(hasty)


@pytest.mark.parametrize("what", ["nothing", "text", "empty", "oversize", "nonsense"])
async def test_what_does_not_belong_on_the_websocket_ends_it(hasty: Host, what: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"http://127.0.0.1:{port(hasty)}/") as socket:
        match what:
            case "text":
                await socket.send_str("hello")
            case "empty":
                await socket.send_bytes(b"")
            case "oversize":
                await socket.send_bytes(bytes(200_000))
            case "nonsense":
                await socket.send_bytes(random.Random(3).randbytes(5000))
        async with asyncio.timeout(5):
            while True:
                message = await socket.receive()
                if message.type is not aiohttp.WSMsgType.BINARY:
                    break
    assert hasty.connections() == []
    await check_alive(hasty)


async def test_a_websocket_that_vanishes_ends_its_connection(server: Host) -> None:
    gone = asyncio.Event()
    server.on("disconnection", lambda connection: gone.set())
    client = Host(PrivateKey.generate(), CONFIG)
    connection = await client.connect(server.addresses()[0])
    connection.muxer._transport.abort()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        await gone.wait()
    await client.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        del connection, client
        await asyncio.sleep(0.01)
        gc.collect()
    assert [str(warning.message) for warning in caught] == [], "the HTTP connection below was given back"


async def test_closing_the_listener_leaves_connections_and_frees_the_port() -> None:
    async with Host(PrivateKey.generate(), CONFIG) as server, Host(PrivateKey.generate(), CONFIG) as client:
        server.handle(ECHO, echo)
        listener = await server.listen(LISTEN)
        address = server.addresses()[0]
        connection = await client.connect(address)
        idle = await asyncio.open_connection("127.0.0.1", port(server))
        await server.unlisten(listener)
        assert listener.addresses == []
        assert await client.ping(connection) > 0
        async with asyncio.timeout(5):
            await idle[0].read()
        idle[1].close()
        await server.listen(address.decapsulate("p2p"))


def test_the_default_transports_are_tcp_websocket_and_circuits() -> None:
    kinds = [type(transport) for transport in Host(PrivateKey.generate())._transports]
    assert kinds == [TcpTransport, WebSocketTransport, CircuitTransport]
