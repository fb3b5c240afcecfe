"""A js-libp2p peer on Node and the page in Chromium: nothing of ours between the two once they are connected."""

from __future__ import annotations

from pathlib import Path

import pytest

from browser_demo.peer.echo import PROTOCOL as ECHO
from tests.interop.browser_stage import Stage, peer_of, stage
from tests.interop.js_peer import JsError, JsPeer, js_peer

__all__ = ["stage"]

pytestmark = [
    pytest.mark.interop,
    pytest.mark.browser,
    pytest.mark.timeout(180),
    pytest.mark.usefixtures("node_webrtc"),
]

TRIES = 3
"""js-libp2p's own /webrtc dials fail now and then, between its own peers too (a race in its early data channels)."""


async def echo(js: JsPeer, target: str) -> dict[str, object]:
    for left in reversed(range(TRIES)):
        try:
            return await js.do("echo", target=target, protocol=ECHO, bytes=300_000)
        except JsError:
            if not left:
                raise
    raise AssertionError("unreachable")


async def test_js_libp2p_calls_a_tab(stage: Stage, node: Path) -> None:
    tab = await stage.tab("Ada")
    address = stage.demo.relay_address.encapsulate(f"/p2p-circuit/webrtc/p2p/{await peer_of(tab)}")
    async with js_peer(node, transports=["tcp", "circuit", "webrtc"]) as js:
        answer = await echo(js, str(address))

        assert answer["same"] is True
        assert (await js.event("peer:identify", agent="lastresort-page/0.1"))["peer"] == await peer_of(tab)
        told = (await js.do("connections"))["connections"]
        assert [one["limited"] for one in told if one["multiplexer"] == "/webrtc"] == [False]
        assert (await js.do("ping", target=await peer_of(tab)))["ms"] < 5000


async def test_a_tab_calls_js_libp2p(stage: Stage, node: Path) -> None:
    tab = await stage.tab("Ada")
    await peer_of(tab)
    async with js_peer(node, transports=["tcp", "circuit", "webrtc"], listen=["/webrtc"]) as js:
        await js.do("reserve", relay=str(stage.demo.relay_address))
        await tab.page.evaluate("peer => globalThis.lastresort.call(peer)", str(js.peer_id))
        await tab.wait_for('.session[data-state="direct"]', "a direct connection to js-libp2p")

        opened = await js.event("connection:open", multiplexer="/webrtc")
        assert (opened["direction"], opened["limited"]) == ("inbound", False)
        assert (await js.event("peer:identify", agent="lastresort-page/0.1"))["peer"] == await peer_of(tab)
        assert (await echo(js, await peer_of(tab)))["same"] is True
        await tab.wait_for('.session-header p:has-text("js-libp2p")', "what js-libp2p says it is")
