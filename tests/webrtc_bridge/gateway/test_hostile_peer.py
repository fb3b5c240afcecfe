"""A peer behind the relay that says far too much to a tab: the tab lives on, and other peers still get through."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from signalling.errors import ConnectionClosed
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.webrtc_signalling import SignallingStream
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.webrtc_signalling import SIGNALLING_PROTOCOL, IceCandidate, SignallingRole
from tests.webrtc_bridge.page import Page, World, world
from webrtc_bridge.gateway import GatewayConfig

CANDIDATE = IceCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 9 typ host " + "x" * 900, sdp_mid="0")


@asynccontextmanager
async def caller(here: World, page: Page, streams: int) -> AsyncIterator[list[SignallingStream]]:
    """A peer with that many signalling streams to the page, the offer of each sent."""
    async with Host(PrivateKey.generate()) as host:
        connection = await host.connect(here.relay.address.encapsulate(f"/p2p-circuit/p2p/{page.peer}"))
        opened = []
        for _ in range(streams):
            with contextlib.suppress(ConnectionClosed):  # the tab takes no more
                stream = await host.new_stream(connection, [SIGNALLING_PROTOCOL], allow_limited=True)
                opened.append(SignallingStream(stream, SignallingRole.DIALLER))
                await opened[-1].send_offer("v=0")
        yield opened


async def test_a_thousand_candidates_of_a_peer_reach_a_page_that_reads() -> None:
    async with world(GatewayConfig(max_queued=100)) as here, here.page() as page:
        await page.hello()
        async with caller(here, page, 4) as streams:

            async def flood(stream: SignallingStream) -> None:
                for _ in range(300):
                    await stream.send_candidate(CANDIDATE)

            floods = asyncio.gather(*(flood(stream) for stream in streams))
            for _ in range(4 * 256):  # what a stream may bring: SignallingConfig.max_candidates
                await page.hear("candidate")
            await floods
        await page.say(type="hello", name="again")
        assert (await page.hear("error"))["code"] == "bad-message", "the tab is still served"


async def test_one_peer_does_not_take_every_session_of_a_tab() -> None:
    async with world(GatewayConfig(max_sessions=4, max_sessions_per_peer=2)) as here, here.page() as page:
        await page.hello()
        async with caller(here, page, 4):
            assert {(await page.hear("offer"))["session"] for _ in range(2)}
            async with caller(here, page, 1):
                await page.hear("offer")
            await page.say(type="offer", peer=page.peer, session="mine", sdp="v=0")
            assert (await page.hear("error"))["code"] == "peer-unreachable", "nobody calls oneself, but there was room"
            heard = [message["type"] for message in page.passed_over]
            assert heard.count("offer") == 0
