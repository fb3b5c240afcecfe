"""TCP on real sockets: both families, addresses, limits, and peers that send nonsense or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator

import pytest

from signalling.errors import DialError, PeerIdMismatch
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tcp import TcpTransport, reachable_hosts
from signalling.libp2p.aio.upgrade import Upgrader
from signalling.libp2p.config import UpgradeConfig
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role

ECHO = "/echo/1.0.0"
LISTEN = "/ip4/127.0.0.1/tcp/0"


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


@pytest.fixture
async def server() -> AsyncIterator[Host]:
    async with Host(PrivateKey.generate()) as host:
        host.handle(ECHO, echo)
        yield host


@pytest.fixture
async def hasty() -> AsyncIterator[Host]:
    """A host that waits only for a moment."""
    config = HostConfig(upgrade=UpgradeConfig(timeout=0.5), max_pending_inbound=8)
    async with Host(PrivateKey.generate(), config) as host:
        host.handle(ECHO, echo)
        await host.listen(LISTEN)
        yield host


async def eventually(condition: asyncio.Event, timeout: float = 5.0) -> None:
    async with asyncio.timeout(timeout):
        await condition.wait()


async def check_alive(server: Host) -> None:
    """The host still takes a connection and echoes; on a busy machine not at the first try."""
    async with Host(PrivateKey.generate()) as client, asyncio.timeout(20):
        while not client.connections():
            with contextlib.suppress(DialError):
                await client.connect(server.addresses()[0])
        stream = await client.new_stream(server.peer_id, [ECHO])
        await stream.write(b"alive")
        assert await stream.read_exactly(5) == b"alive"


@pytest.mark.parametrize("address", ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"])
async def test_a_megabyte_both_ways(server: Host, address: str) -> None:
    await server.listen(address)
    async with Host(PrivateKey.generate()) as client:
        connection = await client.connect(server.addresses()[0])
        stream = await client.new_stream(connection, [ECHO])
        data = random.Random(1).randbytes(1 << 20)
        writing = asyncio.ensure_future(stream.write(data))
        assert await stream.read_exactly(len(data)) == data
        await writing
        (inbound,) = server.connections(client.peer_id)
        for one in (connection, inbound):
            sock = one.muxer._transport.get_extra_info("socket")  # type: ignore[attr-defined]
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "Nagle would cost 40 ms a round trip"
        assert inbound.remote_address == connection.local_address.encapsulate(f"/p2p/{client.peer_id}")
        assert connection.remote_address == server.addresses()[0]
        assert inbound.local_address.encapsulate(f"/p2p/{server.peer_id}") == server.addresses()[0]


async def test_a_name_is_resolved(server: Host) -> None:
    await server.listen(LISTEN)
    port = server.addresses()[0].value_for("tcp")
    async with Host(PrivateKey.generate()) as client:
        for kind in ("dns4", "dns"):
            connection = await client.connect(f"/{kind}/localhost/tcp/{port}/p2p/{server.peer_id}")
            await connection.close()


def test_which_addresses_are_tcp() -> None:
    transport = TcpTransport(PrivateKey.generate())
    peer = PeerId.from_public_key(PrivateKey.generate().public_key)
    for text in ("/ip4/192.0.2.1/tcp/1", f"/ip6/2001:db8::1/tcp/1/p2p/{peer}", "/ip6zone/lo/ip6/fe80::1/tcp/1"):
        assert transport.can_dial(Multiaddr(text))
        assert transport.can_listen(Multiaddr(text))
    assert transport.can_dial(Multiaddr("/dns4/example.org/tcp/1"))
    assert not transport.can_listen(Multiaddr("/dns4/example.org/tcp/1"))
    for text in ("/ip4/192.0.2.1/udp/1", "/ip4/192.0.2.1/tcp/1/ws", f"/ip4/192.0.2.1/tcp/1/p2p/{peer}/p2p-circuit", ""):
        assert not transport.can_dial(Multiaddr(text))


async def test_listening_on_every_interface_tells_the_address_of_each(server: Host) -> None:
    listener = await server.listen("/ip4/0.0.0.0/tcp/0")
    ports = {address.value_for("tcp") for address in listener.addresses}
    assert len(ports) == 1
    assert {str(address.value_for("ip4")) for address in listener.addresses} == set(reachable_hosts("0.0.0.0"))
    assert "127.0.0.1" in reachable_hosts("0.0.0.0")
    assert "0.0.0.0" not in reachable_hosts("0.0.0.0")


async def test_a_port_is_free_again_as_soon_as_the_listener_is_closed(server: Host) -> None:
    listener = await server.listen(LISTEN)
    address = server.addresses()[0]
    async with Host(PrivateKey.generate()) as client:
        connection = await client.connect(address)
        await server.unlisten(listener)
        assert server.addresses() == []
        assert not connection.closed, "connections go on"
        with pytest.raises(ConnectionRefusedError):
            await client._transports[0].dial(address, server.peer_id)
        await connection.close()
    await server.listen(address.decapsulate("p2p"))
    await check_alive(server)


async def test_an_address_in_use_cannot_be_bound(server: Host) -> None:
    listener = await server.listen(LISTEN)
    with pytest.raises(OSError, match="use"):
        await server.listen(listener.addresses[0])


async def test_the_wrong_peer_at_the_address(server: Host) -> None:
    await server.listen(LISTEN)
    stranger = PeerId.from_public_key(PrivateKey.generate().public_key)
    transport = TcpTransport(PrivateKey.generate())
    with pytest.raises(PeerIdMismatch):
        await transport.dial(server.addresses()[0].decapsulate("p2p"), stranger)


async def test_a_listener_that_is_no_libp2p_peer() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP, and how do you do today, stranger?\r\n")
        await reader.read()
        writer.close()

    web = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = web.sockets[0].getsockname()[1]
    async with Host(PrivateKey.generate()) as client:
        with pytest.raises(DialError):
            await client.connect(f"/ip4/127.0.0.1/tcp/{port}")
    web.close()


def _address(server: Host) -> tuple[str, int]:
    return "127.0.0.1", int(server.addresses()[0].value_for("tcp") or 0)


NONSENSE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a huge varint": b"\xff" * 64,
    "a long token": b"\xff\xff\x7f" + bytes(70_000),
    "zeros": bytes(4096),
    "the header and noise": b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff\xff" + bytes(65535),
    "the header and a short noise": b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\x00\x05hello",
    "another protocol": b"\x13/multistream/1.0.0\n\x11/plaintext/2.0.0\n",
    "noise proposals for ever": b"\x13/multistream/1.0.0\n" + b"\x07/NOISE\n" * 5000,
}


@pytest.mark.parametrize("name", NONSENSE)
async def test_nonsense_before_the_handshake_ends_that_connection_only(hasty: Host, name: str) -> None:
    reader, writer = await asyncio.open_connection(*_address(hasty))
    writer.write(NONSENSE[name])
    async with asyncio.timeout(5):
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
    writer.close()
    assert hasty.connections() == []
    await check_alive(hasty)


async def test_a_handshake_cut_anywhere_leaves_nothing(hasty: Host) -> None:
    """Replay what a real client sends, cut after every few bytes."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    loop = asyncio.get_running_loop()
    protocol = Upgrader(PrivateKey.generate()).protocol(Role.INITIATOR)
    transport, _ = await loop.create_connection(lambda: protocol, sock=left)
    sent = await loop.sock_recv(right, 65536)
    transport.abort()
    right.close()
    assert len(sent) > 50
    for length in range(0, len(sent), 7):
        _, writer = await asyncio.open_connection(*_address(hasty))
        writer.write(sent[:length])
        writer.close()
        await writer.wait_closed()
    await check_alive(hasty)
    assert hasty.connections() == [] or all(c.closed for c in hasty.connections())


async def test_connections_that_say_nothing_are_few_and_time_out(hasty: Host) -> None:
    silent = [await asyncio.open_connection(*_address(hasty)) for _ in range(30)]
    ends = await asyncio.gather(*(reader.read() for reader, _ in silent), return_exceptions=True)
    assert len(ends) == 30
    for _, writer in silent:
        writer.close()
    assert hasty.connections() == []
    await check_alive(hasty)


async def test_nonsense_on_a_secured_connection_ends_it(server: Host) -> None:
    await server.listen(LISTEN)
    gone = asyncio.Event()
    server.on("disconnection", lambda connection: gone.set())
    loop = asyncio.get_running_loop()
    protocol = Upgrader(PrivateKey.generate()).protocol(Role.INITIATOR, server.peer_id)
    transport, _ = await loop.create_connection(lambda: protocol, *_address(server))
    await protocol.wait()
    transport.write(random.Random(2).randbytes(100_000))
    await eventually(gone)
    transport.abort()
    await check_alive(server)


async def test_a_client_that_vanishes_is_noticed(server: Host) -> None:
    await server.listen(LISTEN)
    gone = asyncio.Event()
    server.on("disconnection", lambda connection: gone.set())
    loop = asyncio.get_running_loop()
    protocol = Upgrader(PrivateKey.generate()).protocol(Role.INITIATOR, server.peer_id)
    transport, _ = await loop.create_connection(lambda: protocol, *_address(server))
    await protocol.wait()
    transport.abort()
    await eventually(gone)
