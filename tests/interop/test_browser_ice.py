"""Headless Chromium with a bare RTCPeerConnection: our ICE against libwebrtc's, over UDP, and restarted by both."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser_demo.browser import headless_chromium
from ice import IceConfig, Role
from tests.interop.browser_stage import outside_interface
from tests.interop.rtc_page import rtc_page
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType

pytestmark = [pytest.mark.interop, pytest.mark.browser, pytest.mark.timeout(120)]

SIDES = {Role.CONTROLLING: SdpType.OFFER, Role.CONTROLLED: SdpType.ANSWER}
UDP = PeerConfig(ice=IceConfig(include_ipv6=False))


@pytest.mark.matrix("Chromium", "data channels, candidates trickled")
@pytest.mark.parametrize("role", list(Role))
async def test_data_channels(chromium_path: Path, role: Role) -> None:
    with outside_interface():
        async with headless_chromium(chromium_path) as browser, rtc_page(browser, DataPeer(SIDES[role], UDP)) as page:
            await page.connect()
            await page.talk()
            selected = await page.selected()
            assert selected["local"]["protocol"] == "udp"
            assert selected["role"] == role.other.value
            assert page.session.role is role


@pytest.mark.matrix("Chromium", "restart that {first}")
@pytest.mark.parametrize("first", ["we begin", "it begins"])
@pytest.mark.parametrize("role", list(Role))
async def test_a_restart(chromium_path: Path, role: Role, first: str) -> None:
    with outside_interface():
        async with headless_chromium(chromium_path) as browser, rtc_page(browser, DataPeer(SIDES[role], UDP)) as page:
            await page.connect()
            await page.talk(3)
            for _ in range(2):
                before = page.session.local_description
                await page.restart(ours=first == "we begin")
                await page.talk()
                assert page.session.local_description.ufrag != before.ufrag
                remote = page.session.remote_description
                assert remote is not None
                assert (await page.selected())["local"]["ufrag"] == remote.ufrag
