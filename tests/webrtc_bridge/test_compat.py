"""What the aiortc-compatible connection promises besides connecting (that is in ``tests/interop/test_aiortc.py``)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiortc
import pytest
from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy

import webrtc_bridge
from ice import IceConfig, IceTransportPolicy
from ice.events import CandidateErrorFound
from turn import AccessToken
from webrtc_bridge.compat import PRIVATE_NAMES, RTCPeerConnection, stun_servers, turn_servers
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
        aiortc.RTCSctpTransport: peer.sctp,
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
    assert caplog.text.count("is not used") == 1
    with pytest.raises(ValueError):
        stun_servers([RTCIceServer(urls="http://192.0.2.1")])


def test_turn_servers() -> None:
    urls = ["turn:192.0.2.3?transport=tcp", "stun:192.0.2.4", "turns:turn.example.org:443"]
    found = turn_servers([RTCIceServer(urls=urls, username="maria", credential="secret")])
    assert [server.url for server in found] == [urls[0], urls[2]]
    assert {(server.username, server.password) for server in found} == {("maria", "secret")}
    with pytest.raises(ValueError, match=r"turn:192\.0\.2\.3"):
        turn_servers([RTCIceServer(urls="turn:192.0.2.3")])


def test_a_turn_server_may_have_a_token_as_webrtc_once_had_it() -> None:
    token: Any = {"macKey": "WmtzanpB", "accessToken": "AAwg3kPHWPfKtA=="}
    server = RTCIceServer(urls="turn:192.0.2.3", username="22BIjxU93h", credential=token, credentialType="oauth")
    [found] = turn_servers([server])
    assert found.access_tokens == AccessToken("22BIjxU93h", b"\0\x0c \xdeC\xc7X\xf7\xca\xb4", b"ZksjzA")
    assert found.username is None
    wrong: list[tuple[Any, str]] = [
        ("secret", "oauth"),
        ({"macKey": "WmtzanpB"}, "oauth"),
        ({"macKey": "!", "accessToken": "AA=="}, "oauth"),
        (token, "password"),
        ("secret", "token"),
    ]
    for credential, kind in wrong:
        with pytest.raises(ValueError):
            turn_servers([RTCIceServer("turn:192.0.2.3", "maria", credential, kind)])


RELAY = RTCIceTransportPolicy.RELAY


async def test_relayed_candidates_only_need_a_server() -> None:
    with pytest.raises(BridgeError, match="TURN"):
        RTCPeerConnection(RTCConfiguration(iceServers=[], iceTransportPolicy=RELAY))
    server = RTCIceServer(urls="turn:192.0.2.3", username="maria", credential="secret")
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[server], iceTransportPolicy=RELAY))
    assert peer._ice_config.transport_policy is IceTransportPolicy.RELAY
    assert [each.url for each in peer._ice_config.turn_servers] == ["turn:192.0.2.3"]
    await peer.close()


async def test_a_missing_relay_is_told() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"turn:127.0.0.1:{nobody.getsockname()[1]}?transport=tcp"
        server = RTCIceServer(urls=url, username="maria", credential="secret")
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[server]), ice=LOOPBACK)
        problems: list[CandidateErrorFound] = []
        peer.on("icecandidateerror", problems.append)
        peer.createDataChannel("x")
        await peer.setLocalDescription(await peer.createOffer())
        await asyncio.sleep(0)
        assert [(problem.url, problem.error_code) for problem in problems] == [(url, 701)]
        assert "refused" in problems[0].error_text
        await peer.close()


async def test_trickling_says_so_and_claims_no_end() -> None:
    peer = RTCPeerConnection(ice=LOOPBACK, trickle=True)
    told: list[aiortc.RTCIceCandidate | None] = []
    ended = asyncio.Event()
    peer.on("icecandidate", lambda candidate: (told.append(candidate), ended.set() if candidate is None else None))
    peer.createDataChannel("x")
    peer.addTransceiver("audio")
    await peer.setLocalDescription(await peer.createOffer())
    first = peer.localDescription.sdp
    assert first.count("a=ice-options:trickle ice2\r\n") == 2  # RFC 8445 section 10
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
    assert peer.localDescription.sdp.count("a=ice-options:ice2\r\n") == 1
    assert peer.iceGatheringState == "complete"
    await peer.close()
