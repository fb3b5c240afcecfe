"""The whole trip, headless: Chromium opens the page, meets the native peer at the relay, and talks to it directly."""

from __future__ import annotations

import asyncio
import hashlib
import random
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from browser_demo.browser import TabDriver, find_chromium, headless_chromium
from browser_demo.config import DemoConfig
from browser_demo.errors import CheckFailed
from browser_demo.peer.files import Transferred
from browser_demo.peer.words import GREETING
from browser_demo.stack import Demo
from signalling.libp2p.aio.relay_service import RelaySnapshot

__all__ = ["CheckReport", "relayed_bytes", "run_check"]

CHAT = "Is anybody between us?"
REPLY = f"You said: {CHAT}"
FILE_NAME = "from-the-page.bin"
FILE_SIZE = 5_000_000
MOST_RELAYED = 256 * 1024
"""Signalling takes some ten kilobytes; a relay that carried a file would have carried megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What was seen on the way. Times are in milliseconds, sizes in bytes."""

    signalling_ms: float
    checks_ms: float
    direct_ms: float
    local: str
    remote: str
    types: str
    chat_sent: str
    chat_received: str
    files: tuple[tuple[str, int, str], ...]
    path_sent: int
    path_received: int
    relay_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Return it as an object for JSON."""
        return asdict(self)


async def run_check(config: DemoConfig, *, screenshot: Path | None = None) -> CheckReport:
    """Make the trip and return what was seen.

    Raises:
        CheckFailed: some part of it did not happen.
        DemoError: Chromium or playwright is missing.
        SignallingError: the demo could not be started.
        OSError: as above, for want of an address or port.
    """
    chromium = find_chromium()
    with tempfile.TemporaryDirectory(prefix="lastresort-check-") as folder:
        path = Path(folder) / FILE_NAME
        path.write_bytes(random.Random().randbytes(FILE_SIZE))
        async with Demo(config) as demo, headless_chromium(chromium) as browser:
            seen: list[Transferred] = []
            demo.peer.on("file", seen.append)
            tab = await TabDriver.open(browser, demo.url)
            await tab.connect(demo.peer.peer_id)
            await tab.wait_for_message(GREETING)
            await tab.say(CHAT)
            await tab.wait_for_message(REPLY)
            shared = demo.peer.store.shared()[0]
            await tab.send_file(path)
            await tab.ask_for_file(shared.name)
            files = (
                await _compare(tab, seen, "out", FILE_NAME, path),
                await _compare(tab, seen, "in", shared.name, shared.path),
            )
            statistics = await _settled_statistics(tab, least=FILE_SIZE)
            if screenshot is not None:
                await tab.screenshot(screenshot)
            if tab.problems:
                raise CheckFailed(f"the page's console has errors: {tab.problems[:3]}")
            return _judge(statistics, files, relayed_bytes(demo.relay_service.snapshot()))


def relayed_bytes(relay: RelaySnapshot) -> int:
    """Return how many bytes the relay carried, in circuits that are still open and in those that are not."""
    return relay.statistics.bytes_relayed + sum(to + back for _, _, to, back in relay.circuits)


async def _compare(
    tab: TabDriver, seen: list[Transferred], direction: str, name: str, path: Path
) -> tuple[str, int, str]:
    """Check that file, page and native peer have the same hash."""
    data = await asyncio.to_thread(path.read_bytes)
    expected = hashlib.sha256(data).hexdigest()
    at_page = await tab.hash_of(direction, name)
    at_peer = next((file for file in seen if file.name == name and file.inbound is (direction == "out")), None)
    if at_peer is None or not at_peer.ok:
        raise CheckFailed(f"the native peer did not confirm {name}")
    if not expected == at_page == at_peer.sha256:
        raise CheckFailed(
            f"hashes of {name} differ: {expected} sent, {at_page} at the page, {at_peer.sha256} at the peer"
        )
    return ("to the peer" if direction == "out" else "to the page", len(data), expected)


async def _settled_statistics(tab: TabDriver, least: int) -> dict[str, Any]:
    """Return the statistics once they have caught up with the files: the browser refreshes them now and then."""
    for _ in range(20):
        statistics = await tab.statistics()
        if min(statistics["sent"], statistics["received"]) >= least:
            return statistics
        await asyncio.sleep(0.25)
    raise CheckFailed(f"the path's counters stop at {statistics['sent']} bytes sent, {statistics['received']} received")


def _judge(statistics: dict[str, Any], files: tuple[tuple[str, int, str], ...], relayed: int) -> CheckReport:
    pair, marks = statistics["selected"], statistics["marks"]
    if pair is None:
        raise CheckFailed("the page has no selected candidate pair")
    types = (pair["local"]["type"], pair["remote"]["type"])
    if "relay" in types:
        raise CheckFailed(f"the selected pair is relayed: {types}")
    if relayed > MOST_RELAYED:
        raise CheckFailed(f"the relay carried {relayed} bytes: more than signalling")
    return CheckReport(
        signalling_ms=marks["answered"] - marks["start"],
        checks_ms=marks["connected"] - marks["answered"],
        direct_ms=marks["direct"] - marks["connected"],
        local=pair["local"]["address"],
        remote=pair["remote"]["address"],
        types=" <-> ".join(types),
        chat_sent=CHAT,
        chat_received=REPLY,
        files=files,
        path_sent=statistics["sent"],
        path_received=statistics["received"],
        relay_bytes=relayed,
    )
