"""What the aiortc-compatible connection promises besides connecting (that is in ``tests/interop/test_aiortc.py``)."""

from __future__ import annotations

import asyncio

import aiortc
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy

import webrtc_bridge
from ice import IceConfig
from webrtc_bridge.compat import PRIVATE_NAMES, RTCPeerConnection, stun_servers
from webrtc_bridge.errors import BridgeError

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
