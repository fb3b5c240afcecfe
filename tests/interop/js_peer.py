"""Drives tests/interop/js/peer.mjs: a js-libp2p peer in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from tests.interop.json_peer import START_TIMEOUT, JsonPeer, PeerError, start
from tests.tools import JS_FOLDER

__all__ = ["JsError", "JsPeer", "js_peer"]

JsError = PeerError
"""A command failed; ``name`` is the name of the JavaScript error."""


class JsPeer(JsonPeer):
    """A running peer; its commands are those of commands.mjs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__(process)
        self.peer_id = PeerId(b"\x00\x00")
        self.addresses: list[Multiaddr] = []


@functools.cache
def _flags(node: Path) -> tuple[str, ...]:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.strip().lstrip("v").split(".")[0])
    return ("--experimental-websocket",) if major < 22 else ()


@contextlib.asynccontextmanager
async def js_peer(node: Path, **options: Any) -> AsyncIterator[JsPeer]:
    """Run a peer with these options (see peer.mjs) for the length of a block."""
    peer = await start([node, *_flags(node), "peer.mjs"], JS_FOLDER, options, JsPeer)
    try:
        ready = await peer.event("ready", timeout=START_TIMEOUT)
        peer.peer_id = PeerId.parse(ready["peer"])
        peer.addresses = [Multiaddr(address) for address in ready["addresses"]]
        yield peer
    finally:
        await peer.close()
