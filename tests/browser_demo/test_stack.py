from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import ClientSession, ClientWebSocketResponse

from browser_demo.config import DemoConfig, PeerSettings, ServerConfig
from browser_demo.stack import Demo

CONFIG = DemoConfig(server=ServerConfig(port=0), peer=PeerSettings(name="python"))


async def read_until(socket: ClientWebSocketResponse, kind: str) -> dict[str, object]:
    async with asyncio.timeout(10):
        while True:
            message: dict[str, object] = json.loads((await socket.receive()).data)
            if message["type"] == kind:
                return message


async def test_a_page_is_welcomed_and_finds_the_native_peer() -> None:
    async with Demo(CONFIG) as demo, ClientSession() as session:
        origin = demo.url.rstrip("/")
        async with session.ws_connect(f"{demo.url}gateway", headers={"Origin": origin}) as socket:
            await socket.send_json({"type": "hello", "name": "test"})
            welcome = await read_until(socket, "welcome")
            assert welcome["iceServers"] == [{"urls": list(demo.stun_urls)}]
            listed: dict[str, dict[str, str]] = {}
            while len(listed) < 2:
                roster = await read_until(socket, "roster")
                listed = {entry["peer"]: entry for entry in roster["peers"]}  # type: ignore[attr-defined]

        assert listed[str(demo.peer.peer_id)] == {"peer": str(demo.peer.peer_id), "name": "python", "kind": "native"}
        assert listed[str(welcome["peer"])]["kind"] == "browser"


async def test_everything_listens_on_loopback_by_default() -> None:
    async with Demo(CONFIG) as demo:
        assert demo.url.startswith("http://127.0.0.1:")
        assert {address.value_for("ip4") for address in demo.relay.addresses()} == {"127.0.0.1"}
        assert {address.value_for("ip4") for address in demo.peer.host.addresses()} == {"127.0.0.1"}


async def test_a_port_that_is_taken_leaves_nothing_running() -> None:
    async with Demo(CONFIG) as demo:
        taken = DemoConfig(server=ServerConfig(port=demo.server.port))
        with pytest.raises(OSError, match="in use"):
            async with Demo(taken):
                pass
