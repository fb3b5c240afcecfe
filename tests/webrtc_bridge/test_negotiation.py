"""From a signalling stream to a connected peer, on loopback: the order of things, and the ways in which it fails."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ice import IceConfig
from signalling.libp2p.webrtc_signalling import SignallingRole, answer_message
from tests.interop.payload import eventually
from tests.webrtc_bridge.hosts import LOOPBACK
from tests.webrtc_bridge.peers import connected_pair
from tests.webrtc_bridge.signalling_pipe import stream_pair
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.errors import NegotiationFailed
from webrtc_bridge.negotiation import close_init, negotiate

DIALLER, LISTENER = SignallingRole.DIALLER, SignallingRole.LISTENER
NOWHERE = PeerConfig(ice=IceConfig(excluded_networks=("0.0.0.0/0", "::/0")))


async def test_both_sides_get_a_muxer_and_the_init_channel_is_gone() -> None:
    one, other, below, far = stream_pair()
    a, b = await asyncio.gather(negotiate(one, DIALLER, LOOPBACK), negotiate(other, LISTENER, LOOPBACK))
    assert a.peer.sctp.channels == 0
    await eventually(lambda: not b.peer.sctp.channels)
    assert below.closed_write
    assert far.closed_write
    stream = await a.open_stream()
    await stream.write(b"x")
    assert await (await b.accept_stream()).read() == b"x"
    assert (stream._channel.id or 0) % 2 == 1  # the dialler is the DTLS server
    await asyncio.gather(a.close(), b.close())


async def test_a_peer_that_keeps_the_init_channel_open_is_not_waited_for() -> None:
    async with connected_pair() as pair:
        init = pair.offerer.create_data_channel("init")
        pair.below_answerer.drop = lambda data: True  # nothing of the answer gets through
        started = asyncio.get_running_loop().time()
        await close_init(init, 0.05)
        assert asyncio.get_running_loop().time() - started < 5
        assert init.readyState == "closing"


async def test_an_answer_that_cannot_be_used() -> None:
    one, other, _, far = stream_pair()
    dialling = asyncio.create_task(negotiate(one, DIALLER, LOOPBACK))
    assert await other.read_delimited(65536)
    await other.write_delimited(answer_message("v=0"))
    with pytest.raises(NegotiationFailed, match="no data section"):
        await dialling
    assert far.was_reset


async def test_a_stream_that_breaks_leaves_a_little_time() -> None:
    one, other, below, far = stream_pair()
    config = replace(LOOPBACK, peer=NOWHERE, orphan_timeout=0.1)
    dialling = asyncio.create_task(negotiate(one, DIALLER, config))
    listening = asyncio.create_task(negotiate(other, LISTENER, config))
    await eventually(lambda: below.wrote and far.wrote and below.quiet and far.quiet)
    await below.reset()
    for side in (dialling, listening):
        with pytest.raises(NegotiationFailed, match="the signalling stream broke"):
            await side


async def test_a_stream_that_breaks_late_does_no_harm() -> None:
    """Both have each other's candidates by then: js-libp2p goes on connecting, and so do we."""
    one, other, below, far = stream_pair()
    dialling = asyncio.create_task(negotiate(one, DIALLER, LOOPBACK))
    listening = asyncio.create_task(negotiate(other, LISTENER, LOOPBACK))
    await eventually(lambda: len(below.wrote) > 1 and len(far.wrote) > 1 and below.quiet and far.quiet)
    await below.reset()
    a, b = await asyncio.gather(dialling, listening)
    await asyncio.gather(a.close(), b.close())


@pytest.mark.parametrize("turns", [1, 3, 10, 30])
async def test_cancelling_releases_everything(turns: int) -> None:
    one, other, _, far = stream_pair()
    dialling = asyncio.create_task(negotiate(one, DIALLER, LOOPBACK))
    listening = asyncio.create_task(negotiate(other, LISTENER, replace(LOOPBACK, orphan_timeout=0.1)))
    for _ in range(turns):
        await asyncio.sleep(0)
    dialling.cancel()
    listening.cancel()
    results = await asyncio.gather(dialling, listening, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
    assert far.was_reset
