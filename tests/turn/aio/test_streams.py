"""The client over real TCP on loopback: control connections that end, and byte streams to peers."""

from __future__ import annotations

import asyncio

import pytest

import turn
from stun.config import TransactionConfig
from stun.message import Method
from tests.turn.aio.tcp_server import TcpFake, tcp_fake
from tests.turn.fake_server import PEER, FakeServer
from tests.turn.test_tcp_client import attempt
from turn import errors
from turn.config import RelayTransport, TurnClientConfig, TurnServerConfig

pytestmark = pytest.mark.timeout(20)

QUICK = TurnClientConfig(transaction=TransactionConfig(stream_timeout=0.2))


def config(fake: TcpFake, **settings: object) -> TurnServerConfig:
    given: dict[str, object] = {"username": "maria", "password": "secret", "transport": RelayTransport.TCP}
    return TurnServerConfig(url=fake.url, **(given | settings))  # type: ignore[arg-type]


async def test_a_stream_to_a_peer() -> None:
    async with tcp_fake() as fake:
        fake.greeting = b"the peer was faster"
        async with turn.allocate(config(fake)) as allocation:
            async with await allocation.connect(PEER) as stream:
                assert stream.peer == PEER
                assert await stream.read_exactly(19) == fake.greeting
                await stream.write(b"hello")
                assert await stream.read() == b"hello"
                await stream.close_write()
                assert await stream.read() == b""
            assert stream.is_closing
        assert fake.server.count(Method.REFRESH) == 1


async def test_what_is_still_open_ends_with_the_allocation() -> None:
    async with tcp_fake() as fake:
        async with turn.allocate(config(fake)) as allocation:
            stream = await allocation.connect(PEER)
        assert stream.is_closing
        await stream.close()


async def test_two_connections_to_one_peer_at_a_time() -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake)) as allocation:
        first = asyncio.create_task(allocation.connect(PEER))
        await asyncio.sleep(0)
        with pytest.raises(errors.TurnConnectionExistsError):
            await allocation.connect(PEER)
        await (await first).close()


async def test_peers_are_accepted_and_those_that_are_gone_are_passed_over() -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake)) as allocation:
        fake.server.refuse(Method.CONNECTION_BIND, 400)
        control = fake.writers[0]
        control.write(attempt(1) + attempt(2))
        stream = await allocation.accept()
        assert fake.server.count(Method.CONNECTION_BIND) == 4, "each after a challenge"
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await stream.close()


async def test_a_server_that_does_not_bind() -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake, client=QUICK)) as allocation:
        fake.server.mute.add(Method.CONNECTION_BIND)
        with pytest.raises(errors.TurnTimeoutError, match="ConnectionBind"):
            await allocation.connect(PEER)
        fake.server.mute.clear()
        fake.server.refuse(Method.CONNECTION_BIND, 400)
        with pytest.raises(errors.TurnBadRequestError):
            await allocation.connect(PEER)
        assert allocation.error is None


async def test_a_server_that_closes_the_data_connection() -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake)) as allocation:
        fake.server.mute.add(Method.CONNECTION_BIND)
        connecting = asyncio.create_task(allocation.connect(PEER))
        await fake.second.wait()
        fake.writers[1].transport.abort()
        with pytest.raises(errors.TurnUnreachableError):
            await connecting


async def test_a_server_that_ends_the_control_connection() -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake)) as allocation:
        accepting = asyncio.create_task(allocation.accept())
        await asyncio.sleep(0)
        fake.writers[0].close()
        with pytest.raises(errors.TurnUnreachableError, match="closed"):
            await accepting
        with pytest.raises(errors.TurnUnreachableError):
            await allocation.connect(PEER)


async def test_a_server_that_speaks_something_else() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.write(b"\xff\xffSSH-2.0")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    other = TurnServerConfig(url=f"turn:127.0.0.1:{port}?transport=tcp", username="u", password="p")
    with pytest.raises(errors.TurnUnreachableError, match="neither STUN"):
        await turn.allocate(other)
    listener.close()
    await listener.wait_closed()


async def test_datagrams_over_a_stream() -> None:
    server = FakeServer()
    server.echo = True
    async with tcp_fake(server) as fake, turn.allocate(config(fake, transport=RelayTransport.UDP)) as allocation:
        for size in range(12):
            allocation.send(b"x" * size, PEER)
            assert await allocation.receive() == (b"x" * size, PEER)
        assert server.count(Method.CHANNEL_BIND) == 1
        with pytest.raises(ValueError, match="TCP allocation"):
            await allocation.connect(PEER)


async def test_nothing_is_left_behind() -> None:
    before = len(asyncio.all_tasks())
    async with tcp_fake() as fake:
        for _ in range(5):
            async with turn.allocate(config(fake)) as allocation:
                await allocation.connect(PEER)
            assert len(asyncio.all_tasks()) <= before + len(fake.writers)
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == before
