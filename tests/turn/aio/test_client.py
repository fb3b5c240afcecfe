"""The asyncio side of the TURN client in virtual time: allocating, data, loss, and that nothing is left."""

from __future__ import annotations

import asyncio
import logging

import pytest

from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Method
from stun.values import Icmp
from tests.simulation import virtual_time
from tests.turn.aio.scene import SERVER_HOST, Scene
from tests.turn.fake_server import PEER, RELAYED, icmp_indication
from turn import errors
from turn.config import ChannelPolicy, Credentials, RelayTransport, TurnClientConfig

QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


def now() -> float:
    return asyncio.get_running_loop().time()


def sockets(scene: Scene) -> int:
    """How many sockets the client's host has open."""
    return len(scene.client.sockets)


@virtual_time
async def test_an_allocation_takes_two_round_trips_and_is_given_back() -> None:
    scene = Scene()
    server = scene.serve()
    began = now()
    async with scene.allocate() as allocation:
        assert now() - began == pytest.approx(0.02)
        assert allocation.relayed == (RELAYED,)
        assert allocation.mapped.host == "198.51.100.1"
        assert allocation.error is None
    assert [request.method for request in server.requests] == [Method.ALLOCATE, Method.ALLOCATE, Method.REFRESH]
    assert server.requests[-1].get(att.LIFETIME) == 0
    assert isinstance(allocation.error, errors.TurnClosedError)
    assert sockets(scene) == 0
    with pytest.raises(errors.TurnClosedError):
        allocation.send(b"x", PEER)
    with pytest.raises(errors.TurnClosedError):
        await allocation.receive()
    with pytest.raises(errors.TurnClosedError):
        await allocation.permit(PEER.host)
    await allocation.close()


@virtual_time
async def test_data_there_and_back_takes_one_round_trip_more_than_the_permission() -> None:
    scene = Scene()
    server = scene.serve()
    server.echo = True
    async with scene.allocate(client=TurnClientConfig(keepalive=None, channel_after=3)) as allocation:
        began = now()
        allocation.send(b"one", PEER)
        assert await allocation.receive() == (b"one", PEER)
        assert now() - began == pytest.approx(0.02)
        for number in range(5):
            allocation.send(b"%d" % number, PEER)
            assert await allocation.receive() == (b"%d" % number, PEER)
        assert server.count(Method.CHANNEL_BIND) == 1
        assert len(server.channel_data) > 1


@virtual_time
async def test_awaited_allocations_and_explicit_closing() -> None:
    scene = Scene()
    scene.serve()
    allocation = await scene.allocate()
    async with allocation:
        await allocation.bind_channel(PEER)
        await allocation.bind_channel(PEER)
        await allocation.permit(PEER.host, "203.0.113.6")
        allocation.forbid("203.0.113.6")
    assert sockets(scene) == 0


@virtual_time
async def test_data_goes_to_a_receiver_or_a_listener_instead() -> None:
    scene = Scene()
    scene.serve().echo = True
    async with scene.allocate(client=QUIET) as allocation:
        taken: list[tuple[bytes, TransportAddress]] = []
        allocation.send(b"queued", PEER)
        await asyncio.sleep(0.1)
        allocation.set_receiver(lambda data, peer: taken.append((data, peer)))
        allocation.send(b"direct", PEER)
        await asyncio.sleep(0.1)
        assert taken == [(b"queued", PEER), (b"direct", PEER)]
        allocation.set_receiver(None)
        allocation.on("data", lambda data, peer: taken.append((data + b"!", peer)))
        allocation.send(b"event", PEER)
        await asyncio.sleep(0.1)
        assert taken[2:] == [(b"event!", PEER)]


@virtual_time
async def test_a_cancelled_receive_loses_nothing() -> None:
    scene = Scene()
    scene.serve().echo = True
    async with scene.allocate(client=QUIET) as allocation:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.0):
                await allocation.receive()
        first, second = (asyncio.create_task(allocation.receive()) for _ in range(2))
        await asyncio.sleep(0)
        allocation.send(b"x", PEER)
        await asyncio.sleep(0.02)
        first.cancel()  # after the datagram has woken it, perhaps, but before it could take it
        results = await asyncio.gather(first, asyncio.wait_for(second, 1.0), return_exceptions=True)
        assert (b"x", PEER) in results


@virtual_time
async def test_a_refused_permission_raises_and_is_an_event() -> None:
    scene = Scene()
    server = scene.serve()
    async with scene.allocate() as allocation:
        told: list[tuple[str, errors.TurnError]] = []
        allocation.on("permissionfailed", lambda host, error: told.append((host, error)))
        server.refuse(Method.CREATE_PERMISSION, 403)
        with pytest.raises(errors.TurnForbiddenError):
            await allocation.permit(PEER.host)
        assert told[0][0] == PEER.host
        server.refuse(Method.CHANNEL_BIND, 400)
        with pytest.raises(errors.TurnBadRequestError):
            await allocation.bind_channel(PEER)


@virtual_time
async def test_forbidding_ends_the_wait_for_what_is_forbidden() -> None:
    scene = Scene()
    server = scene.serve()
    async with scene.allocate(client=QUIET) as allocation:
        server.mute |= {Method.CREATE_PERMISSION, Method.CHANNEL_BIND}
        waiting = [
            asyncio.ensure_future(allocation.permit(PEER.host)),
            asyncio.create_task(allocation.bind_channel(PEER)),
        ]
        await asyncio.sleep(1.0)
        allocation.forbid(PEER.host)
        for result in await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1.0):
            assert isinstance(result, errors.TurnError)
            assert "was dropped" in str(result)
        assert allocation.error is None


@virtual_time
async def test_a_wrong_password_leaves_nothing_behind() -> None:
    scene = Scene()
    scene.serve()
    with pytest.raises(errors.TurnCredentialsError) as caught:
        await scene.allocate(password="guess")
    assert caught.value.code == 401
    assert SERVER_HOST in caught.value.server
    assert sockets(scene) == 0


@virtual_time
async def test_a_silent_server_is_given_up_after_the_whole_schedule() -> None:
    scene = Scene()
    began = now()
    with pytest.raises(errors.TurnTimeoutError):
        await scene.allocate()
    assert now() - began == pytest.approx(39.5)
    assert sockets(scene) == 0


@virtual_time
async def test_a_caller_who_gives_up_leaves_nothing_behind() -> None:
    scene = Scene()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2.0):
            await scene.allocate()
    assert sockets(scene) == 0
    late = scene.serve()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.015):  # between the first and the second round trip
            await scene.allocate()
    assert [request.get(att.LIFETIME) for request in late.requests][-1] == 0, "what was granted late was given back"
    assert sockets(scene) == 0


@virtual_time
async def test_losing_an_allocation_is_an_event_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    server = scene.serve()
    async with scene.allocate() as allocation:
        lost: asyncio.Future[errors.TurnError] = asyncio.get_running_loop().create_future()
        allocation.on("lost", lost.set_result)
        receiving = asyncio.create_task(allocation.receive())
        server.refuse(Method.REFRESH, 437)
        with caplog.at_level(logging.WARNING, "turn"):
            error = await lost
        assert isinstance(error, errors.TurnAllocationMismatchError)
        assert "the allocation is lost" in caplog.text
        with pytest.raises(errors.TurnAllocationMismatchError):
            await receiving
        with pytest.raises(errors.TurnAllocationMismatchError):
            allocation.send(b"x", PEER)
    assert allocation.error is error
    assert sockets(scene) == 0


@virtual_time
async def test_a_listener_that_raises_stops_nothing() -> None:
    scene = Scene()
    server = scene.serve()
    async with scene.allocate(client=QUIET) as allocation:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: problems.append(context))

        def complain(*_: object) -> None:
            raise ZeroDivisionError

        allocation.on("permissionfailed", complain)
        server.refuse(Method.CREATE_PERMISSION, 403)
        with pytest.raises(errors.TurnForbiddenError):
            await allocation.permit(PEER.host)
        await asyncio.sleep(3600.0)
        assert allocation.error is None
        assert server.count(Method.REFRESH) >= 6


@virtual_time
async def test_closing_ends_what_is_still_being_fetched_even_when_it_is_cancelled() -> None:
    scene = Scene()
    server = scene.serve()
    fetching = 0

    async def provider() -> Credentials:
        nonlocal fetching
        fetching += 1
        if fetching > 1:
            await asyncio.sleep(1e6)
        return Credentials("maria", "secret", 300.0)

    allocation = await scene.allocate(credentials=provider)
    await asyncio.sleep(250.0)
    assert fetching == 2
    server.mute.add(Method.REFRESH)
    closing = asyncio.create_task(allocation.close())
    await asyncio.sleep(0.5)
    closing.cancel()
    await asyncio.wait([closing])
    await asyncio.sleep(0.1)
    assert sockets(scene) == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_icmp_errors_are_events() -> None:
    scene = Scene()
    server = scene.serve()
    server.echo = True
    async with scene.allocate(client=QUIET) as allocation:
        told: list[tuple[TransportAddress, Icmp]] = []
        allocation.on("icmp", lambda peer, icmp: told.append((peer, icmp)))
        await allocation.permit(PEER.host)
        server.receive = lambda *_: [icmp_indication(PEER, Icmp(3, 3))]  # type: ignore[method-assign]
        allocation.send(b"x", PEER)
        await asyncio.sleep(0.1)
        assert told == [(PEER, Icmp(3, 3))]


@virtual_time
async def test_tcp_allocations_need_a_stream() -> None:
    scene = Scene()
    with pytest.raises(errors.TurnResolveError, match="transport=tcp"):
        await scene.allocate(transport=RelayTransport.TCP)
