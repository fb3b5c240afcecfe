"""Files, ``/lastresort/file/1.0.0``, and asking for them, ``/lastresort/file-request/1.0.0``.

The sender opens a file stream::

    sender    {"name":str,"size":int,"sha256":hex}                       JSON behind its length
    receiver  {"accept":true}  or  {"accept":false,"reason":str}
    sender    `size` bytes, then the end of the stream
    receiver  {"ok":bool,"size":int,"sha256":hex}                        what it counted and hashed itself

On a request stream ``{"list":true}`` is answered by ``{"files":[{"name":str,"size":int}]}``, and ``{"get":name}`` by
``{"ok":true}``, after which a file stream comes, or by ``{"ok":false,"reason":str}``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from browser_demo.errors import FileRefused
from browser_demo.peer.messages import read_json, write_json
from browser_demo.peer.store import FileStore, Incoming, SharedFile, safe_name
from signalling.errors import ProtocolViolation, SignallingError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.peer_id import PeerId

__all__ = ["FILE_PROTOCOL", "REQUEST_PROTOCOL", "FileService", "Transferred"]

FILE_PROTOCOL = "/lastresort/file/1.0.0"
REQUEST_PROTOCOL = "/lastresort/file-request/1.0.0"

logger = logging.getLogger("browser_demo")


@dataclass(frozen=True, slots=True)
class Transferred:
    """A file that went over: ``ok`` when size and hash agree at both ends."""

    peer: PeerId
    name: str
    size: int
    sha256: str
    inbound: bool
    ok: bool


class FileService:
    """Receives files into ``store`` and sends those that it shares."""

    def __init__(
        self, host: Host, store: FileStore, on_transferred: Callable[[Transferred], None] = lambda _: None
    ) -> None:
        self.config = store.config
        self._host = host
        self._store = store
        self._on_transferred = on_transferred
        self._tasks = TaskSet()
        host.handle(FILE_PROTOCOL, self._receive)
        host.handle(REQUEST_PROTOCOL, self._answer_request)

    async def close(self) -> None:
        """Give up what is on its way out."""
        await self._tasks.close()

    async def send(self, target: PeerId | Connection, file: SharedFile) -> Transferred:
        """Send a file and return what the peer found.

        Raises:
            FileRefused: the peer does not take it.
            SignallingError: the peer is out of reach, or the stream broke.
            TimeoutError: no progress for :attr:`FileConfig.idle_timeout` seconds.
            OSError: the file cannot be read.
        """
        sha256 = await asyncio.to_thread(file.sha256)
        stream = await self._host.new_stream(target, [FILE_PROTOCOL])
        try:
            verdict = await self._offer(stream, file, sha256)
            await stream.close()
        except BaseException:
            await stream.reset()
            raise
        ok = verdict.get("ok") is True and verdict.get("sha256") == sha256
        done = Transferred(stream.connection.remote_peer, file.name, file.size, sha256, inbound=False, ok=ok)
        self._on_transferred(done)
        return done

    async def _offer(self, stream: Stream, file: SharedFile, sha256: str) -> dict[str, Any]:
        limit, patience = self.config.max_message, self.config.idle_timeout
        await write_json(stream, {"name": file.name, "size": file.size, "sha256": sha256})
        answer = await read_json(stream, limit, patience)
        if answer.get("accept") is not True:
            raise FileRefused(str(answer.get("reason", "no reason given"))[:200])
        left = file.size
        with file.path.open("rb") as source:
            while left and (data := source.read(min(self.config.chunk, left))):
                left -= len(data)
                async with asyncio.timeout(patience):
                    await stream.write(data)
        await stream.close_write()
        return await read_json(stream, limit, patience)

    async def _receive(self, stream: Stream) -> None:
        header = await read_json(stream, self.config.max_message, self.config.idle_timeout)
        name, size, announced = header.get("name"), header.get("size"), header.get("sha256")
        if not (isinstance(name, str) and type(size) is int and isinstance(announced, str)):
            raise ProtocolViolation("a file header without name, size and sha256")
        try:
            incoming = self._store.begin(name, size)
        except FileRefused as refusal:
            await write_json(stream, {"accept": False, "reason": str(refusal)})
            return
        try:
            await write_json(stream, {"accept": True})
            await self._fill(incoming, stream, size)
            sha256 = incoming.finish()
            ok = incoming.size == size and sha256 == announced.lower()
        except BaseException:
            self._store.drop(incoming)
            raise
        (self._store.keep if ok else self._store.drop)(incoming)
        await write_json(stream, {"ok": ok, "size": incoming.size, "sha256": sha256})
        kept = safe_name(name, self.config.max_name)
        self._on_transferred(Transferred(stream.connection.remote_peer, kept, size, sha256, inbound=True, ok=ok))

    async def _fill(self, incoming: Incoming, stream: Stream, size: int) -> None:
        while True:
            async with asyncio.timeout(self.config.idle_timeout):
                data = await stream.read()
            if not data:
                return
            if incoming.size + len(data) > size:
                raise ProtocolViolation("more bytes than announced")
            incoming.write(data)

    async def _answer_request(self, stream: Stream) -> None:
        question = await read_json(stream, self.config.max_message, self.config.idle_timeout)
        if question.get("list") is True:
            files = [{"name": file.name, "size": file.size} for file in self._store.shared()]
            await write_json(stream, {"files": files[: self.config.max_files]})
            return
        try:
            if len(self._tasks) >= self.config.max_transfers:
                raise FileRefused("too many files are on their way")
            file = self._store.find(str(question.get("get", "")))
        except FileRefused as refusal:
            await write_json(stream, {"ok": False, "reason": str(refusal)})
            return
        await write_json(stream, {"ok": True})
        self.send_soon(stream.connection, file)

    def send_soon(self, target: PeerId | Connection, file: SharedFile) -> None:
        """Send in the background; a failure is logged."""
        self._tasks.spawn(self._try_to_send(target, file), f"send {file.name}")

    async def _try_to_send(self, target: PeerId | Connection, file: SharedFile) -> None:
        try:
            await self.send(target, file)
        except (FileRefused, SignallingError, TimeoutError, OSError) as error:
            logger.info("%s was not sent: %s", file.name, error or type(error).__name__)
