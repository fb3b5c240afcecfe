"""The data channels of the aiortc-compatible connection: with the limits of ours, and what stock aiortc hangs on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiortc import RTCDataChannel
from aiortc.rtcsctptransport import Chunk

from ice import IceConfig
from tests.webrtc_bridge.sctp_wire import inject
from tests.webrtc_bridge.test_compat_restart import negotiate
from webrtc_bridge.compat import RTCPeerConnection
from webrtc_bridge.config import SctpConfig
from webrtc_bridge.sctp import SctpAssociation

LOOPBACK = IceConfig.for_loopback()


@asynccontextmanager
async def connected(
    sctp: SctpConfig | None = None,
) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection, RTCDataChannel, RTCDataChannel]]:
    first, second = RTCPeerConnection(ice=LOOPBACK), RTCPeerConnection(ice=LOOPBACK, sctp=sctp)
    arrived: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
    second.once("datachannel", arrived.set_result)
    channel = first.createDataChannel("talk")
    try:
        await negotiate(first, second)
        other = await asyncio.wait_for(arrived, 10)
        yield first, second, channel, other
    finally:
        await asyncio.gather(first.close(), second.close())


async def said(channel: RTCDataChannel, other: RTCDataChannel, data: bytes) -> bytes:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    other.once("message", heard.set_result)
    opened = asyncio.Event()
    channel.once("open", opened.set)
    if channel.readyState == "connecting":
        await asyncio.wait_for(opened.wait(), 10)
    channel.send(data)
    return await asyncio.wait_for(heard, 10)


async def test_they_are_those_of_our_association_on_both_sides() -> None:
    async with connected(SctpConfig(receive_window=64_000)) as (first, second, channel, other):
        assert isinstance(first.sctp, SctpAssociation)
        assert isinstance(second.sctp, SctpAssociation)
        assert second.sctp.window == 64_000
        assert await said(channel, other, b"x" * 50_000) == b"x" * 50_000
        assert await said(other, channel, b"y" * 50_000) == b"y" * 50_000
        assert first.sctp.mid == second.sctp.mid == "0"


async def test_a_parameter_that_stock_aiortc_hangs_on_is_dropped() -> None:
    async with connected() as (_, second, channel, other):
        sctp = second.sctp
        assert isinstance(sctp, SctpAssociation)
        chunk = Chunk(body=bytes(8))
        chunk.type = 130
        await asyncio.wait_for(inject(sctp, chunk), 10)
        assert sctp.dropped == 1
        assert await said(channel, other, b"still here") == b"still here"


@pytest.mark.parametrize("bundled", [False, True])
async def test_an_audio_section_beside_them_changes_nothing(bundled: bool) -> None:
    first, second = RTCPeerConnection(ice=LOOPBACK), RTCPeerConnection(ice=LOOPBACK)
    arrived: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
    second.once("datachannel", arrived.set_result)
    try:
        if bundled:
            first.addTransceiver("audio")
        channel = first.createDataChannel("talk")
        if not bundled:
            first.addTransceiver("audio")
        await negotiate(first, second)
        other = await asyncio.wait_for(arrived, 10)
        assert await said(channel, other, b"hello") == b"hello"
        assert isinstance(second.sctp, SctpAssociation)
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_more_channels_than_allowed_end_the_association() -> None:
    async with connected(SctpConfig(max_channels=4)) as (first, second, _, other):
        closed = asyncio.Event()
        other.on("close", closed.set)
        for number in range(5):
            first.createDataChannel(f"channel {number}")
        await asyncio.wait_for(closed.wait(), 10)
        assert second.sctp is not None
        assert second.sctp.state == "closed"
