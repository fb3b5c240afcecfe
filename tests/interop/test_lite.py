"""Our lite session with full agents of others: aioice, and libwebrtc in a browser."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from browser_demo.browser import headless_chromium
from ice.config import IceConfig
from ice.lite_config import LiteConfig
from ice.roles import Role
from tests.interop.browser_stage import outside_interface
from tests.interop.test_aioice import pair, talk, tell_all
from tests.interop.test_mdns import ANSWER, OFFER
from webrtc_bridge import DataPeer
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.sdp import SdpType

pytestmark = [pytest.mark.interop, pytest.mark.timeout(60)]

LITE = IceConfig(lite=LiteConfig(enabled=True), include_ipv6=False)


@pytest.mark.matrix("aioice", "our side is lite")
@pytest.mark.parametrize("role", list(Role))
async def test_aioice_controls_a_lite_session(role: Role) -> None:
    async with pair(role, LITE) as (session, connection):
        connection.remote_is_lite = True
        connection.ice_controlling = True  # RFC 8445 section 6.1.1, which aioice leaves to its owner.
        await tell_all(session, connection)
        await asyncio.gather(session.connect(), connection.connect())
        await talk(session, connection)
        assert session.role is Role.CONTROLLED
        selected = session.stats().agent.selected
        assert selected is not None
        assert selected.requests_sent == 0


@pytest.mark.matrix("aioice", "our side is lite, and the other does not know that it has to control")
async def test_aioice_learns_its_role_from_a_lite_session() -> None:
    async with pair(Role.CONTROLLING, LITE) as (session, connection):
        await tell_all(session, connection)
        await asyncio.gather(session.connect(), connection.connect())
        await talk(session, connection)
        assert connection.ice_controlling
        assert session.role is Role.CONTROLLED


@pytest.mark.browser
@pytest.mark.matrix("Chromium", "our side is lite")
async def test_a_browser_controls_a_lite_peer(chromium_path: Path) -> None:
    config = PeerConfig(ice=LITE)
    with outside_interface():
        async with headless_chromium(chromium_path) as browser, DataPeer(SdpType.ANSWER, config) as peer:
            peer.on("datachannel", lambda channel: channel.on("message", channel.send))
            page = await browser.new_page()
            peer.set_remote_description(await asyncio.wait_for(page.evaluate(OFFER), 30))
            await peer.gather()
            answer = peer.create_answer()
            assert "\r\na=ice-lite\r\n" in answer
            await page.evaluate(ANSWER, answer)
            assert await asyncio.wait_for(page.evaluate("echoed"), 30) == "hello"
            await asyncio.sleep(6)  # Longer than a consent interval: its checks keep the session alive.
            selected = peer.session.stats().agent.selected
            assert selected is not None
            assert selected.requests_sent == 0
            assert selected.requests_received > 2
            assert peer.session.role is Role.CONTROLLED
            await page.evaluate("pc.close()")
