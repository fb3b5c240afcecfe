"""Circuits end to end in memory and virtual time: reservations, the stop handshake, limits, refusals, the end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import pytest

from signalling.errors import CircuitRefused, ConnectionClosed, DialError, LimitedConnection, NegotiationError
from signalling.libp2p.aio.connection import Direction
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.upgrade import Upgrader
from signalling.libp2p.circuit import ReservationState, connect_request, reserve_request
from signalling.libp2p.circuit_messages import (
    HOP_PROTOCOL,
    STOP_PROTOCOL,
    HopMessage,
    HopType,
    Limit,
    Status,
    StopMessage,
    StopType,
)
from signalling.libp2p.host_config import CircuitConfig, HostConfig, IdentifyConfig, RelayConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from tests.signalling.libp2p.memory import Network
from tests.simulation.loop import virtual_time

RELAY_PLACE = "/ip4/192.0.2.1/tcp/4001"
ECHO = "/echo/1.0.0"
POUR = "/pour/1.0.0"

LIMITS = RelayConfig(circuit_duration=60, circuit_data=100_000)


async def echo(stream: Stream) -> None:
    while data := await stream.read():
        await stream.write(data)


async def settle() -> None:
    await asyncio.sleep(0.001)


def clock() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Trio:
    """A relay, a peer with a reservation there, and one that dials it."""

    network: Network
    relay: Host
    service: RelayService
    target: Host
    source: Host

    @property
    def relay_address(self) -> Multiaddr:
        return self.relay.addresses()[0]

    @property
    def address(self) -> Multiaddr:
        return self.relay_address.encapsulate(f"/p2p-circuit/p2p/{self.target.peer_id}")


@contextlib.asynccontextmanager
async def trio(config: RelayConfig = LIMITS, host: HostConfig | None = None) -> AsyncIterator[Trio]:
    network = Network()
    async with network.host() as relay, network.host(host) as target, network.host(host) as source:
        await relay.listen(RELAY_PLACE)
        service = RelayService(relay, config)
        target.handle(ECHO, echo, allow_limited=True)
        yield Trio(network, relay, service, target, source)
        await service.close()


async def hop(host: Host, relay: Multiaddr, message: bytes) -> Stream:
    """Send a raw message to the relay."""
    stream = await host.new_stream(await host.connect(relay), [HOP_PROTOCOL])
    await stream.write_delimited(message)
    return stream


async def answer(stream: Stream) -> HopMessage:
    message = await stream.read_delimited(4096)
    assert message is not None
    return HopMessage.parse(message)


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


@virtual_time
async def test_each_refusal_has_its_code() -> None:
    async with trio() as t:
        nobody = PeerId.parse("12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq")
        for message, status in (
            (connect_request(nobody), Status.NO_RESERVATION),
            (connect_request(t.source.peer_id), Status.PERMISSION_DENIED),
            (HopMessage(type=HopType.CONNECT).serialize(), Status.MALFORMED_MESSAGE),
            (HopMessage(type=HopType.STATUS, status=100).serialize(), Status.UNEXPECTED_MESSAGE),
            (HopMessage(type=99).serialize(), Status.UNEXPECTED_MESSAGE),
            (HopMessage().serialize(), Status.MALFORMED_MESSAGE),
            (b"\xff\xff\xff", Status.MALFORMED_MESSAGE),
            (bytes(5000), Status.MALFORMED_MESSAGE),
        ):
            stream = await hop(t.source, t.relay_address, message)
            told = await answer(stream)
            assert (told.type, told.status) == (HopType.STATUS, status)
            await stream.close()


@virtual_time
async def test_a_relay_behind_the_relay_is_refused() -> None:
    async with trio(RelayConfig.unlimited()) as t:
        inner = RelayService(t.target, RelayConfig.unlimited())
        await t.target.reserve(t.relay_address)
        relayed = await t.source.connect(t.address)
        for message in (reserve_request(), connect_request(t.relay.peer_id)):
            stream = await t.source.new_stream(relayed, [HOP_PROTOCOL])
            await stream.write_delimited(message)
            assert (await answer(stream)).status == Status.PERMISSION_DENIED
            await stream.close()
        with pytest.raises(CircuitRefused):
            await t.source.reserve(f"/p2p/{t.target.peer_id}")
        await t.target.listen("/ip4/192.0.2.2/tcp/1")
        await t.source.reserve(f"/ip4/192.0.2.2/tcp/1/p2p/{t.target.peer_id}")
        await inner.close()


@virtual_time
async def test_a_target_that_refuses_or_is_silent_fails_the_circuit() -> None:
    async with trio() as t:

        async def refuse(stream: Stream) -> None:
            await stream.write_delimited(StopMessage(type=StopType.STATUS, status=Status.PERMISSION_DENIED).serialize())

        async def stay_silent(stream: Stream) -> None:
            await asyncio.sleep(3600)

        async def babble(stream: Stream) -> None:
            await stream.write_delimited(b"\xff\xff")

        async def leave(stream: Stream) -> None:
            await stream.read_delimited(4096)

        await t.target.reserve(t.relay_address)
        for handler in (refuse, babble, leave, stay_silent):
            t.target.handle(STOP_PROTOCOL, handler)
            stream = await hop(t.source, t.relay_address, connect_request(t.target.peer_id))
            assert (await answer(stream)).status == Status.CONNECTION_FAILED
            await stream.close()
        assert t.service.snapshot().circuits == ()
        assert t.service.snapshot().statistics.refused[Status.CONNECTION_FAILED] == 4


@virtual_time
async def test_a_circuit_from_a_relay_without_our_reservation_is_not_taken() -> None:
    async with trio() as t:
        await t.target.connect(t.relay_address)
        (connection,) = t.relay.connections(t.target.peer_id)
        stream = await t.relay.new_stream(connection, [STOP_PROTOCOL])
        await stream.write_delimited(StopMessage(type=StopType.CONNECT).serialize())
        message = await stream.read_delimited(4096)
        assert message is not None
        assert StopMessage.parse(message).status == Status.PERMISSION_DENIED


@virtual_time
async def test_a_relay_that_names_another_source_than_the_one_that_comes_is_found_out() -> None:
    async with trio() as t:
        await t.target.reserve(t.relay_address)
        async with t.network.host() as impostor:
            upgrader = Upgrader(impostor.identity)
            (connection,) = t.relay.connections(t.target.peer_id)
            stream = await t.relay.new_stream(connection, [STOP_PROTOCOL])
            offer = StopMessage.parse(b"\x08\x00\x12\x28\x0a\x26" + t.source.peer_id.to_bytes())
            await stream.write_delimited(offer.serialize())
            message = await stream.read_delimited(4096)
            assert message is not None
            assert StopMessage.parse(message).status == Status.OK
            with contextlib.suppress(ConnectionError):
                upgraded = await upgrader.upgrade_stream(stream, Role.INITIATOR, t.target.peer_id)
                await upgraded.muxer.wait_closed()
            await settle()
            assert t.target.connections(impostor.peer_id) == []
            assert t.target.connections(t.source.peer_id) == []


@virtual_time
async def test_a_client_that_says_nothing_is_dropped() -> None:
    async with trio(replace(LIMITS, hop_timeout=60.0)) as t:
        connection = await t.source.connect(t.relay_address)
        stream = await t.source.new_stream(connection, [HOP_PROTOCOL])
        started = clock()
        with pytest.raises(ConnectionError):
            await stream.read()
        assert clock() - started == pytest.approx(60.0, abs=0.1)


@virtual_time
async def test_reservations_are_refreshed_before_they_run_out() -> None:
    config = replace(LIMITS, reservation_ttl=1000.0)
    client = HostConfig(circuit=CircuitConfig(refresh_margin=300.0))
    async with trio(config, client) as t:
        reservation = await t.target.reserve(t.relay_address)
        await asyncio.sleep(5000)
        assert reservation.state is ReservationState.HELD
        statistics = t.service.snapshot().statistics
        assert statistics.reservations_granted == 1
        assert 6 <= statistics.reservations_refreshed <= 8
        await t.target.unlisten(reservation)
        assert t.target.addresses() == []
        await asyncio.sleep(1001)
        assert t.service.snapshot().reservations == ()


@virtual_time
async def test_a_reservation_is_regained_when_the_relay_comes_back() -> None:
    async with trio() as t:
        changes: list[list[Multiaddr]] = []
        t.target.on("addresses", changes.append)
        reservation = await t.target.reserve(t.relay_address)
        listeners = dict(t.network.listeners)
        t.network.listeners.clear()
        await t.network.cut()
        await asyncio.sleep(30)
        assert reservation.state is ReservationState.WANTED
        assert t.target.addresses() == []
        assert t.service.snapshot().reservations == ()
        t.network.listeners.update(listeners)
        started = clock()
        await reservation.wait_held()
        assert clock() - started <= t.target.config.circuit.retry_max
        assert t.address in t.target.addresses()
        await t.source.connect(t.address)
        assert [bool(addresses) for addresses in changes] == [True, False, True]


@virtual_time
async def test_a_second_reservation_at_the_same_relay_is_the_first() -> None:
    async with trio() as t:
        first = await t.target.reserve(t.relay_address)
        assert await t.target.reserve(t.relay_address) is first
        assert t.service.snapshot().statistics.reservations_granted == 1


@virtual_time
async def test_a_relay_that_says_no_is_told_about_and_not_asked_again() -> None:
    async with trio(replace(LIMITS, max_reservations=0)) as t:
        with pytest.raises(CircuitRefused) as caught:
            await t.target.reserve(t.relay_address)
        assert caught.value.status == Status.RESERVATION_REFUSED
        await asyncio.sleep(600)
        assert t.service.snapshot().statistics.refused == {Status.RESERVATION_REFUSED: 1}


@virtual_time
async def test_a_dial_through_the_relay_tells_why_it_failed() -> None:
    async with trio() as t:
        with pytest.raises(DialError, match="NO_RESERVATION"):
            await t.source.connect(t.address)
        async with t.network.host() as plain:
            await plain.listen("/ip4/192.0.2.9/tcp/1")
            with pytest.raises(NegotiationError):
                await t.source.reserve(plain.addresses()[0])


@virtual_time
async def test_when_the_relay_closes_circuits_and_reservations_end() -> None:
    async with trio() as t:
        reservation = await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        await t.relay.close()
        await connection.wait_closed()
        await settle()
        assert reservation.state is ReservationState.WANTED
        await reservation.close()
        with pytest.raises(ConnectionClosed):
            await reservation.wait_held()


@virtual_time
async def test_a_closed_service_serves_no_more() -> None:
    async with trio() as t:
        await t.target.reserve(t.relay_address)
        connection = await t.source.connect(t.address)
        await t.service.close()
        await connection.wait_closed()
        with pytest.raises(DialError):
            await t.source.connect(t.address)


@virtual_time
async def test_the_address_is_pushed_to_those_who_know_us() -> None:
    quick = HostConfig(identify=IdentifyConfig(push_delay=0.01))
    async with trio(host=quick) as t, t.network.host() as friend:
        await friend.listen("/ip4/192.0.2.7/tcp/1")
        await t.target.identified(await t.target.connect(friend.addresses()[0]))
        await settle()
        (connection,) = friend.connections(t.target.peer_id)
        await friend.identified(connection)
        await t.target.reserve(t.relay_address)
        await asyncio.sleep(0.1)
        assert connection.peer_info is not None
        assert [a.encapsulate(f"/p2p/{t.target.peer_id}") for a in connection.peer_info.addresses] == [t.address]
        again = await friend.connect(t.target.peer_id)
        assert again is connection
        await connection.close()
        assert (await friend.connect(t.target.peer_id)).remote_address == t.address


@virtual_time
async def test_a_relay_that_never_answers_is_given_up() -> None:
    async with trio(host=HostConfig(circuit=CircuitConfig(reserve_timeout=10.0, connect_timeout=30.0))) as t:

        async def stay_silent(stream: Stream) -> None:
            await asyncio.sleep(3600)

        t.relay.handle(HOP_PROTOCOL, stay_silent, allow_limited=True)
        with pytest.raises(CircuitRefused):
            await t.target.reserve(t.relay_address)
        assert clock() == pytest.approx(10.0, abs=0.1)
        with pytest.raises(DialError):
            await t.source.connect(t.address)
        assert clock() == pytest.approx(10.0 + t.source.config.dial_timeout, abs=0.1)
