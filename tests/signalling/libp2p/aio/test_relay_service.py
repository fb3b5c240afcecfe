"""Circuits end to end in memory and virtual time: limited connections, limits, half closes, back-pressure."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from signalling.errors import LimitedConnection, NegotiationError
from signalling.libp2p.aio.connection import Direction
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.circuit import ReservationState, connect_request
from signalling.libp2p.circuit_messages import (
    STOP_PROTOCOL,
    Limit,
    Status,
    StopMessage,
    StopType,
)
from signalling.libp2p.host_config import RelayConfig
from tests.signalling.libp2p.aio.trio import (
    ECHO,
    POUR,
    Trio,
    answer,
    clock,
    echo,
    hop,
    settle,
    trio,
)
from tests.simulation.loop import virtual_time


@virtual_time
async def test_two_peers_meet_and_both_know_that_the_connection_is_limited() -> None:
    async with trio() as t:
        reservation = await t.target.reserve(t.relay_address)
        assert reservation.state is ReservationState.HELD
        assert reservation.limit == Limit(duration=60, data=100_000)
        assert t.address in t.target.addresses()
        connection = await t.source.identified(await t.source.connect(t.address))
        await settle()
        (inbound,) = t.target.connections(t.source.peer_id)
        for one, direction in ((connection, Direction.OUTBOUND), (inbound, Direction.INBOUND)):
            assert one.limit == Limit(duration=60, data=100_000)
            assert one.direction is direction
            assert one.peer_info is not None
            assert one.peer_info.observed_address is None, "a relayed peer sees only the relay"
        assert connection.remote_address == t.address
        assert "p2p-circuit" in inbound.remote_address.protocols()
        assert inbound.remote_address.peer_id == t.source.peer_id
        stream = await t.source.new_stream(t.target.peer_id, [ECHO], allow_limited=True)
        await stream.write(b"hello")
        await stream.close_write()
        assert await stream.read_exactly(5) == b"hello"
        assert await stream.read() == b""
        assert await t.source.ping(t.target.peer_id) >= 0
        assert await t.target.ping(t.source.peer_id) >= 0


@virtual_time
async def test_a_protocol_that_did_not_opt_in_stays_off_the_limited_connection_at_both_ends() -> None:
    async with trio() as t:
        t.target.handle("/private", echo)
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        with pytest.raises(LimitedConnection):
            await t.source.new_stream(connection, [ECHO])
        with pytest.raises(LimitedConnection):
            await t.source.new_stream(t.target.peer_id, [ECHO])
        with pytest.raises(NegotiationError):
            await t.source.new_stream(connection, ["/private"], allow_limited=True)


@virtual_time
async def test_an_unlimited_connection_is_taken_before_a_limited_one() -> None:
    async with trio() as t:
        await t.target.reserve(t.relay_address)
        relayed = await t.source.connect(t.address)
        await t.target.listen("/ip4/192.0.2.2/tcp/1")
        direct = await t.source.connect(f"/ip4/192.0.2.2/tcp/1/p2p/{t.target.peer_id}")
        assert direct is not relayed
        assert direct.limit is None
        for allow in (True, False):
            stream = await t.source.new_stream(t.target.peer_id, [ECHO], allow_limited=allow)
            assert stream.connection is direct
        await direct.close()
        stream = await t.source.new_stream(t.target.peer_id, [ECHO], allow_limited=True)
        assert stream.connection is relayed


@virtual_time
async def test_a_relay_without_limits_gives_ordinary_connections() -> None:
    async with trio(RelayConfig.unlimited()) as t:
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        assert connection.limit is None
        stream = await t.source.new_stream(connection, [ECHO])
        data = bytes(1 << 20)
        writing = asyncio.ensure_future(stream.write(data))
        assert await stream.read_exactly(len(data)) == data
        await writing
        await asyncio.sleep(3 * 3600)
        assert not connection.closed


@virtual_time
async def test_at_the_data_limit_of_a_direction_both_streams_are_reset() -> None:
    async with trio() as t:
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        stream = await t.source.new_stream(connection, [ECHO], allow_limited=True)
        came_back = 0
        with contextlib.suppress(ConnectionError):
            while True:
                await stream.write(bytes(20_000))
                came_back += len(await stream.read_exactly(20_000))
        assert came_back == 80_000
        await connection.wait_closed()
        await settle()
        assert t.target.connections(t.source.peer_id) == []
        snapshot = t.service.snapshot()
        assert snapshot.circuits == ()
        assert snapshot.statistics.circuits_cut == 1
        assert len(snapshot.reservations) == 1
        assert (await t.source.connect(t.address)).limit is not None, "another circuit is there for the asking"


@virtual_time
async def test_the_limit_counts_the_bytes_from_the_target_too() -> None:
    async with trio() as t:

        async def pour(stream: Stream) -> None:
            while True:
                await stream.write(bytes(10_000))

        t.target.handle(POUR, pour, allow_limited=True)
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        got = 0
        with contextlib.suppress(ConnectionError):
            stream = await t.source.new_stream(connection, [POUR], allow_limited=True)
            while data := await stream.read():
                got += len(data)
        await connection.wait_closed()
        await settle()
        assert got <= 100_000
        assert t.service.snapshot().statistics.circuits_cut == 1


@virtual_time
async def test_at_the_duration_limit_both_streams_are_reset() -> None:
    async with trio() as t:
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        await settle()
        (inbound,) = t.target.connections(t.source.peer_id)
        started = clock()
        await connection.wait_closed()
        assert clock() - started == pytest.approx(60.0, abs=0.1)
        await inbound.wait_closed()
        assert t.service.snapshot().statistics.circuits_cut == 1
        assert t.service.snapshot().circuits == ()


@virtual_time
async def test_a_relayed_connection_that_closes_closes_at_the_other_end() -> None:
    async with trio() as t:
        await t.target.reserve(t.relay_address)
        for closer in (t.source, t.target):
            await t.source.connect(t.address)
            await settle()
            for connection in closer.connections(t.target.peer_id) + closer.connections(t.source.peer_id):
                if connection.limit is not None:
                    await connection.close()
            await asyncio.sleep(1)
            assert t.source.connections(t.target.peer_id) == []
            assert t.target.connections(t.source.peer_id) == []
            assert t.service.snapshot().circuits == ()
        assert t.service.snapshot().statistics.circuits_closed == 2


async def _raw_circuit(t: Trio) -> tuple[Stream, Stream]:
    """Return both ends of a circuit whose target takes it by hand: no handshake inside."""
    offered: asyncio.Queue[Stream] = asyncio.Queue()
    done = asyncio.Event()

    async def take(stream: Stream) -> None:
        await stream.read_delimited(4096)
        await stream.write_delimited(StopMessage(type=StopType.STATUS, status=Status.OK).serialize())
        offered.put_nowait(stream)
        await done.wait()

    await t.target.reserve(t.relay_address)
    t.target.handle(STOP_PROTOCOL, take)
    source = await hop(t.source, t.relay_address, connect_request(t.target.peer_id))
    assert (await answer(source)).status == Status.OK
    return source, await offered.get()


@virtual_time
async def test_half_closes_go_through_the_relay() -> None:
    async with trio() as t:
        source, target = await _raw_circuit(t)
        await source.write(b"ask")
        await source.close_write()
        assert await target.read_exactly(3) == b"ask"
        assert await target.read() == b""
        await target.write(b"tell")
        await target.close_write()
        assert await source.read_exactly(4) == b"tell"
        assert await source.read() == b""
        await settle()
        snapshot = t.service.snapshot()
        assert snapshot.circuits == ()
        assert (snapshot.statistics.circuits_closed, snapshot.statistics.circuits_cut) == (1, 0)
        assert snapshot.statistics.bytes_relayed == 7


@virtual_time
async def test_a_reset_at_one_end_is_a_reset_at_the_other() -> None:
    for which in (0, 1):
        async with trio() as t:
            ends = await _raw_circuit(t)
            await ends[which].reset()
            with pytest.raises(ConnectionError):
                await ends[1 - which].read()


@virtual_time
async def test_a_circuit_closed_in_one_direction_and_silent_in_the_other_is_given_up() -> None:
    config = RelayConfig(circuit_duration=0, circuit_data=0, half_closed_timeout=120.0)
    async with trio(config) as t:
        source, target = await _raw_circuit(t)
        await source.close_write()
        assert await target.read() == b""
        await asyncio.sleep(100)
        await target.write(b"x")
        assert await source.read_exactly(1) == b"x"
        started = clock()
        with pytest.raises(ConnectionError):
            await source.read()
        assert clock() - started == pytest.approx(120.0, abs=0.1)


@virtual_time
async def test_a_slow_reader_holds_the_sender_and_costs_the_relay_little() -> None:
    async with trio(replace(RelayConfig.unlimited(), buffer=16 * 1024)) as t:
        source, target = await _raw_circuit(t)
        sent = 0

        async def pour() -> None:
            nonlocal sent
            while True:
                await source.write(bytes(65536))
                sent += 65536

        pouring = asyncio.ensure_future(pour())
        await asyncio.sleep(60)
        assert sent < 8 << 20
        held = sent
        await target.read_exactly(4 << 20)
        await settle()
        assert sent > held
        pouring.cancel()
        await asyncio.gather(pouring, return_exceptions=True)
