"""``ice.connect`` in virtual time and on real sockets."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

import ice
from ice.aio import Path, Session
from ice.aio.exchange import ExchangeConfig, MemoryExchange
from ice.exchange import Item
from ice.life_config import RoamingConfig
from stun.aio import UdpNetwork
from tests.ice.sessions import STUN, WIRE, behind
from tests.simulation import NatBehaviour, World, virtual_time
from tests.simulation.stun_server import stun_server

User = Callable[[Path], Coroutine[Any, Any, None]]


async def greet(path: Path) -> None:
    """Say a word, hear one, and wait for the other side to have heard."""
    await path.send(b"hi")
    assert await path.receive() == b"hi"
    await asyncio.sleep(1)


async def both_ends(world: World, first: User, second: User, nat: NatBehaviour | None = None) -> None:
    """Connect two hosts of ``world`` and let each run its user."""
    config = ice.IceConfig(stun_servers=[STUN])
    hosts = [behind(world, index, nat, link=WIRE) for index in (1, 2)]
    ends = ice.exchange_pair()

    async def side(index: int, role: ice.Role, user: User) -> None:
        network = hosts[index].network()
        async with ice.connect(ends[index], role=role, config=config, network=network) as path:
            await user(path)

    await asyncio.gather(side(0, ice.Role.CONTROLLING, first), side(1, ice.Role.CONTROLLED, second))
    assert not any(host.sockets for host in hosts)


@virtual_time
async def test_connect_and_talk() -> None:
    world = World()
    stun_server(world, STUN)

    async def look(path: Path) -> None:
        await greet(path)
        assert path.selected_pair is not None
        assert path.stats().packets_sent == 1
        assert isinstance(path.session, Session)

    await both_ends(world, greet, look, NatBehaviour.port_restricted_cone())


@virtual_time
async def test_an_error_in_the_block_comes_out_and_everything_is_closed() -> None:
    world = World()

    async def fail(path: Path) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await both_ends(world, fail, greet)
    await asyncio.sleep(60)


@virtual_time
async def test_cancelling_closes_everything() -> None:
    world = World()
    host = behind(world, 1, None)
    mine, theirs = ice.exchange_pair()

    async def wait() -> None:
        async with ice.connect(mine, role=ice.Role.CONTROLLING, network=host.network()):
            pytest.fail("nobody is there to connect to")

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(5)
    assert host.sockets
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not host.sockets
    await theirs.send(ice.EndOfCandidates("abcd"))


@virtual_time
async def test_unreachable_peers_raise_with_the_reason() -> None:
    world = World()
    stun_server(world, STUN)
    with pytest.raises(ice.IceError) as caught:
        await both_ends(world, greet, greet, NatBehaviour.symmetric())
    assert caught.value.reason is ice.FailureReason.CHECKS_FAILED
    await asyncio.sleep(60)


@virtual_time
async def test_signalling_that_ends_too_early_is_an_error_at_once() -> None:
    world = World()
    host = behind(world, 1, None)
    mine, theirs = ice.exchange_pair()
    theirs.close()
    began = asyncio.get_running_loop().time()
    with pytest.raises(ice.ExchangeError):
        async with ice.connect(mine, role=ice.Role.CONTROLLING, network=host.network()):
            pytest.fail("there is no peer")
    assert asyncio.get_running_loop().time() - began < 1


@virtual_time
async def test_signalling_that_raises_is_an_error_at_once() -> None:
    class Broken(MemoryExchange):
        async def __aiter__(self) -> AsyncIterator[Item]:
            raise ice.ExchangeError("the line is cut")
            yield

    world = World()
    exchange = Broken(ExchangeConfig())
    with pytest.raises(ice.IceError, match=r"closed|cut"):
        async with ice.connect(exchange, role=ice.Role.CONTROLLED, network=behind(world, 1, None).network()):
            pytest.fail("there is no peer")


@virtual_time
async def test_signalling_may_end_once_it_has_told_everything() -> None:
    world = World()

    class Short:
        """Ends after the description and one candidate, without an end of candidates."""

        def __init__(self, inner: MemoryExchange) -> None:
            self._inner = inner

        async def send(self, item: Item) -> None:
            await self._inner.send(item)

        async def __aiter__(self) -> AsyncIterator[Item]:
            seen = 0
            async for item in self._inner:
                yield item
                seen += 1
                if seen == 2:
                    return

    first, second = ice.exchange_pair()
    hosts = [behind(world, index, None) for index in (1, 2)]

    async def side(exchange: ice.Exchange, role: ice.Role, index: int) -> None:
        async with ice.connect(exchange, role=role, network=hosts[index].network()) as path:
            await greet(path)

    await asyncio.gather(side(Short(first), ice.Role.CONTROLLING, 0), side(Short(second), ice.Role.CONTROLLED, 1))


def test_the_cores_alone_load_no_asyncio() -> None:
    code = (
        "import ice, ice.agent, sys; assert 'asyncio' not in sys.modules; ice.Session; assert 'asyncio' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(ice, name) is not None for name in ice.__all__)
    with pytest.raises(AttributeError):
        ice.no_such_name  # type: ignore[attr-defined]  # noqa: B018


async def test_on_real_sockets_over_a_real_tcp_exchange() -> None:
    done = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with ice.connect(ice.StreamExchange(reader, writer), role=ice.Role.CONTROLLED) as path:
            for _ in range(100):
                await path.send(await path.receive())
            await done.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        async with ice.connect(ice.StreamExchange(reader, writer), role=ice.Role.CONTROLLING) as path:
            for index in range(100):
                await path.send(index.to_bytes(2, "big") * 100)
                assert await path.receive() == index.to_bytes(2, "big") * 100
            done.set()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("family", [4, 6])
async def test_on_real_sockets_of_each_family_over_loopback(family: int) -> None:
    config = ice.IceConfig(include_loopback=True, interfaces=["lo"], include_ipv4=family == 4, include_ipv6=family == 6)
    ends = ice.exchange_pair()
    done = asyncio.Barrier(2)

    async def side(exchange: MemoryExchange, role: ice.Role) -> None:
        async with ice.connect(exchange, role=role, config=config) as path:
            await path.send(role.encode())
            assert await path.receive() == role.other.encode()
            assert path.selected_pair is not None
            assert path.selected_pair.local.address.host == ("127.0.0.1" if family == 4 else "::1")
            await done.wait()

    if family == 6 and not any(interface.host == "::1" for interface in UdpNetwork().interfaces()):
        pytest.skip("this machine has no IPv6")
    await asyncio.gather(side(ends[0], ice.Role.CONTROLLING), side(ends[1], ice.Role.CONTROLLED))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a peer its own socket")
async def test_a_path_with_traffic_gets_a_socket_of_its_own_and_gives_it_back() -> None:
    quiet = RoamingConfig(watch=False)  # No socket for the kernel's news.
    config = ice.IceConfig(
        include_loopback=True, interfaces=["lo"], include_ipv6=False, own_socket_after=10, roaming=quiet
    )
    first, second = Session(ice.Role.CONTROLLING, config), Session(ice.Role.CONTROLLED, config)
    before = open_files()
    await asyncio.gather(first.gather(), second.gather())
    listening = 2  # For passive TCP candidates.
    assert open_files() == before + 2 + listening
    for session, peer in ((first, second), (second, first)):
        session.set_remote_description(peer.local_description)
        for candidate in peer.local_candidates:
            session.add_remote_candidate(candidate)
        session.add_remote_candidate(None)
    await asyncio.gather(first.connect(), second.connect())
    for index in range(30):
        assert open_files() == before + (2 if index <= 10 else 4) + listening
        first.send(bytes([200, index]))
        assert await second.receive() == bytes([200, index])
        second.send(bytes([201, index]))
        assert await first.receive() == bytes([201, index])
    await asyncio.gather(first.close(), second.close())
    assert open_files() == before


def open_files() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))
