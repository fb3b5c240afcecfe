"""An unmodified ``aiortc.RTCPeerConnection`` on the other side of ours: data channel and audio, either offering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import product

import aiortc
import pytest
from aiortc import RTCConfiguration, RTCDataChannel, RTCIceServer
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack

from ice import IceConfig
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.compat import RTCPeerConnection
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.ice_connection import IceConnection
from webrtc_bridge.peer import ConnectionState, DataPeer
from webrtc_bridge.sdp import SdpType

pytestmark = [pytest.mark.interop]

PC = aiortc.RTCPeerConnection

NO_SERVERS = RTCConfiguration(iceServers=[])
LOOPBACK = PeerConfig(ice=IceConfig())
KINDS = ("ours", "ours trickling", "aiortc")
PAIRINGS = [pair for pair in product(KINDS, KINDS) if pair != ("aiortc", "aiortc")]


def make(kind: str) -> PC:
    return PC(NO_SERVERS) if kind == "aiortc" else RTCPeerConnection(NO_SERVERS, trickle=kind == "ours trickling")


@asynccontextmanager
async def two(offering: str, answering: str) -> AsyncIterator[tuple[PC, PC]]:
    """Two connections whose candidates go across as they come; stock aiortc has them all in its description."""
    one, other = make(offering), make(answering)
    pending: set[asyncio.Task[None]] = set()

    def carry(source: PC, target: PC) -> None:
        waiting: list[aiortc.RTCIceCandidate | None] = []

        def tell(candidate: aiortc.RTCIceCandidate | None) -> None:
            waiting.append(candidate)
            if target.remoteDescription is not None:
                pending.add(asyncio.ensure_future(flush()))

        async def flush() -> None:
            while waiting:
                await target.addIceCandidate(waiting.pop(0))

        source.on("icecandidate", tell)
        target.on("signalingstatechange", lambda: pending.add(asyncio.ensure_future(flush_later())))

        async def flush_later() -> None:
            await asyncio.sleep(0)
            if target.remoteDescription is not None:
                await flush()

    if offering == "ours trickling":
        carry(one, other)
    if answering == "ours trickling":
        carry(other, one)
    try:
        yield one, other
    finally:
        await asyncio.gather(one.close(), other.close(), *pending)


async def negotiate(one: PC, other: PC) -> None:
    await one.setLocalDescription(await one.createOffer())
    await other.setRemoteDescription(one.localDescription)
    await other.setLocalDescription(await other.createAnswer())
    await one.setRemoteDescription(other.localDescription)


async def message(channel: RTCDataChannel) -> bytes | str:
    got: asyncio.Future[bytes | str] = asyncio.get_running_loop().create_future()
    channel.once("message", got.set_result)
    async with asyncio.timeout(10):
        return await got


async def state(peer: PC, wanted: str) -> None:
    changed = asyncio.Event()
    peer.on("connectionstatechange", changed.set)
    async with asyncio.timeout(10):
        while peer.connectionState != wanted:
            changed.clear()
            await changed.wait()


@pytest.mark.parametrize(("offering", "answering"), PAIRINGS)
async def test_a_data_channel(offering: str, answering: str) -> None:
    async with two(offering, answering) as (one, other):
        channel = one.createDataChannel("chat")
        opened = asyncio.Event()
        channel.on("open", opened.set)

        @other.on("datachannel")
        def answer(theirs: RTCDataChannel) -> None:
            theirs.on("message", lambda data: theirs.send(b"got " + data))

        await negotiate(one, other)
        async with asyncio.timeout(10):
            await opened.wait()
        channel.send(b"x" * 5000)
        assert await message(channel) == b"got " + b"x" * 5000
        await asyncio.gather(state(one, "connected"), state(other, "connected"))
        for peer, kind in ((one, offering), (other, answering)):
            assert peer.sctp is not None
            below = peer.sctp.transport.transport._connection  # type: ignore[attr-defined]
            assert isinstance(below, IceConnection) == (kind != "aiortc")


@pytest.mark.parametrize(("offering", "answering"), PAIRINGS)
async def test_audio_both_ways_and_a_data_channel_bundled(offering: str, answering: str) -> None:
    async with two(offering, answering) as (one, other):
        heard: dict[PC, asyncio.Task[int]] = {}

        def listen(peer: PC) -> None:
            @peer.on("track")
            def on_track(track: MediaStreamTrack) -> None:
                heard[peer] = asyncio.ensure_future(frames(track, 25))

        for peer in (one, other):
            listen(peer)
            peer.addTrack(AudioStreamTrack())
        channel = one.createDataChannel("chat")
        other.on("datachannel", lambda theirs: theirs.on("message", theirs.send))
        opened = asyncio.Event()
        channel.on("open", opened.set)
        await negotiate(one, other)
        async with asyncio.timeout(15):
            await opened.wait()
            channel.send("beside the audio")
            assert await message(channel) == "beside the audio"
            assert await asyncio.gather(heard[one], heard[other]) == [25, 25]
        transports = {peer.sctp.transport for peer in (one, other) if peer.sctp is not None}
        used = {sender.transport for peer in (one, other) for sender in peer.getSenders()}
        assert used == transports


async def frames(track: MediaStreamTrack, count: int) -> int:
    """Receive ``count`` frames of 20 ms."""
    for _ in range(count):
        frame = await track.recv()
        assert frame.sample_rate == 48000  # type: ignore[union-attr]
    return count


@pytest.mark.parametrize("who_closes", [0, 1])
async def test_a_close_is_noticed(who_closes: int) -> None:
    async with two("ours", "aiortc") as pair:
        pair[0].createDataChannel("chat")
        await negotiate(*pair)
        await asyncio.gather(*(state(peer, "connected") for peer in pair))
        closing, left = pair[who_closes], pair[1 - who_closes]
        waiting = asyncio.ensure_future(state(left, "closed"))
        await asyncio.sleep(0)
        await closing.close()
        await waiting


async def test_a_connection_that_never_negotiated_closes() -> None:
    for trickle in (False, True):
        peer = RTCPeerConnection(NO_SERVERS, trickle=trickle)
        peer.createDataChannel("chat")
        await peer.close()
        await peer.close()
        assert peer.connectionState == "closed"


async def test_several_stun_servers_are_all_used_and_none_is_the_default() -> None:
    urls = ["stun:192.0.2.77:3478", "stun:192.0.2.78"]
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[RTCIceServer(urls=urls)]))
    plain = RTCPeerConnection()
    try:
        assert tuple(peer._ice_config.stun_servers) == ("stun:192.0.2.77:3478", "stun:192.0.2.78:3478")
        assert tuple(plain._ice_config.stun_servers) == ()
    finally:
        await asyncio.gather(peer.close(), plain.close())


@pytest.mark.parametrize("side", [SdpType.OFFER, SdpType.ANSWER])
async def test_our_data_peer_opposite_aiortc(side: SdpType) -> None:
    theirs = PC(NO_SERVERS)
    ours = DataPeer(side, LOOPBACK)
    echoed: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def echo(channel: RTCDataChannel) -> None:
        channel.on("message", channel.send)

    try:
        if side is SdpType.OFFER:
            theirs.on("datachannel", echo)
            channel = ours.create_data_channel("chat")
            await ours.gather()
            await theirs.setRemoteDescription(aiortc.RTCSessionDescription(ours.create_offer(), "offer"))
            await theirs.setLocalDescription(await theirs.createAnswer())
            ours.set_remote_description(theirs.localDescription.sdp)
        else:
            ours.on("datachannel", echo)
            channel = theirs.createDataChannel("chat")
            await theirs.setLocalDescription(await theirs.createOffer())
            ours.set_remote_description(theirs.localDescription.sdp)
            await ours.gather()
            await theirs.setRemoteDescription(aiortc.RTCSessionDescription(ours.create_answer(), "answer"))
        channel.on("message", echoed.set_result)
        channel.on("open", lambda: channel.send(b"hello"))
        async with asyncio.timeout(10):
            await ours.wait_connected()
            assert await echoed == b"hello"
        assert ours.connection_state is ConnectionState.CONNECTED
        ours.add_ice_candidate(IceCandidate(candidate="nonsense"))
        waiting = asyncio.ensure_future(state(theirs, "closed"))
        await asyncio.sleep(0)
        await ours.close()
        await waiting
    finally:
        await asyncio.gather(ours.close(), theirs.close())
