"""mDNS candidates on real multicast: two of our processes in network namespaces, and a browser that hides its own."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import ice
from browser_demo.browser import headless_chromium
from ice.candidate import Candidate
from ice.mdns import is_mdns_name
from ice.mdns_config import MdnsConfig, MdnsMode
from tests.interop.browser_stage import outside_interface
from tests.interop.neighbours import HOSTS, Neighbours, neighbours
from webrtc_bridge import DataPeer
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.sdp import SdpType

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


async def both(near: Neighbours, *peers: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Run one peer at each end and return what they say."""
    module = (sys.executable, "-W", "error", "-m", "tests.interop.neighbours")
    processes = [await near.start(index, *module, str(index), *options) for index, options in enumerate(peers)]
    try:
        async with asyncio.timeout(60):
            outputs = await asyncio.gather(*(process.communicate() for process in processes))
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors.decode()
        assert errors == b""
    return [json.loads(out) for out, _ in outputs]


@pytest.mark.parametrize("family", ["4", "6"])
async def test_two_that_hide_find_each_other(network_namespaces: Path, family: str) -> None:
    async with neighbours(network_namespaces) as near:
        first, second = await both(near, ("publish", family, "told"), ("publish", family, "told"))
    for result, index in ((first, 0), (second, 1)):
        ours, theirs = HOSTS[index][family == "6"], HOSTS[1 - index][family == "6"]
        assert result["heard"] == f"hello from {1 - index}"
        assert result["remote"] == theirs
        assert {line.split()[2] for line in result["told"]} == {"udp", "tcp"}
        assert len({line.split()[4] for line in result["told"]}) == 1, "one name for one address"
        assert all(".local " in line and ours not in line for line in result["told"])
        for host in (ours, theirs):
            assert f"{host}:" not in result["seen"]
            assert f"{host} " not in result["seen"]


async def test_the_name_alone_is_enough(network_namespaces: Path) -> None:
    """The resolving side tells no candidate, so nobody can reach it before it has resolved the other's name."""
    async with neighbours(network_namespaces) as near:
        first, second = await both(near, ("resolve", "4", "silent"), ("publish", "4", "told"))
    assert first["told"] == []
    assert ".local " in second["told"][0]
    assert first["remote"] == HOSTS[1][0]
    assert (first["heard"], second["heard"]) == ("hello from 1", "hello from 0")


# -- a browser --

OFFER = """async () => {
  const pc = globalThis.pc = new RTCPeerConnection();
  const channel = pc.createDataChannel("chat");
  globalThis.echoed = new Promise(resolve => { channel.onmessage = ({data}) => resolve(data); });
  channel.onopen = () => channel.send("hello");
  const done = new Promise(resolve => { pc.onicegatheringstatechange = () => {
    if (pc.iceGatheringState === "complete") resolve();
  }; });
  await pc.setLocalDescription();
  await done;
  return pc.localDescription.sdp;
}"""
ANSWER = "async sdp => { await pc.setRemoteDescription({type: 'answer', sdp}); }"


@pytest.mark.browser
async def test_a_browser_that_hides_is_reached_by_its_name_alone(chromium_path: Path) -> None:
    """We tell no candidate, so nothing connects but our checks to what the browser's name stands for."""
    config = PeerConfig(ice=ice.IceConfig(announce_host_candidates=False))
    with outside_interface():
        async with headless_chromium(chromium_path) as browser, DataPeer(SdpType.ANSWER, config) as peer:
            peer.on("datachannel", lambda channel: channel.on("message", channel.send))
            page = await browser.new_page()
            offer = await asyncio.wait_for(page.evaluate(OFFER), 30)
            told = [Candidate.from_sdp(line) for line in offer.splitlines() if line.startswith("a=candidate:")]
            assert told
            names = {candidate.address.host for candidate in told}
            assert all(is_mdns_name(name) for name in names), names
            peer.set_remote_description(offer)
            await peer.gather()
            answer = peer.create_answer()
            assert "a=candidate" not in answer
            await page.evaluate(ANSWER, answer)
            assert await asyncio.wait_for(page.evaluate("echoed"), 30) == "hello"
            pair = peer.session.selected_pair
            assert pair is not None
            assert pair.remote.shown_address.host in names
            assert f"{pair.path.remote.host}:{pair.path.remote.port}" not in repr(peer.session.stats())
            await page.evaluate("pc.close()")


@pytest.mark.browser
async def test_a_browser_resolves_our_names(chromium_path: Path) -> None:
    """The other way round: the browser's candidates are kept from us, so that its checks have to find us first."""
    config = PeerConfig(ice=ice.IceConfig(mdns=MdnsConfig(mode=MdnsMode.PUBLISH)))
    with outside_interface():
        async with headless_chromium(chromium_path) as browser, DataPeer(SdpType.ANSWER, config) as peer:
            peer.on("datachannel", lambda channel: channel.on("message", channel.send))
            page = await browser.new_page()
            offer = await asyncio.wait_for(page.evaluate(OFFER), 30)
            lines = [line for line in offer.splitlines() if "candidate" not in line]
            peer.set_remote_description("\r\n".join(lines) + "\r\n")
            await peer.gather()
            answer = peer.create_answer()
            told = [Candidate.from_sdp(line) for line in answer.splitlines() if line.startswith("a=candidate:")]
            assert told
            private = [candidate for candidate in told if is_mdns_name(candidate.address.host)]
            if not private:
                pytest.skip("this machine has public addresses only, which are not hidden")
            only = [line for line in answer.splitlines() if "a=candidate" not in line or ".local " in line]
            await page.evaluate(ANSWER, "\r\n".join(only) + "\r\n")
            assert await asyncio.wait_for(page.evaluate("echoed"), 30) == "hello"
            await page.evaluate("pc.close()")
