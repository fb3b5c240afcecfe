"""Moving an allocation from asyncio code (RFC 8016): to another socket, and what may go wrong on the way."""

from __future__ import annotations

import asyncio

import pytest

from stun.message import Method
from tests.simulation import virtual_time
from tests.turn.aio.scene import Scene
from tests.turn.aio.test_client import QUIET, sockets
from tests.turn.fake_server import PEER
from turn import errors
from turn.config import ChannelPolicy, TurnClientConfig


@virtual_time
async def test_moving_to_another_socket() -> None:
    scene = Scene()
    server = scene.serve()
    server.echo = True
    async with scene.allocate(mobility=True, client=QUIET) as allocation:
        moved: list[object] = []
        allocation.on("moved", moved.append)
        before = allocation.path
        path = await allocation.move()
        assert path != before
        assert allocation.path == path
        assert moved == [path]
        assert sockets(scene) == 1
        allocation.send(b"x", PEER)
        assert await allocation.receive() == (b"x", PEER)
        server.refuse(Method.REFRESH, 437)
        with pytest.raises(errors.TurnAllocationMismatchError):
            await allocation.move()
        assert allocation.path == path
        assert sockets(scene) == 1
        assert allocation.error is None
    async with scene.allocate() as fixed:
        with pytest.raises(ValueError, match="mobility"):
            await fixed.move()
        assert sockets(scene) == 1


@virtual_time
async def test_a_move_that_fails_before_it_begins_is_told() -> None:
    scene = Scene()
    server = scene.serve()
    tuning = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND, max_outstanding=1, max_waiting=1)
    async with scene.allocate(mobility=True, client=tuning) as allocation:
        server.mute.add(Method.CREATE_PERMISSION)
        waiting = asyncio.ensure_future(asyncio.gather(*(allocation.permit(f"203.0.113.{n}") for n in range(30))))
        await asyncio.sleep(0)
        with pytest.raises(errors.TurnLimitError):
            await asyncio.wait_for(allocation.move(), 1.0)
        assert sockets(scene) == 1
        waiting.cancel()


@virtual_time
async def test_an_allocation_that_is_lost_while_a_way_to_move_to_is_opened() -> None:
    scene = Scene()
    server = scene.serve()
    async with scene.allocate(mobility=True, client=QUIET) as allocation:
        bind = allocation._driver._network.bind  # type: ignore[union-attr]

        async def slow(*arguments: object) -> object:
            await asyncio.sleep(1.0)
            return await bind(*arguments)  # type: ignore[arg-type]

        allocation._driver._network.bind = slow  # type: ignore[union-attr, method-assign, assignment]
        moving = asyncio.create_task(allocation.move())
        await asyncio.sleep(0.5)
        server.refuse(Method.CREATE_PERMISSION, 437)
        with pytest.raises(errors.TurnAllocationMismatchError):
            await allocation.permit(PEER.host)
        with pytest.raises(errors.TurnError):
            await moving
    assert sockets(scene) == 0
