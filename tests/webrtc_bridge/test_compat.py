"""What the aiortc-compatible connection promises besides connecting (that is in ``tests/interop/test_aiortc.py``)."""

from __future__ import annotations

import asyncio

import aiortc
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy
from aiortc.rtcicetransport import Candidate as AioiceCandidate  # type: ignore[attr-defined]
from aiortc.rtcicetransport import ConnectionClosed  # type: ignore[attr-defined]

import webrtc_bridge
from ice import IceConfig
from webrtc_bridge.compat import PRIVATE_NAMES, RTCPeerConnection, stun_servers
from webrtc_bridge.errors import BridgeError
from webrtc_bridge.ice_connection import IceConnection

LOOPBACK = IceConfig.for_loopback()


async def test_the_private_names_of_aiortc_are_there() -> None:
    """When aiortc drops one of them, this says which."""
    peer = aiortc.RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("x")
    assert peer.sctp is not None
    ice_transport = peer.sctp.transport.transport
    instances = {
        aiortc.RTCPeerConnection: peer,
        aiortc.RTCIceTransport: ice_transport,
        aiortc.RTCIceGatherer: ice_transport.iceGatherer,
    }
    for kind, names in PRIVATE_NAMES.items():
        for name in names:
            assert hasattr(instances[kind], name), f"{kind.__name__}.{name}"
    assert peer.sctp.mid is None
    await peer.close()


def test_it_is_the_connection_that_the_package_exports() -> None:
    assert webrtc_bridge.RTCPeerConnection is RTCPeerConnection
    assert issubclass(RTCPeerConnection, aiortc.RTCPeerConnection)
    with pytest.raises(AttributeError):
        _ = webrtc_bridge.nothing  # type: ignore[attr-defined]


def test_servers(caplog: pytest.LogCaptureFixture) -> None:
    servers = [
        RTCIceServer(urls="stun:192.0.2.1"),
        RTCIceServer(urls=["stun:192.0.2.2:99", "turn:192.0.2.3?transport=udp", "stuns:192.0.2.4"]),
    ]
    assert stun_servers(servers) == ["stun:192.0.2.1:3478", "stun:192.0.2.2:99"]
    assert caplog.text.count("is not used") == 2
    with pytest.raises(ValueError):
        stun_servers([RTCIceServer(urls="http://192.0.2.1")])


async def test_relayed_candidates_only_is_refused_and_not_ignored() -> None:
    with pytest.raises(BridgeError, match="TURN"):
        RTCPeerConnection(RTCConfiguration(iceServers=[], iceTransportPolicy=RTCIceTransportPolicy.RELAY))


async def test_trickling_says_so_and_claims_no_end() -> None:
    peer = RTCPeerConnection(ice=LOOPBACK, trickle=True)
    told: list[aiortc.RTCIceCandidate | None] = []
    ended = asyncio.Event()
    peer.on("icecandidate", lambda candidate: (told.append(candidate), ended.set() if candidate is None else None))
    peer.createDataChannel("x")
    peer.addTransceiver("audio")
    await peer.setLocalDescription(await peer.createOffer())
    first = peer.localDescription.sdp
    assert first.count("a=ice-options:trickle") == 2
    assert "a=candidate:" in first
    async with asyncio.timeout(10):
        await ended.wait()
    places = {(candidate.sdpMid, candidate.sdpMLineIndex) for candidate in told if candidate is not None}
    assert places == {("0", 0), ("1", 1)}
    assert told.count(None) == 1
    await peer.close()


async def test_without_trickle_the_description_is_whole_as_in_aiortc() -> None:
    peer = RTCPeerConnection(ice=LOOPBACK)
    peer.createDataChannel("x")
    await peer.setLocalDescription(await peer.createOffer())
    assert "a=end-of-candidates" in peer.localDescription.sdp
    assert "ice-options" not in peer.localDescription.sdp
    assert peer.iceGatheringState == "complete"
    await peer.close()


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
