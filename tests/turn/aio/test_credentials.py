"""Credentials from a provider: renewed under a live allocation, and what its failures mean."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from tests.simulation import virtual_time
from tests.turn.aio.scene import Scene
from tests.turn.fake_server import PEER, RELAYED, FakeServer
from turn import errors
from turn.config import Credentials


def now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_credentials_are_renewed_under_the_live_allocation() -> None:
    scene = Scene()
    server = scene.serve(FakeServer({"0:maria": "p0"}))
    handed_out = 0

    async def provider() -> Credentials:
        nonlocal handed_out
        if handed_out == 2:
            handed_out += 1
            raise ConnectionError("the shop is closed for a moment")
        credentials = Credentials(f"{handed_out}:maria", f"p{handed_out}", 300.0)
        server.set_users({credentials.username: credentials.password})
        handed_out += 1
        return credentials

    async with scene.allocate(credentials=provider) as allocation:
        await allocation.permit(PEER.host)
        await asyncio.sleep(3600.0)
        assert allocation.error is None
        assert allocation.relayed == (RELAYED,)
        assert handed_out > 10
        assert len(set(server.granted_usernames)) > 5


@virtual_time
async def test_a_provider_that_fails_at_first_is_told() -> None:
    scene = Scene()
    scene.serve()

    async def provider() -> Credentials:
        raise ValueError("no such customer")

    with pytest.raises(errors.TurnCredentialsError, match="no such customer"):
        await scene.allocate(credentials=provider)
    assert scene.packets == 0


@virtual_time
async def test_a_provider_may_raise_anything_or_hang() -> None:
    class Unheard(Exception):
        pass

    async def broken() -> Credentials:
        raise Unheard("of")

    async def hanging() -> Credentials:
        await asyncio.sleep(1e6)
        raise AssertionError("nobody waits for so long")

    scene = Scene()
    with pytest.raises(errors.TurnCredentialsError, match="of") as caught:
        await scene.allocate(credentials=broken)
    assert isinstance(caught.value.__cause__, Unheard)
    began = now()
    with pytest.raises(errors.TurnCredentialsError, match="30 s"):
        await scene.allocate(credentials=hanging)
    assert now() - began == pytest.approx(30.0)


@virtual_time
async def test_a_provider_that_fails_for_ever_loses_the_allocation_for_that_reason() -> None:
    scene = Scene()
    server = scene.serve()
    first = True

    async def provider() -> Credentials:
        nonlocal first
        if not first:
            raise OSError("gone")
        first = False
        return Credentials("maria", "secret", 300.0)

    async with scene.allocate(credentials=provider) as allocation:
        server.set_users({"nobody": "x"})
        await asyncio.sleep(700.0)
        assert isinstance(allocation.error, errors.TurnCredentialsError)


@virtual_time
async def test_a_provider_may_raise_before_it_is_awaited_or_return_nonsense() -> None:
    def raises() -> Awaitable[Credentials]:
        raise LookupError("no vault")

    async def nothing() -> Credentials:
        return None  # type: ignore[return-value]

    async def unsendable() -> Credentials:
        return Credentials("maria", "bell\x07")

    scene = Scene()
    for provider, text in ((raises, "no vault"), (nothing, "not NoneType"), (unsendable, "cannot be sent")):
        with pytest.raises(errors.TurnCredentialsError, match=text) as caught:
            await scene.allocate(credentials=provider)
        assert caught.value.server == "turn:203.0.113.53"
    with pytest.raises(errors.TurnCredentialsError, match="cannot be sent"):
        await scene.allocate(username="maria", password="bell\x07")
    assert scene.packets == 0


@virtual_time
async def test_a_provider_that_returns_nonsense_later_is_asked_again() -> None:
    scene = Scene()
    scene.serve()
    asked = 0

    async def provider() -> Credentials:
        nonlocal asked
        asked += 1
        if asked == 2:
            return Credentials("maria", "bell\x07")
        if asked == 3:
            return None  # type: ignore[return-value]
        return Credentials("maria", "secret", 300.0)

    async with scene.allocate(credentials=provider) as allocation:
        await asyncio.sleep(240.0 + 11.0)
        assert asked == 4
        assert allocation.error is None
