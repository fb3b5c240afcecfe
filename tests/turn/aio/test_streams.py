"""The client over real TCP on loopback: control connections that end, and byte streams to peers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import turn
from stun import attributes as att
from stun.address import TransportAddress
from stun.config import StreamConfig, TransactionConfig
from stun.message import Method
from tests.stun.certificates import Authority
from tests.turn.aio.tcp_server import TcpFake, tcp_fake
from tests.turn.fake_server import PEER, FakeServer, Refusal
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
        with pytest.raises(errors.TurnClosedError):
            await stream.read()
        await stream.close()


@pytest.mark.parametrize("refused", [False, True])
async def test_a_lost_allocation_is_not_taken_for_the_end_of_the_peer(refused: bool) -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake)) as allocation:
        stream = await allocation.connect(PEER)
        await stream.write(b"before")
        assert await stream.read_exactly(3) == b"bef"
        if refused:
            fake.server.refuse(Method.CREATE_PERMISSION, 437)
            with pytest.raises(errors.TurnAllocationMismatchError):
                await allocation.permit("203.0.113.9")
        else:
            fake.writers[0].close()
        with pytest.raises(errors.TurnUnreachableError, match=r"437" if refused else "closed the connection"):
            await stream.read_exactly(100)
        with pytest.raises(ConnectionError):
            await stream.read()


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


async def test_a_server_that_does_not_read_holds_a_closed_stream_only_so_long() -> None:
    patience = TurnClientConfig(stream=StreamConfig(linger=0.2))
    async with tcp_fake() as fake, turn.allocate(config(fake, client=patience)) as allocation:
        fake.reads.clear()
        for cancelled in (False, True):
            stream = await allocation.connect(PEER._replace(port=1 + cancelled))
            writing = asyncio.ensure_future(stream.write(bytes(20_000_000)))
            await asyncio.sleep(0.05)
            assert not writing.done()
            closing = asyncio.ensure_future(stream.close())
            if cancelled:
                await asyncio.sleep(0.01)
                closing.cancel()
            await asyncio.wait([closing], timeout=2.0)
            assert closing.done()
            await asyncio.wait([writing], timeout=2.0)
            assert writing.done()
        fake.reads.set()


async def test_a_data_connection_with_something_else_is_told_at_once() -> None:
    async with tcp_fake() as fake, turn.allocate(config(fake)) as allocation:
        fake.server.mute.add(Method.CONNECTION_BIND)
        connecting = asyncio.create_task(allocation.connect(PEER))
        await fake.second.wait()
        fake.writers[1].write(b"HTTP/1.1 400 Bad Request")
        with pytest.raises(errors.TurnProtocolError, match="start with STUN") as caught:
            await asyncio.wait_for(connecting, 2.0)
        assert fake.url in caught.value.server


async def test_a_data_connection_that_does_not_open_says_how_long_it_was_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patience = TurnClientConfig(stream=StreamConfig(connect_timeout=0.1))
    async with tcp_fake() as fake, turn.allocate(config(fake, client=patience)) as allocation:

        async def never(*_: object, **__: object) -> None:
            await asyncio.sleep(1e6)

        monkeypatch.setattr("asyncio.open_connection", never)
        with pytest.raises(errors.TurnUnreachableError, match=r"within 0\.1 s"):
            await allocation.connect(PEER)


async def test_a_stream_that_is_ready_too_late_is_not_left_open() -> None:
    async with tcp_fake() as fake:
        allocation = await turn.allocate(config(fake))
        connecting = asyncio.create_task(allocation.connect(PEER))
        await fake.second.wait()
        await allocation.close()
        with pytest.raises(errors.TurnClosedError):
            await asyncio.wait_for(connecting, 2.0)
        async with asyncio.timeout(2.0):
            await fake.writers[1].wait_closed()


async def test_the_alternate_server_shows_the_name_of_the_redirect(tmp_path: Path) -> None:
    authority = Authority.make(tmp_path)
    there = FakeServer()
    async with (
        tcp_fake(certificate=authority.issue("one.test")) as first,
        tcp_fake(there, certificate=authority.issue("two.test")) as second,
    ):
        alternate = TransportAddress("127.0.0.1", second.port)
        redirect = [(att.ALTERNATE_SERVER, alternate), (att.ALTERNATE_DOMAIN, "two.test")]
        trusting = config(first, transport=RelayTransport.UDP, server_name="one.test", ssl_context=authority.context)
        first.server.refuse(Method.ALLOCATE, Refusal(300, redirect))  # type: ignore[arg-type]
        async with turn.allocate(trusting) as allocation:
            assert allocation.path.remote == alternate
        first.server.refuse(Method.ALLOCATE, Refusal(300, redirect[:1]))  # type: ignore[arg-type]
        with pytest.raises(errors.TurnTlsError, match=r"not for one\.test"):
            await turn.allocate(trusting)


async def test_nothing_is_left_behind() -> None:
    before = len(asyncio.all_tasks())
    async with tcp_fake() as fake:
        for _ in range(5):
            async with turn.allocate(config(fake)) as allocation:
                await allocation.connect(PEER)
            assert len(asyncio.all_tasks()) <= before + len(fake.writers)
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == before
