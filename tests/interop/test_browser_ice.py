"""Headless Chromium with a bare RTCPeerConnection: our ICE against libwebrtc's, over UDP, over TCP where UDP is
filtered, and restarted by both."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from browser_demo.browser import headless_chromium
from ice import IceConfig, Role
from ice.mdns_config import MdnsConfig, MdnsMode
from stun.address import TransportProtocol
from tests.interop.browser_stage import outside_interface
from tests.interop.rtc_page import rtc_page
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType

pytestmark = [pytest.mark.interop, pytest.mark.browser, pytest.mark.timeout(120)]

SIDES = {Role.CONTROLLING: SdpType.OFFER, Role.CONTROLLED: SdpType.ANSWER}
NO_NAMES = MdnsConfig(mode=MdnsMode.OFF)
"""Pages hide their addresses behind names; their checks are enough to find them."""
UDP = PeerConfig(ice=IceConfig(include_ipv6=False, mdns=NO_NAMES))


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
                await page.moved()


# -- TCP

NO_UDP = """table inet filter {
  chain output { type filter hook output priority 0; meta l4proto udp drop; }
  chain input { type filter hook input priority 0; meta l4proto udp drop; }
}
"""


@contextmanager
def chromium_without_udp(chromium: Path, ip: Path, nft: Path, folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield a command that runs Chromium in a namespace where UDP is filtered, and our interface of the cable to it."""
    name, ours = f"lr-page-{os.getpid()}", f"lrpage{os.getpid()}"
    inside = ("netns", "exec", name)
    steps: list[tuple[str, ...]] = [
        ("netns", "add", name),
        ("link", "add", ours, "type", "veth", "peer", "name", "wan", "netns", name),
        ("address", "add", "10.99.0.1/24", "dev", ours),
        ("link", "set", ours, "up"),
        ("-n", name, "address", "add", "10.99.0.2/24", "dev", "wan"),
        ("-n", name, "link", "set", "lo", "up"),
        ("-n", name, "link", "set", "wan", "up"),
        ("-n", name, "route", "add", "default", "via", "10.99.0.1"),  # Pages are told of the default route's address.
        (*inside, str(nft), "-f", "-"),
    ]
    command = folder / "chromium-without-udp"
    command.write_text(f'#!/bin/sh\nexec {ip} {" ".join(inside)} {chromium} "$@"\n')
    command.chmod(0o755)
    try:
        for step in steps:
            subprocess.run([ip, *step], input=NO_UDP, text=True, check=True, capture_output=True)
        yield command, ours
    finally:
        subprocess.run([ip, "link", "delete", ours], check=False, capture_output=True)
        subprocess.run([ip, "netns", "delete", name], check=False, capture_output=True)


@pytest.mark.matrix("Chromium", "UDP filtered, it calls our passive candidate", over="TCP")
@pytest.mark.parametrize("role", list(Role))
async def test_our_passive_candidate_where_udp_is_filtered(
    chromium_path: Path, network_namespaces: Path, nftables: Path, tmp_path: Path, role: Role
) -> None:
    with chromium_without_udp(chromium_path, network_namespaces, nftables, tmp_path) as (command, interface):
        ice = IceConfig(include_ipv6=False, interfaces=[interface], mdns=NO_NAMES)
        config = PeerConfig(ice=ice)
        async with headless_chromium(command) as browser, rtc_page(browser, DataPeer(SIDES[role], config)) as page:
            await page.connect()
            await page.talk()
            selected = await page.selected()
            assert (selected["local"]["protocol"], selected["local"]["tcp"]) == ("tcp", "active")
            assert (selected["remote"]["protocol"], selected["remote"]["address"]) == ("tcp", "10.99.0.1")
            pair = page.session.selected_pair
            assert pair is not None
            assert pair.path.protocol is TransportProtocol.TCP
            await page.restart(ours=True)
            await page.talk()
