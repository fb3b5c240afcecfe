"""A bare RTCPeerConnection in a page of Chromium opposite our data peer: trickle both ways, restarts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiortc import RTCDataChannel
from playwright.async_api import Browser, Page

from ice import Candidate, Description, Session
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType

__all__ = ["RtcPage", "rtc_page"]

START = """() => {
  const pc = globalThis.pc = new RTCPeerConnection({iceServers: []});
  pc.onicecandidate = ({candidate}) => globalThis.told(candidate && candidate.toJSON());
  const use = channel => {
    channel.binaryType = "arraybuffer";
    channel.onmessage = ({data}) => channel.send(data);
  };
  pc.ondatachannel = ({channel}) => use(channel);
  globalThis.call = () => use(pc.createDataChannel("chat"));
}"""
OFFER = (
    "async options => { await pc.setLocalDescription(await pc.createOffer(options)); return pc.localDescription.sdp; }"
)
ANSWER = """async sdp => {
  await pc.setRemoteDescription({type: "offer", sdp});
  await pc.setLocalDescription();
  return pc.localDescription.sdp;
}"""
ACCEPT = "async sdp => { await pc.setRemoteDescription({type: 'answer', sdp}); }"
TAKE = "async candidate => { await pc.addIceCandidate(candidate); }"
SELECTED = """async () => {
  const stats = await pc.getStats();
  const transport = [...stats.values()].find(one => one.type === "transport");
  const pair = stats.get(transport.selectedCandidatePairId) ?? {};  // There may be none for a moment.
  const of = id => { const one = stats.get(id) ?? {}; return {
    type: one.candidateType, protocol: one.protocol, tcp: one.tcpType ?? null, address: one.address, port: one.port,
    ufrag: one.usernameFragment,
  }; };
  return {local: of(pair.localCandidateId), remote: of(pair.remoteCandidateId), role: transport.iceRole};
}"""


class RtcPage:
    """The page, our peer opposite it, and the signalling between them."""

    def __init__(self, page: Page, peer: DataPeer) -> None:
        self.page = page
        self.peer = peer
        self.channel: RTCDataChannel | None = None
        self._described = ""
        self._early: list[IceCandidate] = []
        self._opened: asyncio.Future[RTCDataChannel] = asyncio.get_running_loop().create_future()
        self._echoes: asyncio.Queue[bytes | str] = asyncio.Queue()
        self._sent: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self._selections: asyncio.Queue[object] = asyncio.Queue()
        self._told_page: set[asyncio.Task[Any]] = set()
        peer.on("datachannel", self._use)
        peer.on("icecandidate", self._tell_page)
        peer.session.on("selectedpair", self._selections.put_nowait)

    @property
    def session(self) -> Session:
        return self.peer.session

    def _use(self, channel: RTCDataChannel) -> None:
        channel.on("message", self._echoes.put_nowait)
        if not self._opened.done():
            self._opened.set_result(channel)

    def _tell_page(self, candidate: IceCandidate | None) -> None:
        if candidate is not None and candidate.username_fragment != self._described:
            self._early.append(candidate)  # A page refuses candidates of a description that it has not seen.
        elif candidate is not None:
            task = asyncio.ensure_future(self.page.evaluate(TAKE, candidate.to_json()))
            self._told_page.add(task)
            task.add_done_callback(self._told_page.discard)

    def _page_has(self, description: Description) -> None:
        """The page knows ``description``, and can take its candidates."""
        self._described = description.ufrag
        early, self._early = self._early, []
        for candidate in early:
            self._tell_page(candidate)

    def page_told(self, candidate: dict[str, Any] | None) -> None:
        """The page has found a candidate, or has no more."""
        if candidate is None or not candidate["candidate"]:
            self.session.end_of_remote_candidates()
        else:  # The session knows by the name of its generation whether it is early.
            self.session.add_remote_candidate(Candidate.from_sdp(candidate["candidate"]))

    async def connect(self) -> None:
        """Offer or answer, as our peer was made for, and wait until data can flow."""
        if self.peer.side is SdpType.OFFER:
            channel = self.peer.create_data_channel("chat")
            channel.on("open", lambda: self._use(channel))
            answer = await self.page.evaluate(ANSWER, self.peer.create_offer())
            self._page_has(self.session.local_description)
            self.peer.start_gathering()
            self.peer.set_remote_description(answer)
        else:
            await self.page.evaluate("call()")
            self.peer.set_remote_description(await self.page.evaluate(OFFER, {}))
            await self.page.evaluate(ACCEPT, self.peer.create_answer())
            self._page_has(self.session.local_description)
            self.peer.start_gathering()
        async with asyncio.timeout(30):
            self.channel = await self._opened

    async def restart(self, *, ours: bool) -> None:
        """Restart ICE, begun by us or by the page, until our side has a new pair."""
        while not self._selections.empty():
            self._selections.get_nowait()
        if ours:
            self.peer.restart_ice()
            offer = self.peer.create_offer()
            answer = await self.page.evaluate(ANSWER, offer)
            self._page_has(self.session.local_description)
            self.peer.set_remote_description(answer, SdpType.ANSWER)
        else:
            offer = await self.page.evaluate(OFFER, {"iceRestart": True})
            self.peer.set_remote_description(offer, SdpType.OFFER)
            await self.page.evaluate(ACCEPT, self.peer.create_answer())
            self._page_has(self.session.local_description)
        try:
            async with asyncio.timeout(20):
                await self._selections.get()
        except TimeoutError:
            stats = self.session.stats().agent
            local = [each.to_sdp() for each in self.session.local_candidates]
            raise AssertionError(f"no new pair: {self.session.local_description}, {local}, {stats}") from None

    async def moved(self) -> None:
        """Wait until the page, too, uses a pair of the last restart.

        While it is controlled it is told a little later than we know, and does not move before data comes that way.
        """
        remote = self.session.remote_description
        assert remote is not None
        async with asyncio.timeout(5):
            while (await self.selected())["local"]["ufrag"] != remote.ufrag:
                await asyncio.sleep(0.02)

    async def talk(self, count: int = 20) -> None:
        """Have messages of many sizes echoed by the page."""
        assert self.channel is not None
        for number in range(count):
            data = bytes([number]) * (1 + number * 700)
            self.channel.send(data)
            async with asyncio.timeout(10):
                assert await self._echoes.get() == data

    async def selected(self) -> dict[str, Any]:
        """What the page says of its selected pair."""
        found: dict[str, Any] = await self.page.evaluate(SELECTED)
        return found


@asynccontextmanager
async def rtc_page(browser: Browser, peer: DataPeer) -> AsyncIterator[RtcPage]:
    """Open the page opposite ``peer``, and close both at the end."""
    page = await browser.new_page()
    made = RtcPage(page, peer)
    try:
        await page.expose_function("told", made.page_told)
        await page.evaluate(START)
        yield made
        await page.evaluate("pc.close()")
    finally:
        await peer.close()
        await page.close()
