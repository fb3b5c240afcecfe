"""Data peers on a real machine whose interfaces both get other addresses at once: only an ICE restart finds a path."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.interop.namespaces import street

pytestmark = [pytest.mark.interop, pytest.mark.timeout(90)]

SCRIPT = """
import asyncio, hashlib, subprocess, time
from ice import IceConfig
from webrtc_bridge import DataPeer, PeerConfig, SdpType, SignalingState

TOTAL, PIECE = 4_000_000, 16_000

def ip(*words):
    subprocess.run(["ip", *words], check=True)

def wire(one, other, told):
    def tell(kind, text):
        told.append(kind)
        loop.call_soon(hear, kind, text)
    def hear(kind, text):
        other.set_remote_description(text, kind)
        if other.signaling_state is SignalingState.HAVE_REMOTE_OFFER:
            told.append(SdpType.ANSWER)
            loop.call_soon(one.set_remote_description, other.create_answer(), SdpType.ANSWER)
            other.start_gathering()
    loop = asyncio.get_running_loop()
    one.on("icecandidate", lambda candidate: loop.call_soon(other.add_ice_candidate, candidate))
    one.on("negotiationneeded", lambda: tell(SdpType.OFFER, one.create_offer()))
    return tell

async def main():
    ip("link", "add", "da", "type", "veth", "peer", "name", "db")
    for device, address in (("da", "10.99.0.1"), ("db", "10.99.1.1")):
        ip("link", "set", device, "up")
        ip("address", "add", address + "/24", "dev", device)
    ip("link", "set", "lo", "up")
    configs = [PeerConfig(ice=IceConfig(interfaces=[device], include_ipv6=False)) for device in ("da", "db")]
    a, b = (DataPeer(side, config) for side, config in zip(SdpType, configs))
    told = []
    heard, done = hashlib.sha256(), asyncio.Event()
    left = TOTAL
    def take(data):
        nonlocal left
        heard.update(data)
        left -= len(data)
        if left <= 0:
            done.set()
    b.on("datachannel", lambda channel: channel.on("message", take))
    tell = wire(a, b, told)
    wire(b, a, told)
    tell(SdpType.OFFER, a.create_offer())
    a.start_gathering()
    await asyncio.gather(a.wait_connected(), b.wait_connected())
    channel = a.create_data_channel("flood")
    opened, room = asyncio.Event(), asyncio.Event()
    channel.on("open", opened.set)
    channel.bufferedAmountLowThreshold = 64_000
    channel.on("bufferedamountlow", room.set)
    await opened.wait()
    print(a.session.selected_pair.path.local.host, b.session.selected_pair.path.local.host, flush=True)
    sent = hashlib.sha256()
    for number in range(TOTAL // PIECE):
        if number == TOTAL // PIECE // 3:
            for device, new, old in (("da", "10.98.0.2", "10.99.0.1"), ("db", "10.98.1.2", "10.99.1.1")):
                ip("address", "add", new + "/24", "dev", device)
                ip("address", "del", old + "/24", "dev", device)
            began = time.monotonic()
        data = number.to_bytes(4, "big") * (PIECE // 4)
        sent.update(data)
        channel.send(data)
        while channel.bufferedAmount > 256_000:
            room.clear()
            await room.wait()
    async with asyncio.timeout(60):
        await done.wait()
    assert heard.digest() == sent.digest()
    print(a.session.selected_pair.path.local.host, b.session.selected_pair.path.local.host, flush=True)
    print(round(time.monotonic() - began, 2), [str(kind) for kind in told], flush=True)
    await asyncio.gather(a.close(), b.close())

asyncio.run(main())
"""


async def test_both_ends_move_in_the_middle_of_a_transfer_and_no_byte_is_lost(
    network_namespaces: Path, nftables: Path
) -> None:
    async with street(network_namespaces, nftables, "") as town:
        status, out, err = await town.run(town.client, sys.executable, "-c", SCRIPT)
    assert status == 0, err
    before, after, told = out.splitlines()
    assert before == "10.99.0.1 10.99.1.1"
    assert after == "10.98.0.2 10.98.1.2"
    seconds, _, kinds = told.partition(" ")
    assert float(seconds) < 40.0
    assert kinds == "['offer', 'answer', 'offer', 'answer']"
