"""The host over a network in memory and in virtual time: connections, streams, limits, dials, the end."""

from __future__ import annotations

import asyncio

import pytest

from signalling.errors import ConnectionClosed, DialError, NegotiationError
from signalling.libp2p.aio.connection import Connection, Direction
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from tests.signalling.libp2p.memory import Network
from tests.simulation.loop import virtual_time

PLACE = "/ip4/192.0.2.1/tcp/4001"
ECHO = "/echo/1.0.0"


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def settle() -> None:
    """Let everything that is under way in memory happen."""
    await asyncio.sleep(0.001)


def clock() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_two_hosts_connect_and_tell_their_applications() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        told: list[tuple[str, str, Connection]] = []
        for name, host in (("alice", alice), ("bob", bob)):
            for event in ("connection", "identified", "disconnection"):
                host.on(event, lambda connection, name=name, event=event: told.append((name, event, connection)))
        await bob.listen(PLACE)
        assert bob.addresses() == [Multiaddr(f"{PLACE}/p2p/{bob.peer_id}")]
        connection = await alice.connect(bob.addresses()[0])
        assert connection.remote_peer == bob.peer_id
        assert connection.direction is Direction.OUTBOUND
        assert connection.limit is None
        await alice.identified(connection)
        await settle()
        (inbound,) = bob.connections(alice.peer_id)
        assert inbound.direction is Direction.INBOUND
        assert alice.connections() == [connection]
        assert connection.peer_info is not None
        assert connection.peer_info.addresses == (Multiaddr(PLACE),)
        assert inbound.peer_info is not None
        assert inbound.peer_info.observed_address == Multiaddr(PLACE)
        await connection.close()
        await settle()
        assert alice.connections() == bob.connections() == []
        assert sorted((name, event) for name, event, _ in told) == [
            (name, event) for name in ("alice", "bob") for event in ("connection", "disconnection", "identified")
        ]


@virtual_time
async def test_a_stream_carries_bytes_and_closes_by_halves() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        bob.handle(ECHO, echo)
        connection = await alice.connect(f"{PLACE}/p2p/{bob.peer_id}")
        stream = await alice.new_stream(connection, ["/unknown/1", ECHO])
        assert stream.protocol == ECHO
        assert stream.connection is connection
        await stream.write(b"hello")
        await stream.close_write()
        assert await stream.read_exactly(5) == b"hello"
        assert await stream.read() == b""
        with pytest.raises(NegotiationError):
            await alice.new_stream(bob.peer_id, ["/unknown/1"])
        bob.unhandle(ECHO)
        known = await alice.new_stream(bob.peer_id, [ECHO])
        with pytest.raises(NegotiationError):
            await known.read()


@virtual_time
async def test_a_handler_that_fails_resets_its_stream_and_nothing_else() -> None:
    network = Network()
    problems: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context["message"]))

    async def refuse(stream: Stream) -> None:
        await stream.read()
        raise ConnectionResetError("had enough")

    async def stumble(stream: Stream) -> None:
        await stream.read()
        raise KeyError("a mistake of the application")

    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        bob.handle("/refuse", refuse)
        bob.handle("/stumble", stumble)
        bob.handle(ECHO, echo)
        connection = await alice.connect(bob.addresses()[0])
        for protocol in ("/refuse", "/stumble"):
            stream = await alice.new_stream(connection, [protocol])
            await stream.write(b"x")
            with pytest.raises(ConnectionError):
                await stream.read()
        stream = await alice.new_stream(connection, [ECHO])
        await stream.write(b"x")
        assert await stream.read() == b"x"
        await stream.close()
    assert len(problems) == 1, "the application's mistake is told, the ordinary end is not"
    assert "stream of" in problems[0]


@virtual_time
async def test_connecting_twice_gives_the_connection_that_is_there() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        first = await alice.connect(bob.addresses()[0])
        assert await alice.connect(bob.addresses()[0]) is first
        assert await alice.connect(bob.peer_id) is first
        assert await alice.connect(f"/p2p/{bob.peer_id}") is first
        await first.close()
        second = await alice.connect(bob.peer_id)
        assert second is not first


@virtual_time
async def test_a_peer_known_from_identify_is_dialled_again_for_a_stream() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        bob.handle(ECHO, echo)
        connection = await alice.identified(await alice.connect(bob.addresses()[0]))
        await connection.close()
        streams = await asyncio.gather(*(alice.new_stream(bob.peer_id, [ECHO]) for _ in range(5)))
        assert len({stream.connection for stream in streams}) == 1, "five streams share one dial"
        await settle()
        assert len(bob.connections()) == 1


@virtual_time
async def test_nobody_dials_oneself_or_a_stranger_without_address() -> None:
    network = Network()
    async with network.host() as alice:
        await alice.listen(PLACE)
        with pytest.raises(DialError):
            await alice.connect(alice.addresses()[0])
        with pytest.raises(DialError):
            await alice.connect(PLACE)
        stranger = PeerId.from_public_key(PrivateKey.generate().public_key)
        with pytest.raises(DialError):
            await alice.new_stream(stranger, [ECHO])
        with pytest.raises(DialError) as caught:
            await alice.connect(f"/ip4/192.0.2.99/tcp/1/p2p/{stranger}")
        assert "nobody listens" in next(iter(caught.value.failures.values()))
        with pytest.raises(DialError):
            await alice.listen("/ip4/192.0.2.1/udp/1/quic-v1")
        await settle()
        assert alice.connections() == []


@virtual_time
async def test_somebody_else_at_the_address_is_found_out() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        stranger = PeerId.from_public_key(PrivateKey.generate().public_key)
        with pytest.raises(DialError):
            await alice.connect(f"{PLACE}/p2p/{stranger}")
        await settle()
        assert alice.connections() == bob.connections() == []


@virtual_time
async def test_dead_addresses_hold_a_live_one_up_by_a_stagger_each() -> None:
    network = Network()
    config = HostConfig(dial_stagger=0.25, dial_timeout=15.0)
    dead = [Multiaddr(f"/ip4/192.0.2.{number}/tcp/1") for number in (50, 51)]
    network.black_holes.update(dead)
    async with network.host(config) as alice, network.host() as bob:
        await bob.listen(PLACE)
        alice.address_book.add(bob.peer_id, [*dead, Multiaddr(PLACE)])
        started = clock()
        await alice.connect(bob.peer_id)
        assert clock() - started == pytest.approx(0.5, abs=0.01)


@virtual_time
async def test_a_refused_address_costs_no_time() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        alice.address_book.add(bob.peer_id, [Multiaddr("/ip4/192.0.2.50/tcp/1"), Multiaddr(PLACE)])
        started = clock()
        await alice.connect(bob.peer_id)
        assert clock() - started < 0.01


@virtual_time
async def test_when_nothing_answers_the_dial_ends_in_time() -> None:
    network = Network()
    config = HostConfig(dial_stagger=0.25, dial_timeout=15.0, max_parallel_addresses=2)
    stranger = PeerId.from_public_key(PrivateKey.generate().public_key)
    dead = [Multiaddr(f"/ip4/192.0.2.{number}/tcp/1") for number in range(50, 54)]
    network.black_holes.update(dead)
    async with network.host(config) as alice:
        alice.address_book.add(stranger, dead)
        started = clock()
        with pytest.raises(DialError) as caught:
            await alice.connect(stranger)
        assert len(caught.value.failures) == 4
        assert clock() - started == pytest.approx(2 * 15.0 + 0.25, abs=0.3)


@virtual_time
async def test_a_lost_connection_ends_its_streams_on_both_sides() -> None:
    network = Network()
    ended = asyncio.Event()

    async def wait(stream: Stream) -> None:
        try:
            await stream.read()
        finally:
            ended.set()

    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        bob.handle(ECHO, wait)
        stream = await alice.new_stream(await alice.connect(bob.addresses()[0]), [ECHO])
        await network.cut()
        with pytest.raises(ConnectionError):
            await stream.read()
        await ended.wait()
        await settle()
        assert alice.connections() == bob.connections() == []


@virtual_time
async def test_a_closed_host_refuses_everything_and_leaves_nothing_running() -> None:
    network = Network()
    alice, bob = network.host(), network.host()
    gone: list[Connection] = []
    alice.on("disconnection", gone.append)
    await bob.listen(PLACE)
    bob.handle(ECHO, echo)
    connection = await alice.connect(bob.addresses()[0])
    stream = await alice.new_stream(connection, [ECHO])
    await alice.close()
    await alice.close()
    assert alice.closed
    with pytest.raises(ConnectionError):
        await stream.read()
    with pytest.raises(ConnectionClosed):
        await alice.connect(bob.addresses()[0])
    with pytest.raises(ConnectionClosed):
        await alice.listen(PLACE)
    with pytest.raises(ConnectionClosed):
        await alice.new_stream(connection, [ECHO])
    await settle()
    assert gone == [connection]
    assert bob.connections() == []
    await bob.close()
    assert network.listeners == {}


@virtual_time
async def test_callers_that_want_the_same_share_a_dial_and_it_stops_with_the_last() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        connections = await asyncio.gather(*(alice.connect(bob.addresses()[0]) for _ in range(5)))
        assert len(set(connections)) == 1
        hole = Multiaddr("/ip4/192.0.2.50/tcp/1")
        network.black_holes.add(hole)
        dials = [asyncio.ensure_future(alice.connect(hole)) for _ in range(3)]
        await settle()
        before = len(asyncio.all_tasks())
        for dial in dials[:2]:
            dial.cancel()
        await settle()
        assert not dials[2].done()
        dials[2].cancel()
        await asyncio.gather(*dials, return_exceptions=True)
        await settle()
        assert len(asyncio.all_tasks()) == before - 5, "three callers, the dial and its attempt are gone"


@virtual_time
async def test_an_address_of_somebody_else_is_forgotten() -> None:
    network = Network()
    async with network.host() as alice, network.host() as bob:
        await bob.listen(PLACE)
        stranger = PeerId.from_public_key(PrivateKey.generate().public_key)
        alice.address_book.add(stranger, [Multiaddr(PLACE), Multiaddr("/ip4/192.0.2.50/tcp/1")])
        with pytest.raises(DialError):
            await alice.connect(stranger)
        assert alice.address_book.get(stranger) == (Multiaddr(f"/ip4/192.0.2.50/tcp/1/p2p/{stranger}"),)
