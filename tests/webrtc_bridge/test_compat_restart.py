"""ICE restarts of the aiortc-compatible connection: by offer and answer, under a data channel that does not notice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ice import IceConfig
from ice.events import RestartReason
from webrtc_bridge.compat import RTCPeerConnection

LOOPBACK = IceConfig.for_loopback()


async def negotiate(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await offerer.setLocalDescription(await offerer.createOffer())
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription(await answerer.createAnswer())
    await offerer.setRemoteDescription(answerer.localDescription)


def session_of(peer: RTCPeerConnection) -> Any:
    assert peer.sctp is not None
    return peer.sctp.transport.transport.iceGatherer._connection.session  # type: ignore[attr-defined]


def selected_again(session: Any) -> asyncio.Event:
    event = asyncio.Event()
    session.on("selectedpair", lambda pair: event.set())
    return event


@pytest.mark.parametrize("restarts_first", [True, False])
async def test_a_restart_of_either_side_changes_credentials_and_keeps_the_channel(restarts_first: bool) -> None:
    first, second = RTCPeerConnection(ice=LOOPBACK), RTCPeerConnection(ice=LOOPBACK)
    heard: asyncio.Queue[object] = asyncio.Queue()
    opened = asyncio.Event()
    channel = first.createDataChannel("talk")
    channel.on("open", opened.set)
    second.on("datachannel", lambda other: other.on("message", heard.put_nowait))
    try:
        await negotiate(first, second)
        await asyncio.wait_for(opened.wait(), 10)
        channel.send("before")
        assert await asyncio.wait_for(heard.get(), 10) == "before"
        sessions = session_of(first), session_of(second)
        before = [session.local_description for session in sessions]
        asking, asked = (first, second) if restarts_first else (second, first)
        selected = [selected_again(session) for session in sessions]
        asking.restartIce()
        await negotiate(asking, asked)
        for event in selected:
            await asyncio.wait_for(event.wait(), 10)
        after = [session.local_description for session in sessions]
        assert not set(before) & set(after)
        assert sessions[0].remote_description.ufrag == after[1].ufrag
        assert sessions[1].remote_description.ufrag == after[0].ufrag
        assert after[0].ufrag in first.localDescription.sdp
        assert after[1].ufrag in second.localDescription.sdp
        channel.send("after")
        assert await asyncio.wait_for(heard.get(), 10) == "after"
        assert first.connectionState == second.connectionState == "connected"
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_renegotiating_without_a_restart_leaves_ice_alone() -> None:
    first, second = RTCPeerConnection(ice=LOOPBACK), RTCPeerConnection(ice=LOOPBACK)
    opened = asyncio.Event()
    channel = first.createDataChannel("talk")
    channel.on("open", opened.set)
    try:
        first.restartIce()  # Before the first description there is nothing to restart.
        await negotiate(first, second)
        await asyncio.wait_for(opened.wait(), 10)
        before = session_of(first).local_description
        await negotiate(first, second)
        assert session_of(first).local_description == before
        assert session_of(first).stats().selected_pair_changes == 1
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_an_offer_is_asked_for_once_when_it_can_be_made_and_never_by_itself() -> None:
    first, second = RTCPeerConnection(ice=LOOPBACK), RTCPeerConnection(ice=LOOPBACK)
    asked: list[str] = []
    wanted: list[object] = []
    opened = asyncio.Event()
    first.on("negotiationneeded", lambda: asked.append(first.signalingState))
    first.on("restartwanted", wanted.append)
    channel = first.createDataChannel("talk")
    channel.on("open", opened.set)
    try:
        first.restartIce()  # There is nothing to restart yet.
        await negotiate(first, second)
        await asyncio.wait_for(opened.wait(), 10)
        session_of(first).emit("restartwanted", RestartReason.PATH_DEAD)
        await asyncio.sleep(0)
        assert wanted == [RestartReason.PATH_DEAD]
        assert asked == []
        first.restartIce()
        first.restartIce()
        assert asked == []
        await asyncio.sleep(0)
        assert asked == ["stable"]
        await negotiate(first, second)
        # In the middle of an exchange it waits for the end of that.
        await first.setLocalDescription(await first.createOffer())
        first.restartIce()
        await asyncio.sleep(0)
        assert asked == ["stable"]
        await second.setRemoteDescription(first.localDescription)
        await second.setLocalDescription(await second.createAnswer())
        await first.setRemoteDescription(second.localDescription)
        assert asked == ["stable", "stable"]
        await negotiate(first, second)
        assert asked == ["stable", "stable"]
    finally:
        await asyncio.gather(first.close(), second.close())


async def test_the_answer_to_a_peers_restart_has_ours_too() -> None:
    first, second = RTCPeerConnection(ice=LOOPBACK), RTCPeerConnection(ice=LOOPBACK)
    asked: list[str] = []
    second.on("negotiationneeded", lambda: asked.append(second.signalingState))
    opened = asyncio.Event()
    channel = first.createDataChannel("talk")
    channel.on("open", opened.set)
    try:
        await negotiate(first, second)
        await asyncio.wait_for(opened.wait(), 10)
        first.restartIce()
        await first.setLocalDescription(await first.createOffer())
        await second.setRemoteDescription(first.localDescription)
        second.restartIce()
        await second.setLocalDescription(await second.createAnswer())
        await first.setRemoteDescription(second.localDescription)
        await asyncio.sleep(0)
        assert asked == []
        assert session_of(first).remote_description.ufrag == session_of(second).local_description.ufrag
    finally:
        await asyncio.gather(first.close(), second.close())
