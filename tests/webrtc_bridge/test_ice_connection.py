"""Our ICE session behind the names that aiortc uses of aioice."""

from __future__ import annotations

import asyncio

import pytest
from aiortc.rtcicetransport import Candidate as AioiceCandidate  # type: ignore[attr-defined]
from aiortc.rtcicetransport import ConnectionClosed  # type: ignore[attr-defined]

from ice import IceConfig
from webrtc_bridge.ice_connection import IceConnection

LOOPBACK = IceConfig.for_loopback()


async def test_the_fifteen_names() -> None:
    found: list[object] = []
    one, other = (IceConnection(LOOPBACK, found.append) for _ in range(2))
    assert one.local_candidates == []
    assert one.remote_candidates == []
    one.ice_controlling = True
    assert one.ice_controlling
    assert not other.ice_controlling
    await asyncio.gather(one.gather_candidates(), other.gather_candidates())
    assert one.local_candidates
    await asyncio.sleep(0)
    assert None in found
    for here, there in ((one, other), (other, one)):
        for candidate in there.local_candidates:
            await here.add_remote_candidate(candidate)
        await here.add_remote_candidate(None)
        here.remote_username, here.remote_password = there.local_username, there.local_password
    await asyncio.gather(one.connect(), other.connect())
    assert {candidate.host for candidate in one.remote_candidates} == {item.host for item in other.local_candidates}
    await one.send(b"x")
    assert await other.recv() == b"x"
    events = asyncio.gather(one.get_event(), other.get_event())
    await asyncio.gather(one.close(), other.close())
    assert all(isinstance(event, ConnectionClosed) for event in await events)
    with pytest.raises(ConnectionError):
        await one.send(b"x")
    with pytest.raises(ConnectionError):
        await one.recv()


async def test_the_ends_that_make_stock_aiortc_hang() -> None:
    """Close before anything, connect without credentials, events after the end."""
    never = IceConnection(LOOPBACK, lambda candidate: None)
    with pytest.raises(ConnectionError):
        await never.connect()
    with pytest.raises(ConnectionError):
        await never.send(b"x")
    odd = AioiceCandidate.from_sdp("1 1 udp 1 name_without/sense 1 typ host")
    await never.add_remote_candidate(odd)
    await never.close()
    await never.close()
    assert isinstance(await asyncio.wait_for(never.get_event(), 1), ConnectionClosed)
    await never.gather_candidates()
    never.remote_username, never.remote_password = "abcd", "p" * 22
    with pytest.raises(ConnectionError):
        await never.connect()


async def test_bad_credentials_of_the_peer_are_a_connection_error() -> None:
    connection = IceConnection(LOOPBACK, lambda candidate: None)
    connection.remote_username, connection.remote_password = "x", "y"
    with pytest.raises(ConnectionError):
        await connection.connect()
    await connection.close()


async def test_candidates_before_the_credentials_wait_in_a_bounded_list() -> None:
    connection = IceConnection(IceConfig(include_loopback=True, max_remote_candidates=5), lambda candidate: None)
    for port in range(1, 100):
        await connection.add_remote_candidate(AioiceCandidate.from_sdp(f"1 1 udp 1 127.0.0.1 {port} typ host"))
    assert len(connection._early) == 5
    await connection.close()
