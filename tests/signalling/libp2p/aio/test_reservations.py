"""Reservations over time: refreshed, regained, refused, and gone with their relay."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from signalling.errors import CircuitRefused, ConnectionClosed, DialError, NegotiationError
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.circuit import ReservationState
from signalling.libp2p.circuit_messages import (
    HOP_PROTOCOL,
    Status,
)
from signalling.libp2p.host_config import CircuitConfig, HostConfig, IdentifyConfig
from signalling.libp2p.multiaddr import Multiaddr
from tests.signalling.libp2p.aio.trio import (
    LIMITS,
    clock,
    settle,
    trio,
)
from tests.simulation.loop import virtual_time


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
