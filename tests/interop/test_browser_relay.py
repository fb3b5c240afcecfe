"""Headless Chromium that may only use relayed candidates, our TURN server, and our peer connection as its peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiortc import RTCConfiguration, RTCIceServer, RTCSessionDescription
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from browser_demo.browser import headless_chromium
from browser_demo.stack import outside_address
from ice import IceConfig
from ice.candidate import Candidate, CandidateType
from ice.events import CandidateErrorFound
from stun.address import TransportAddress, TransportProtocol
from tests.interop.browser_stage import outside_interface
from turn.aio.service import TurnService, serve
from turn.service.config import TurnServiceConfig
from turn.service.policy import PeerPolicyConfig
from turn.service.settings import Listener, ServiceSettings
from webrtc_bridge import RTCPeerConnection

pytestmark = [pytest.mark.interop, pytest.mark.browser, pytest.mark.timeout(120)]

USER, PASSWORD = "maria", "secret"

OFFER = """async ({urls, username, credential}) => {
  const pc = globalThis.pc = new RTCPeerConnection({
    iceServers: [{urls, username, credential}], iceTransportPolicy: "relay",
  });
  globalThis.problems = [];
  pc.onicecandidateerror = error => problems.push([error.url, error.errorCode, error.errorText]);
  const channel = globalThis.channel = pc.createDataChannel("chat");
  channel.binaryType = "arraybuffer";
  globalThis.echoed = new Promise(resolve => {
    const got = [];
    channel.onmessage = ({data}) => { got.push(data); if (got.length === 3) resolve(got.map(one => one.byteLength)); };
  });
  channel.onopen = () => [1, 1000, 60000].forEach(size => channel.send(new Uint8Array(size)));
  const done = new Promise(resolve => { pc.onicegatheringstatechange = () => {
    if (pc.iceGatheringState === "complete") resolve();
  }; });
  await pc.setLocalDescription();
  await done;
  return pc.localDescription.sdp;
}"""
ANSWER = "async sdp => { await pc.setRemoteDescription({type: 'answer', sdp}); }"
SELECTED = """async () => {
  const stats = await pc.getStats();
  const transport = [...stats.values()].find(one => one.type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId);
  const [local, remote] = [stats.get(pair.localCandidateId), stats.get(pair.remoteCandidateId)];
  return {local: local.candidateType, protocol: local.relayProtocol, remote: remote.candidateType};
}"""


@dataclass
class Stage:
    """A TURN server on an address of this machine."""

    service: TurnService
    host: str

    def url(self, transport: TransportProtocol) -> str:
        [address] = self.service.addresses(transport)
        return f"turn:{address}?transport={transport}"

    def server(self, transport: TransportProtocol) -> RTCIceServer:
        return RTCIceServer(urls=self.url(transport), username=USER, credential=PASSWORD)


@asynccontextmanager
async def turn_service() -> AsyncIterator[Stage]:
    with outside_interface():
        host = outside_address()
        assert host is not None
        settings = ServiceSettings(
            # The peer is on the server's own machine, which is no peer for a client unless it is allowed.
            service=TurnServiceConfig(realm="example.org", peers=PeerPolicyConfig.of(allow=[host])),
            listeners=tuple(
                Listener(protocol=protocol, address=TransportAddress(host, 0))
                for protocol in (TransportProtocol.UDP, TransportProtocol.TCP)
            ),
            users={USER: PASSWORD},
        )
        async with await serve(settings) as service:
            yield Stage(service, host)


@pytest.mark.matrix(
    "Chromium",
    "data channels, relayed by our TURN server; our candidates: {ours}",
    over="{transport}",
    role="controlled",
)
@pytest.mark.parametrize("ours", ["all", "relay"])
@pytest.mark.parametrize("transport", [TransportProtocol.UDP, TransportProtocol.TCP])
async def test_chromium_by_relay_alone(chromium_path: Path, transport: TransportProtocol, ours: str) -> None:
    async with turn_service() as stage, headless_chromium(chromium_path) as browser:
        configuration = RTCConfiguration(
            iceServers=[stage.server(TransportProtocol.UDP)] if ours == "relay" else [],
            iceTransportPolicy=RTCIceTransportPolicy(ours),
        )
        peer = RTCPeerConnection(configuration, ice=IceConfig(include_ipv6=":" in stage.host))
        peer.on("datachannel", lambda channel: channel.on("message", channel.send))
        page = await browser.new_page()
        try:
            given = {"urls": stage.url(transport), "username": USER, "credential": PASSWORD}
            offer = await asyncio.wait_for(page.evaluate(OFFER, given), 30)
            told = [Candidate.from_sdp(line) for line in offer.splitlines() if line.startswith("a=candidate:")]
            assert {candidate.type for candidate in told} == {CandidateType.RELAYED}, await page.evaluate("problems")
            await peer.setRemoteDescription(RTCSessionDescription(sdp=offer, type="offer"))
            await peer.setLocalDescription(await peer.createAnswer())
            await page.evaluate(ANSWER, peer.localDescription.sdp)
            assert await asyncio.wait_for(page.evaluate("echoed"), 30) == [1, 1000, 60000]
            selected = await page.evaluate(SELECTED)
            assert (selected["local"], selected["protocol"]) == ("relay", transport.value)
            if ours == "relay":
                assert selected["remote"] == "relay"
            assert stage.service.snapshot().bytes_to_peers > 60_000
            await page.evaluate("pc.close()")
        finally:
            await peer.close()


async def test_chromium_and_we_say_the_same_about_a_wrong_password(chromium_path: Path) -> None:
    async with turn_service() as stage, headless_chromium(chromium_path) as browser:
        url = stage.url(TransportProtocol.UDP)
        page = await browser.new_page()
        given = {"urls": url, "username": USER, "credential": "wrong"}
        await asyncio.wait_for(page.evaluate(OFFER, given), 30)
        theirs = await page.evaluate("problems")
        problems: list[CandidateErrorFound] = []
        server = RTCIceServer(urls=url, username=USER, credential="wrong")
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[server], iceTransportPolicy=RTCIceTransportPolicy.RELAY))
        peer.on("icecandidateerror", problems.append)
        peer.createDataChannel("x")
        await peer.setLocalDescription(await peer.createOffer())
        await asyncio.sleep(0)
        await peer.close()
        assert {code for _, code, _ in theirs} == {problem.error_code for problem in problems} == {401}
