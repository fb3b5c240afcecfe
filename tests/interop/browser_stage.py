"""What the browser tests stand on: a running demo, a headless Chromium, and an interface that a browser offers."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser

from browser_demo.browser import TabDriver, headless_chromium
from browser_demo.config import DemoConfig, PeerSettings, ServerConfig
from browser_demo.stack import Demo, outside_address
from tests.tools import namespaces

CONFIG = DemoConfig(server=ServerConfig(port=0), peer=PeerSettings(name="python"))


@dataclass
class Stage:
    """A running demo and tabs on its page."""

    demo: Demo
    browser: Browser
    artifacts: Path

    async def tab(self, name: str, **options: str) -> TabDriver:
        return await TabDriver.open(self.browser, self.demo.url, name=name, **options)


@contextmanager
def outside_interface() -> Iterator[None]:
    """Make an interface other than loopback where there is none: browsers offer no loopback candidates."""
    if outside_address() is not None:
        yield
        return
    tool = namespaces()
    if tool.path is None:
        pytest.skip(f"this machine has only loopback addresses; {tool.missing}")
    for arguments in (
        ("link", "add", "lrbrowser0", "type", "veth", "peer", "name", "lrbrowser1"),
        # No IPv6 address that turns up a second later: Chromium then drops what it is loading.
        ("link", "set", "lrbrowser0", "addrgenmode", "none"),
        ("link", "set", "lrbrowser1", "addrgenmode", "none"),
        ("link", "set", "lrbrowser1", "up"),
        ("address", "add", "198.51.100.1/24", "dev", "lrbrowser0"),
        ("link", "set", "lrbrowser0", "up"),
        ("route", "add", "default", "dev", "lrbrowser0"),
    ):
        if subprocess.run([tool.path, *arguments], capture_output=True, check=False).returncode:
            pytest.skip(f"this machine has only loopback addresses, and `ip {' '.join(arguments)}` is not allowed")
    try:
        yield
    finally:
        subprocess.run([tool.path, "link", "delete", "lrbrowser0"], check=True, capture_output=True)


@pytest.fixture
async def stage(chromium_path: Path, artifacts: Path) -> AsyncIterator[Stage]:
    with outside_interface():
        async with Demo(CONFIG) as demo, headless_chromium(chromium_path) as browser:
            yield Stage(demo, browser, artifacts)


async def peer_of(tab: TabDriver) -> str:
    """Return the tab's own peer id, once it is on the roster."""
    await tab.wait_for(".presence .dot.direct", "joining the relay")
    return str(await tab.page.evaluate("globalThis.lastresort.gateway.peer"))
