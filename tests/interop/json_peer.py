"""A program of another implementation that takes commands and tells events, one JSON object a line."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

__all__ = ["START_TIMEOUT", "Answer", "JsonPeer", "PeerError", "json_peer", "start"]

Answer = dict[str, Any]
Peer = TypeVar("Peer", bound="JsonPeer")

MAX_LINE = 4 * 1024 * 1024
START_TIMEOUT = 60.0
COMMAND_TIMEOUT = 60.0


class PeerError(Exception):
    """A command failed; ``name`` is the name of the error over there."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name


class JsonPeer:
    """A running program. ``await peer.do("ping", target=...)`` returns the answer of a command."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._ids = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read(), name="reader of another program")
        self._ended = False
        self.events: list[Answer] = []

    async def do(self, command: str, **arguments: Any) -> Answer:
        """Run one of the program's commands.

        Raises:
            PeerError: it failed over there.
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
            raise PeerError(answer.get("name") or "Error", answer.get("error") or "")
        return answer

    async def event(self, name: str, timeout: float = 20.0, *, take: bool = False, **members: Any) -> Answer:
        """Return the first event of that name with these members, past ones included; ``take`` returns it once only."""
        async with asyncio.timeout(timeout), self._changed:
            while True:
                for event in self.events:
                    if event["event"] == name and all(event.get(key) == value for key, value in members.items()):
                        if take:
                            self.events.remove(event)
                        return event
                if self._ended:
                    raise PeerError("Exit", f"the process ended before it told {name}")
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
        async with self._changed:
            self._ended = True
            self._changed.notify_all()


@contextlib.asynccontextmanager
async def json_peer(*command: str | Path, folder: Path, options: dict[str, Any]) -> AsyncIterator[JsonPeer]:
    """Run a program with ``options`` as its last argument for the length of a block; it has told ``ready``."""
    peer = await start(command, folder, options, JsonPeer)
    try:
        await peer.event("ready", timeout=START_TIMEOUT)
        yield peer
    finally:
        await peer.close()


async def start(command: Sequence[str | Path], folder: Path, options: dict[str, Any], kind: type[Peer]) -> Peer:
    """Start a program with ``options``, as JSON, as its last argument."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command),
        json.dumps(options, default=str),
        cwd=folder,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE,
    )
    return kind(process)
