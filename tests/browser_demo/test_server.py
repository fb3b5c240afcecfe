from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, WSServerHandshakeError

from browser_demo.config import ServerConfig
from browser_demo.server import STATIC, PageServer
from webrtc_bridge.gateway import Gateway

RELAY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"


@pytest.fixture
async def server() -> AsyncIterator[PageServer]:
    async with PageServer(Gateway(RELAY), ServerConfig(port=0)) as server:
        yield server


async def test_the_page_comes_with_a_policy_that_allows_nothing_from_elsewhere(server: PageServer) -> None:
    async with ClientSession() as session, session.get(server.url) as response:
        policy = response.headers["Content-Security-Policy"]

        assert response.status == 200
        assert "<title>lastresort</title>" in await response.text()
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_modules_are_served_as_javascript(server: PageServer) -> None:
    async with ClientSession() as session:
        for path in ("app.js", "libp2p/stream.js", "ui/dom.js"):
            async with session.get(server.url + path) as response:
                assert response.status == 200
                assert "javascript" in response.headers["Content-Type"]


@pytest.mark.parametrize("path", ["../server.py", "%2e%2e/server.py", "..%2fserver.py", "ui/", "nothing.js"])
async def test_nothing_else_is_served(server: PageServer, path: str) -> None:
    async with ClientSession() as session, session.get(server.url + path) as response:
        assert response.status in (403, 404)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
async def test_a_foreign_page_gets_no_gateway(server: PageServer, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}
    async with ClientSession() as session:
        with pytest.raises(WSServerHandshakeError) as refusal:
            await session.ws_connect(f"{server.url}gateway", headers=headers)

    assert refusal.value.status == 403


def sources() -> list[Path]:
    return [path for path in STATIC.rglob("*") if path.suffix in (".js", ".html", ".css", ".svg")]


def test_the_page_needs_nothing_from_the_network() -> None:
    for path in sources():
        urls = re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s'\"]*", path.read_text())
        assert [url for url in urls if "www.w3.org" not in url] == [], path


def test_the_page_has_no_inline_script_or_style_and_builds_no_markup_from_text() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
    for path in sources():
        if path.suffix == ".js":
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\(|new Function", path.read_text()), (
                path
            )


def test_every_module_that_is_imported_is_there() -> None:
    for path in STATIC.rglob("*.js"):
        for target in re.findall(r"from '(\.[^']+)'", path.read_text()):
            assert (path.parent / target).is_file(), f"{path}: {target}"


def test_modules_are_small() -> None:
    for path in sources():
        assert path.read_text().count("\n") <= 260, path


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:0/"), ("::1", "http://[::1]:0/"), ("0.0.0.0", "http://localhost:0/")],
)
def test_the_url_is_one_that_a_browser_here_can_open(host: str, url: str) -> None:
    assert PageServer(Gateway(RELAY), ServerConfig(host=host, port=0)).url == url
