"""Sessions on the other event loop that users run."""

from __future__ import annotations

import asyncio

import uvloop

import ice


async def _trip() -> list[bytes]:
    here, there = ice.exchange_pair()

    async def listen() -> list[bytes]:
        async with ice.connect(there, role=ice.Role.CONTROLLED) as path:
            received = [await path.receive() for _ in range(50)]
            await path.send(b"all there")
            return received

    async def speak() -> None:
        async with ice.connect(here, role=ice.Role.CONTROLLING) as path:
            for n in range(50):
                await path.send(bytes([n]) * 1000)
            assert await path.receive() == b"all there"

    received, _ = await asyncio.gather(listen(), speak())
    return received


def test_a_session_connects_and_carries_data_on_uvloop() -> None:
    assert uvloop.run(_trip()) == [bytes([n]) * 1000 for n in range(50)]
