"""What a relay, a target and a client refuse, and what silence costs them."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from signalling.errors import CircuitRefused
from signalling.libp2p.aio.relay_service import RelayService
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.upgrade import Upgrader
from signalling.libp2p.circuit import connect_request, reserve_request
from signalling.libp2p.circuit_messages import (
    HOP_PROTOCOL,
    STOP_PROTOCOL,
    HopMessage,
    HopType,
    Status,
    StopMessage,
    StopType,
)
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from tests.signalling.libp2p.aio.trio import (
    LIMITS,
    answer,
    clock,
    hop,
    settle,
    trio,
)
from tests.simulation.loop import virtual_time


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
