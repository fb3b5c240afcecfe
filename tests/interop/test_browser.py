"""Headless Chromium drives the real page: what a visitor sees and does, with a native peer and with another tab."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from browser_demo.check import run_check
from browser_demo.peer.echo import PROTOCOL as ECHO
from browser_demo.peer.words import GREETING
from signalling.libp2p.aio.host import Host
from signalling.libp2p.keys import PrivateKey
from tests.interop.browser_stage import CONFIG, Stage, outside_interface, peer_of, stage
from webrtc_bridge.transport import WebRtcTransport

__all__ = ["stage"]

pytestmark = [pytest.mark.interop, pytest.mark.browser, pytest.mark.timeout(180)]

SIZE = 5_000_000


def random_file(folder: Path, name: str, size: int = SIZE) -> Path:
    path = folder / name
    path.write_bytes(random.Random(name).randbytes(size))
    return path


async def test_the_page_and_a_python_peer_make_the_whole_trip(stage: Stage, tmp_path: Path) -> None:
    tab = await stage.tab("Ada")
    peer = stage.demo.peer
    await tab.connect(peer.peer_id)
    await tab.wait_for_message(GREETING)

    await tab.say("path?")
    await tab.wait_for_message("My side:")
    sent = random_file(tmp_path, "from-ada.bin")
    await tab.send_file(sent)
    await tab.ask_for_file("sample.bin")

    received = next(path for path in peer.store.received if path.name == "from-ada.bin")
    assert received.read_bytes() == sent.read_bytes()
    assert await tab.hash_of("out", sent.name) == hashlib.sha256(sent.read_bytes()).hexdigest()
    assert await tab.hash_of("in", "sample.bin") == peer.store.find("sample.bin").sha256()
    await asyncio.sleep(1.5)  # for the page's next look at its statistics, which the pictures show
    statistics = await tab.statistics()
    assert "relay" not in (statistics["selected"]["local"]["type"], statistics["selected"]["remote"]["type"])
    assert min(statistics["sent"], statistics["received"]) > SIZE
    marks = statistics["marks"]
    assert marks["start"] < marks["relayed"] <= marks["answered"] <= marks["connected"] <= marks["direct"]
    assert await tab.page.locator('.pairs tr[aria-current="true"]').count() == 1
    assert tab.problems == []
    await tab.screenshot(stage.artifacts / "page.png")
    await tab.page.emulate_media(color_scheme="dark")
    await tab.screenshot(stage.artifacts / "page-dark.png")
    await tab.page.set_viewport_size({"width": 390, "height": 844})
    await tab.screenshot(stage.artifacts / "page-narrow.png")
    assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_two_tabs_talk_directly(stage: Stage, tmp_path: Path) -> None:
    ada, bob = await stage.tab("Ada"), await stage.tab("Bob")
    await ada.connect(await peer_of(bob))

    await ada.say("hello Bob")
    await bob.wait_for_message("hello Bob")
    await bob.say("hello Ada")
    await ada.wait_for_message("hello Ada")
    await ada.send_file(random_file(tmp_path, "between-tabs.bin", 1_000_000))

    assert await bob.hash_of("in", "between-tabs.bin") == await ada.hash_of("out", "between-tabs.bin") != ""
    statistics = await bob.statistics()
    assert "relay" not in (statistics["selected"]["local"]["type"], statistics["selected"]["remote"]["type"])
    assert ada.problems == bob.problems == []


async def test_tabs_that_call_each_other_at_the_same_time_end_with_one_connection(stage: Stage) -> None:
    ada, bob = await stage.tab("Ada"), await stage.tab("Bob")
    ids = await peer_of(ada), await peer_of(bob)
    await ada.wait_for(f'[data-peer="{ids[1]}"]', "Bob on Ada's roster")
    await bob.wait_for(f'[data-peer="{ids[0]}"]', "Ada on Bob's roster")

    await asyncio.gather(ada.connect(ids[1]), bob.connect(ids[0]))

    await ada.say("did we collide?")
    await bob.wait_for_message("did we collide?")
    await bob.say("never mind")
    await ada.wait_for_message("never mind")


async def test_a_python_peer_calls_a_tab(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    address = stage.demo.relay_address.encapsulate(f"/p2p-circuit/webrtc/p2p/{await peer_of(tab)}")
    async with Host(PrivateKey.generate()) as host:
        host.add_transport(WebRtcTransport(host))
        connection = await host.connect(address)
        assert connection.limit is None

        stream = await host.new_stream(connection, [ECHO])
        data = random.Random(3).randbytes(300_000)
        sending = asyncio.create_task(stream.write(data))
        assert await stream.read_exactly(len(data)) == data
        await sending
        await stream.close()
        assert await host.ping(connection) < 5
        await host.identified(connection)
        assert connection.peer_info is not None
        assert connection.peer_info.agent_version == "lastresort-page/0.1"

        await tab.wait_for('.session[data-state="direct"]', "the call's connection on the page")
    await tab.wait_for('.session[data-state="lost"]', "the end of the connection on the page")


async def test_the_direct_path_outlives_the_relay(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    await tab.connect(stage.demo.peer.peer_id)
    await tab.wait_for_message(GREETING)

    await stage.demo.relay.close()

    await tab.wait_for(".presence .dot.busy", "the loss of the relay on the page")
    await tab.say("still there?")
    await tab.wait_for_message("You said: still there?")


async def test_a_peer_that_leaves_is_seen_at_once(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    await tab.connect(stage.demo.peer.peer_id)
    await tab.wait_for_message(GREETING)

    started = time.monotonic()
    await stage.demo.peer.close()
    await tab.wait_for('.session[data-state="lost"]', "the loss of the peer on the page")

    assert time.monotonic() - started < 5


@asynccontextmanager
async def peer_process(stage: Stage, identity: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `lastresort peer` as a process of its own; it is killed with the context if it still runs."""
    command = (sys.executable, "-m", "lastresort", "peer", "--json", "--name", "mortal")
    process = await asyncio.create_subprocess_exec(
        *command, "--relay", str(stage.demo.relay_address), "--identity", str(identity), stdout=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def peer_id_of(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(30):
        async for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "ready":
                return str(event["peer"])
    raise AssertionError("the peer ended before it was ready")


async def test_a_killed_peer_is_seen_and_can_be_reconnected(stage: Stage, tmp_path: Path) -> None:
    tab = await stage.tab("Ada")
    identity = tmp_path / "mortal.key"
    async with peer_process(stage, identity) as process:
        peer = await peer_id_of(process)
        await tab.connect(peer)
        await tab.wait_for_message(GREETING)
        os.kill(process.pid, signal.SIGKILL)

        await tab.wait_for('.session[data-state="lost"]', "the loss of the killed peer", patience=40)
        await tab.wait_for("button.primary:has-text('Waiting for the peer')", "the offer to wait")
    async with peer_process(stage, identity) as process:
        assert await peer_id_of(process) == peer
        await tab.wait_for("button.primary:has-text('Reconnect'):enabled", "the offer to reconnect")
        await tab.page.click("button.primary:has-text('Reconnect')")
        await tab.wait_for('.session[data-state="direct"]', "the second connection")
        await tab.say("back again")
        await tab.wait_for_message("You said: back again")


async def test_the_keyboard_is_enough(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    keyboard = tab.page.keyboard
    await tab.wait_for(".person", "somebody on the roster")
    await keyboard.press("Escape")
    assert await tab.page.evaluate("document.activeElement.className") == "person"

    await keyboard.press("Enter")
    await tab.wait_for('.session[data-state="direct"]', "a direct connection")
    await keyboard.press("/")
    await keyboard.type("typed")
    await keyboard.press("Enter")

    await tab.wait_for_message("You said: typed")


async def test_the_check_of_the_demo_passes(chromium_path: Path, artifacts: Path) -> None:
    with outside_interface():
        report = await run_check(CONFIG, screenshot=artifacts / "check.png")

    assert "relay" not in report.types
    assert min(report.path_sent, report.path_received) > SIZE
    assert (artifacts / "check.png").stat().st_size > 10_000
