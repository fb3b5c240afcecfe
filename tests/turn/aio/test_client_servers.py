"""Choosing among servers and their addresses, in virtual time: dead ones, refusals, redirects, several at once."""

from __future__ import annotations

import asyncio

import pytest

from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Method
from tests.simulation import virtual_time
from tests.turn.aio.scene import SERVER_HOST, Scene
from tests.turn.fake_server import Refusal
from turn import errors
from turn.config import ChannelPolicy, RedirectPolicy, TurnClientConfig

QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


def now() -> float:
    return asyncio.get_running_loop().time()


def sockets(scene: Scene) -> int:
    """How many sockets the client's host has open."""
    return len(scene.client.sockets)


@virtual_time
async def test_a_name_with_a_dead_address_costs_a_quarter_of_a_second() -> None:
    scene = Scene()
    scene.world.names = {"turn.example.org": ["203.0.113.200", SERVER_HOST]}
    scene.serve()
    began = now()
    async with scene.allocate("turn:turn.example.org:3478") as allocation:
        assert now() - began == pytest.approx(0.27)
        assert allocation.path.remote.host == SERVER_HOST
        await allocation.permit("203.0.113.5")
        with pytest.raises(ValueError, match="peer"):
            await allocation.permit("peer.example.org")
        await asyncio.sleep(1.1)
        assert sockets(scene) == 1, "the other try was called off meanwhile"


@virtual_time
async def test_one_refusal_of_the_user_ends_all_tries() -> None:
    scene = Scene()
    scene.world.names = {"turn.example.org": [SERVER_HOST, "203.0.113.200"]}
    server = scene.serve()
    with pytest.raises(errors.TurnCredentialsError):
        await scene.allocate("turn:turn.example.org:3478", password="guess")
    assert server.count(Method.ALLOCATE) == 2
    scene.world.names["deaf.example.org"] = ["203.0.113.200", "203.0.113.201"]
    with pytest.raises(errors.TurnTimeoutError) as caught:
        await scene.allocate("turn:deaf.example.org:3478")
    assert "203.0.113.201" in str(caught.value.__notes__), "what the other address came to is told too"
    with pytest.raises(errors.TurnResolveError, match=r"gone\.example\.org"):
        await scene.allocate("turn:gone.example.org:3478")


@virtual_time
async def test_a_family_that_a_server_does_not_relay_is_not_asked_of_its_other_addresses() -> None:
    scene = Scene()
    scene.world.names["turn.example.org"] = [SERVER_HOST, "203.0.113.54"]
    first, second = scene.serve(), scene.serve(host="203.0.113.54")
    first.refuse(Method.ALLOCATE, 440)
    with pytest.raises(errors.TurnAddressFamilyError):
        await scene.allocate("turn:turn.example.org:3478", families=(6,))
    await asyncio.sleep(1.0)
    assert second.requests == []


@virtual_time
async def test_an_old_allocation_of_our_port_means_a_new_port() -> None:
    scene = Scene()
    server = scene.serve()
    server.refuse(Method.ALLOCATE, 437, 437)
    async with scene.allocate():
        assert server.count(Method.ALLOCATE) == 6
    server.refuse(Method.ALLOCATE, *[437] * 10)
    with pytest.raises(errors.TurnAllocationMismatchError):
        await scene.allocate()
    assert server.count(Method.ALLOCATE) == 6 + 8, "three new ports, then no more (RFC 8656 section 7.4)"
    assert sockets(scene) == 0


@virtual_time
async def test_signed_redirects_are_followed_but_not_in_circles() -> None:
    scene = Scene()
    first, second = scene.serve(), scene.serve(host="203.0.113.54")
    there = TransportAddress("203.0.113.54", 3478)
    back = TransportAddress(SERVER_HOST, 3478)
    first.refuse(Method.ALLOCATE, Refusal(300, [(att.ALTERNATE_SERVER, there)]))  # type: ignore[list-item]
    async with scene.allocate() as allocation:
        assert allocation.path.remote == there
    first.refuse(Method.ALLOCATE, Refusal(300, [(att.ALTERNATE_SERVER, there)]))  # type: ignore[list-item]
    second.refuse(Method.ALLOCATE, Refusal(300, [(att.ALTERNATE_SERVER, back)]))  # type: ignore[list-item]
    with pytest.raises(errors.TurnRedirectError):
        await scene.allocate()
    first.refuse(Method.ALLOCATE, Refusal(300, [(att.ALTERNATE_SERVER, there)]))  # type: ignore[list-item]
    with pytest.raises(errors.TurnRedirectError):
        await scene.allocate(redirects=RedirectPolicy.NEVER)
    assert sockets(scene) == 0


@virtual_time
async def test_several_servers_at_once() -> None:
    scene = Scene()
    scene.serve()
    other = scene.serve(host="203.0.113.54")
    async with scene.allocate() as one, scene.allocate("turn:203.0.113.54") as two:
        other.refuse(Method.REFRESH, 437)
        await asyncio.sleep(3600.0)
        assert one.error is None
        assert isinstance(two.error, errors.TurnAllocationMismatchError)
        assert "203.0.113.54" in str(two.error)
