"""What aiortc's DTLS counts on: no empty datagram, nothing lost when cancelled, ``ConnectionError`` at the end."""

from __future__ import annotations

import asyncio

import pytest

from ice import Role
from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.pipe import PipeSession, pipe
from webrtc_bridge.ice_transport import IceTransport


@virtual_time
async def test_empty_datagrams_are_dropped() -> None:
    one, _ = pipe()
    transport = IceTransport(one)
    for datagram in (b"", b"", b"first", b"", b"second"):
        one.deliver(datagram)
    assert [await transport._recv(), await transport._recv()] == [b"first", b"second"]
    assert (transport.received, transport.empty) == (2, 3)


@virtual_time
async def test_a_cancelled_receive_loses_nothing() -> None:
    one, _ = pipe()
    transport = IceTransport(one)
    got = []
    for number in range(10):
        receiving = asyncio.ensure_future(transport._recv())
        await asyncio.sleep(0)
        one.deliver(bytes([number]))
        receiving.cancel()
        got += [item for item in await asyncio.gather(receiving, return_exceptions=True) if isinstance(item, bytes)]
    assert len(got) < 10
    got += [await transport._recv() for _ in range(10 - len(got))]
    assert got == [bytes([number]) for number in range(10)]


@virtual_time
async def test_the_end_is_a_connection_error() -> None:
    one, other = pipe()
    transport = IceTransport(one)
    await transport._send(b"x")
    waiting = asyncio.ensure_future(transport._recv())
    await asyncio.sleep(0)
    await transport.stop()
    await transport.stop()
    with pytest.raises(ConnectionError):
        await waiting
    with pytest.raises(ConnectionError):
        await transport._recv()
    with pytest.raises(ConnectionError):
        await transport._send(b"x")
    assert await other.receive() == b"x"


def test_the_roles_are_two_words() -> None:
    async def words() -> list[str]:
        return [IceTransport(PipeSession(role)).role for role in (Role.CONTROLLING, Role.CONTROLLED)]

    assert asyncio.run(words()) == ["controlling", "controlled"]
