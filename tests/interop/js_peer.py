"""Drives tests/interop/js/peer.mjs: a js-libp2p peer in a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from tests.tools import JS_FOLDER

Answer = dict[str, Any]

MAX_LINE = 4 * 1024 * 1024
START_TIMEOUT = 60.0
COMMAND_TIMEOUT = 60.0


class JsError(Exception):
    """A command failed; ``name`` is the name of the JavaScript error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class JsPeer:
    """A running peer. ``await peer.do("ping", target=...)`` returns the answer of a command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read(), name="js peer")
        self.events: list[Answer] = []
        self.peer_id = PeerId(b"\x00\x00")
        self.addresses: list[Multiaddr] = []

    async def do(self, command: str, **arguments: Any) -> Answer:
        """Run a command of commands.mjs.

        Raises:
            JsError: it failed over there.
        """
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "cmd": command, **arguments}, default=str).encode() + b"\n")
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT):
                answer = await self._answers[number]
        finally:
            del self._answers[number]
        if not answer["ok"]:
            raise JsError(answer.get("name") or "Error", answer.get("error") or "")
        return answer

    async def event(self, name: str, timeout: float = 20.0, **members: Any) -> Answer:
        """Return the first event of that name with these members, past ones included."""
        async with asyncio.timeout(timeout), self._changed:
            while True:
                for event in self.events:
                    if event["event"] == name and all(event.get(key) == value for key, value in members.items()):
                        return event
                await self._changed.wait()

    async def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(5.0):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._reader

    async def kill(self) -> None:
        """End the process without a good-bye."""
        self._process.kill()
        await self._process.wait()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            future = self._answers.get(message.get("id") or 0)
            if future is not None and not future.done():
                future.set_result(message)
                continue
            async with self._changed:
                self.events.append(message)
                self._changed.notify_all()
        for future in self._answers.values():
            if not future.done():
                future.set_result({"ok": False, "name": "Exit", "error": "the process ended"})


@functools.cache
def _flags(node: Path) -> tuple[str, ...]:
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version.strip().lstrip("v").split(".")[0])
    return ("--experimental-websocket",) if major < 22 else ()


@contextlib.asynccontextmanager
async def js_peer(node: Path, **options: Any) -> AsyncIterator[JsPeer]:
    """Run a peer with these options (see peer.mjs) for the length of a block."""
    process = await asyncio.create_subprocess_exec(
        str(node),
        *_flags(node),
        "peer.mjs",
        json.dumps(options, default=str),
        cwd=JS_FOLDER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
    )
    peer = JsPeer(process)
    try:
        ready = await peer.event("ready", timeout=START_TIMEOUT)
        peer.peer_id = PeerId.parse(ready["peer"])
        peer.addresses = [Multiaddr(address) for address in ready["addresses"]]
        yield peer
    finally:
        await peer.close()
