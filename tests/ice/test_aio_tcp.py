"""Sessions over TCP on real sockets of this machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from ice.aio.session import Session
from ice.candidate import Candidate, TcpType
from ice.config import IceConfig
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.address import TransportAddress, TransportProtocol
from stun.aio import UdpNetwork
from stun.network import DatagramReceiver, DatagramSocket

ACTIVE, PASSIVE, SO = TcpType.ACTIVE, TcpType.PASSIVE, TcpType.SIMULTANEOUS_OPEN


class NoUdp(UdpNetwork):
    """The system's network where UDP cannot be had."""

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> DatagramSocket:
        raise OSError("no UDP here")


def config(*kinds: TcpType, **tcp: object) -> IceConfig:
    settings = TcpConfig(candidates=frozenset(kinds), **tcp)  # type: ignore[arg-type]
    # A server that is never asked (UDP is missing, and TCP is told not to): with it simultaneous open is offered.
    return replace(IceConfig.for_loopback(), include_ipv6=False, tcp=settings)


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


def only_loopback(session: Session) -> Iterator[Candidate]:
    return (candidate for candidate in session.local_candidates if candidate.address.host == "127.0.0.1")


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
        driver = b._driver
        assert driver is not None
        (connection,) = driver.tcp.connections.values()
        connection._lost()
        async with asyncio.timeout(5.0):
            while b.stats().agent.tcp.accepted < 2 or a.stats().agent.tcp.attempts < 2:
                await asyncio.sleep(0.01)
            for one, other in ((a, b), (b, a)):
                got = None
                while got is None:
                    one.send(b"again")
                    await asyncio.sleep(0.01)
                    got = other.receive_nowait()
                assert got == b"again"


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
