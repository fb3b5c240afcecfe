"""What a hostile or clumsy peer does to the page: nothing that a visitor would notice, and nothing that stays."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from browser_demo.browser import TabDriver
from browser_demo.peer.chat import PROTOCOL as CHAT
from browser_demo.peer.echo import PROTOCOL as ECHO
from browser_demo.peer.files import FILE_PROTOCOL as FILE
from browser_demo.peer.messages import read_json, write_json
from browser_demo.peer.words import GREETING
from signalling.errors import SignallingError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.presence import PresenceClient
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.keys import PrivateKey
from tests.interop.browser_stage import Stage, peer_of, stage
from webrtc_bridge.transport import WebRtcTransport

__all__ = ["stage"]

pytestmark = [pytest.mark.interop, pytest.mark.browser, pytest.mark.timeout(180)]

MARKUP = '<img src=x onerror="document.title=1"><script>document.title=1</script>'


@asynccontextmanager
async def caller(stage: Stage, tab: TabDriver, name: str = "mallory") -> AsyncIterator[tuple[Host, Connection]]:
    """A native peer that is on the roster and has called the tab."""
    async with Host(PrivateKey.generate()) as host:
        host.add_transport(WebRtcTransport(host))
        presence = PresenceClient(host, stage.demo.relay_address, name=name, subscribe=False)
        presence.start()
        try:
            await tab.wait_for(f'[data-peer="{host.peer_id}"]', f"{name} on the roster")
            target = stage.demo.relay_address.encapsulate(f"/p2p-circuit/webrtc/p2p/{await peer_of(tab)}")
            yield host, await host.connect(target)
        finally:
            await presence.close()


async def is_well(stage: Stage, tab: TabDriver) -> None:
    """The page goes on working with somebody else."""
    await tab.connect(stage.demo.peer.peer_id)
    await tab.wait_for_message(GREETING)
    await tab.say("are you well?")
    await tab.wait_for_message("You said: are you well?")
    assert tab.problems == []


async def refused(stream: Stream) -> bool:
    try:
        return await stream.read() == b""
    except SignallingError:
        return True


async def echoes(host: Host, connection: Connection) -> bool:
    try:
        stream = await host.new_stream(connection, [ECHO])
        await stream.write(b"still here")
        same = await stream.read_exactly(10) == b"still here"
        await stream.reset()
    except SignallingError:
        return False
    return same


async def test_what_peers_send_is_text_and_never_markup(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    async with caller(stage, tab, name=MARKUP) as (host, connection):
        chat = await host.new_stream(connection, [CHAT])
        await write_json(chat, {"type": "message", "id": "1", "text": MARKUP})
        assert (await read_json(chat, 4096))["type"] == "received"
        file = await host.new_stream(connection, [FILE])
        await write_json(file, {"name": f"x{MARKUP}.txt", "size": 0, "sha256": MARKUP})
        assert (await read_json(file, 4096))["accept"] is True
        await file.close_write()
        assert (await read_json(file, 4096))["ok"] is False

        await tab.wait_for_message(MARKUP[:30])
        assert await tab.page.locator(".message.peer img, .transfer img, .person img, h2 img").count() == 0
        assert await tab.page.title() == "lastresort"
        await file.reset()
        await chat.reset()
    await is_well(stage, tab)


async def test_a_thousand_streams_do_not_take_the_page_down(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    async with caller(stage, tab) as (host, connection):
        raw = [await connection.muxer.open_stream() for _ in range(300)]
        opened = 0
        for stream in raw:
            try:
                async with asyncio.timeout(0.5):
                    opened += await stream.read() != b""
            except (SignallingError, TimeoutError):
                continue
        assert 0 < opened <= 64
        for stream in raw:
            await stream.reset()
        async with asyncio.timeout(10):
            while not await echoes(host, connection):
                await asyncio.sleep(0.05)  # until the page has seen the resets
    await is_well(stage, tab)


@pytest.mark.parametrize("protocol", [CHAT, FILE, "/ipfs/ping/1.0.0", ECHO])
async def test_junk_on_any_protocol_ends_its_stream_at_most(stage: Stage, protocol: str) -> None:
    tab = await stage.tab("Ada")
    rng = random.Random(7)
    junk: list[Any] = [[], 0, None, {"type": 5}, {"size": -1}, {"size": 10**30}, {"name": {}, "size": 1, "sha256": []}]
    async with caller(stage, tab) as (host, connection):
        for body in [rng.randbytes(200), b"\xff" * 40, b"", *(json.dumps(value).encode() for value in junk)]:
            stream = await host.new_stream(connection, [protocol])
            await stream.write_delimited(body)
            await stream.reset()
        stream = await host.new_stream(connection, [protocol])
        await stream.write(b"\xff\xff\xff\xff\x7f" * 100)
        if protocol in (CHAT, FILE):
            assert await refused(stream)
        await stream.reset()
        assert not connection.closed
    await is_well(stage, tab)


async def test_the_page_joins_again_when_its_socket_breaks(stage: Stage) -> None:
    tab = await stage.tab("Ada")
    first = await peer_of(tab)
    await tab.connect(stage.demo.peer.peer_id)

    await tab.page.evaluate("globalThis.lastresort.rename('Grace')")
    async with asyncio.timeout(20):
        while await peer_of(tab) == first:
            await asyncio.sleep(0.05)

    await tab.say("the path is the same")
    await tab.wait_for_message("You said: the path is the same")
