"""Sessions over TCP on real sockets of this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from ice.aio.session import Session
from ice.candidate import TcpType
from ice.config import IceConfig
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress, TransportProtocol
from stun.aio import UdpNetwork
from stun.aio.server import serve
from stun.network import DatagramReceiver, DatagramSocket

ACTIVE, PASSIVE, SO = TcpType.ACTIVE, TcpType.PASSIVE, TcpType.SIMULTANEOUS_OPEN


class NoUdp(UdpNetwork):
    """The system's network where UDP cannot be had."""

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        raise OSError("no UDP here")


def config(*kinds: TcpType, **tcp: object) -> IceConfig:
    settings = TcpConfig(candidates=frozenset(kinds), **tcp)  # type: ignore[arg-type]
    return replace(IceConfig.for_loopback(), include_ipv6=False, interfaces=("lo",), tcp=settings)


@contextlib.asynccontextmanager
async def connected(
    a_config: IceConfig, b_config: IceConfig, *, udp: bool = False
) -> AsyncIterator[tuple[Session, Session]]:
    network = UdpNetwork() if udp else NoUdp()
    a, b = Session(Role.CONTROLLING, a_config, network), Session(Role.CONTROLLED, b_config, network)
    try:
        for one, other in ((a, b), (b, a)):
            one.on("candidate", other.add_remote_candidate)
        await asyncio.gather(a.gather(), b.gather())
        a.set_remote_description(b.local_description)
        b.set_remote_description(a.local_description)
        async with asyncio.timeout(10.0):
            await asyncio.gather(a.connect(), b.connect())
        yield a, b
    finally:
        await asyncio.gather(a.close(), b.close())


@pytest.mark.parametrize(("a_kind", "b_kind"), [(ACTIVE, PASSIVE), (PASSIVE, ACTIVE)])
async def test_two_sessions_without_udp_connect_over_tcp(a_kind: TcpType, b_kind: TcpType) -> None:
    async with connected(config(a_kind), config(b_kind)) as (a, b):
        for one, other in ((a, b), (b, a)):
            path = one.selected_pair
            assert path is not None
            assert path.path.protocol is TransportProtocol.TCP
            for size in (1, 1200, 16_000, 65_535):
                one.send(b"\x80" * size)
                assert await asyncio.wait_for(other.receive(), 5.0) == b"\x80" * size
        with pytest.raises(ValueError, match="empty"):
            a.send(b"")
        sent = a.stats().packets_sent
        a.send(b"x" * 65_536)
        assert a.stats().packets_sent == sent, "longer than any frame: lost, and counted"
        assert a.stats().send_failures == 1


async def test_udp_wins_where_there_is_udp_and_no_connection_is_opened() -> None:
    loopback = IceConfig.for_loopback()
    async with connected(loopback, loopback, udp=True) as (a, b):
        assert any(candidate.tcp_type is PASSIVE for candidate in a.local_candidates)
        assert a.selected_pair is not None
        assert a.selected_pair.path.protocol is TransportProtocol.UDP
        await asyncio.sleep(0)
        assert a.stats().agent.tcp.attempts == b.stats().agent.tcp.attempts == 0


async def test_both_sides_go_on_when_the_connection_breaks() -> None:
    async with connected(config(ACTIVE), config(PASSIVE)) as (a, b):
        moved = [asyncio.Event(), asyncio.Event()]
        a.on("selectedpair", lambda pair: moved[0].set())
        b.on("selectedpair", lambda pair: moved[1].set())
        driver = b._driver
        assert driver is not None
        (connection,) = driver.tcp.connections.values()
        connection._lost()
        async with asyncio.timeout(5.0):
            await asyncio.gather(*(event.wait() for event in moved))
            for one, other in ((a, b), (b, a)):
                one.send(b"again")
                assert await other.receive() == b"again"
        assert (a.stats().agent.tcp.attempts, b.stats().agent.tcp.accepted) == (2, 2)


async def test_a_peer_that_does_not_read_costs_packets_but_no_memory_and_no_consent() -> None:
    async with connected(config(ACTIVE, max_write_buffer=100_000), config(PASSIVE)) as (a, b):
        driver = b._driver
        assert driver is not None
        (connection,) = driver.tcp.connections.values()
        b_loop = asyncio.get_running_loop()
        b_loop.remove_reader(connection._socket.fileno())
        for _ in range(1000):
            a.send(b"\x80" * 60_000)
        await asyncio.sleep(0)
        stats = a.stats()
        assert stats.send_failures > 100
        assert a._driver is not None
        (ours,) = a._driver.tcp.connections.values()
        assert len(ours._backlog) + ours._held_size <= 100_000
        assert ours.send_check(b"\0" * 100), "a check has room"
        b_loop.add_reader(connection._socket.fileno(), connection._readable)
        async with asyncio.timeout(5.0):
            assert await b.receive() == b"\x80" * 60_000


async def test_many_small_packets_arrive_complete_and_in_order() -> None:
    async with connected(config(ACTIVE), config(PASSIVE)) as (a, b):
        received = []

        async def take() -> None:
            while len(received) < 20_000:
                received.append(await b.receive())

        taking = asyncio.create_task(take())
        for number in range(20_000):
            a.send(b"\x80" + number.to_bytes(4, "big"))
            if number % 400 == 399:
                await asyncio.sleep(0)
        await asyncio.wait_for(taking, 10.0)
        assert [int.from_bytes(packet[1:], "big") for packet in received] == list(range(20_000))


async def test_two_sessions_open_one_connection_from_both_sides() -> None:
    async with await serve(["127.0.0.1"], 0) as server:
        both = replace(config(SO), stun_servers=[f"127.0.0.1:{server.udp[0].port}"])
        async with connected(both, both) as (a, b):
            path, mirror = a.selected_pair, b.selected_pair
            assert path is not None
            assert mirror is not None
            # From the very ports that both listen on, so it is one connection.
            assert (path.path.local, path.path.remote) == (mirror.path.remote, mirror.path.local)
            assert path.local.tcp_type is SO
            a.send(b"data")
            assert await asyncio.wait_for(b.receive(), 5.0) == b"data"
            assert server.stats.responses == 2, "the server was asked over TCP, once from each port"
            assert {candidate.tcp_type for candidate in a.local_candidates} == {SO}


async def test_a_stranger_who_says_nothing_or_nonsense_loses_his_connection() -> None:
    async with connected(config(ACTIVE), config(PASSIVE, incoming_timeout=0.3, max_incoming=2)) as (a, b):
        (passive,) = b.local_candidates
        streams = [await asyncio.open_connection(passive.address.host, passive.address.port) for _ in range(4)]
        try:
            streams[0][1].write(b"GET / HTTP/1.1\r\n\r\n" * 10)
            async with asyncio.timeout(5.0):
                for reader, _ in streams:
                    with contextlib.suppress(ConnectionError):
                        assert await reader.read() == b""
        finally:
            for _, writer in streams:
                writer.close()
                with contextlib.suppress(ConnectionError):
                    await writer.wait_closed()
        stats = b.stats()
        assert stats.agent.tcp.accepted == 3
        assert stats.agent.tcp.refused == 2
        assert stats.packets_received == 0
        a.send(b"data")
        assert await asyncio.wait_for(b.receive(), 5.0) == b"data"
