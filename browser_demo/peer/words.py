"""What the native peer answers in a chat: a few commands, and a friendly echo."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from browser_demo.errors import FileRefused
from browser_demo.peer.files import FileService
from browser_demo.peer.store import FileStore
from ice import CandidatePair
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import Stream

__all__ = ["GREETING", "Words"]

GREETING = 'Hello. I am a Python peer, and these words came straight to you. Say "help" to see what I can do.'

HELP = """I answer to:
  path – how we are connected
  files – what I share with you
  send NAME – I send you that file
  time – what my clock says
Everything else comes back to you."""


@dataclass(frozen=True, slots=True)
class Words:
    """Answers texts; ``selected_pair`` tells a connection's candidate pair, or None when it has none."""

    store: FileStore
    files: FileService
    selected_pair: Callable[[Connection], CandidatePair | None]

    async def respond(self, stream: Stream, text: str) -> str:
        """Return the answer to ``text``."""
        command, _, argument = text.strip().partition(" ")
        match command.lower().strip("?!."):
            case "help":
                return HELP
            case "path":
                return self._path(stream.connection)
            case "files":
                return self._shared()
            case "send" | "get":
                return self._send(stream.connection, argument.strip())
            case "time":
                return f"{datetime.now().astimezone():%H:%M:%S %Z} on Python {platform.python_version()}"
            case "hello" | "hi" | "hey":
                return "Hello to you. Nobody between us reads this."
            case _:
                return f"You said: {text}"

    def _path(self, connection: Connection) -> str:
        pair = self.selected_pair(connection)
        if pair is None:
            kind = "through a relay" if connection.limit is not None else "directly"
            return f"We are connected {kind}: {connection.remote_address}"
        local, remote = pair.local, pair.remote
        return (
            f"My side: {local.shown_address} ({local.type.value}). "
            f"Yours, as I see it: {remote.shown_address} ({remote.type.value})."
        )

    def _shared(self) -> str:
        files = self.store.shared()
        if not files:
            return "I share nothing right now."
        return "\n".join(f"{file.name} ({file.size:,} bytes)" for file in files[:20])

    def _send(self, connection: Connection, name: str) -> str:
        try:
            file = self.store.find(name)
        except FileRefused as refusal:
            return f'I cannot: {refusal}. Ask me for "files".'
        self.files.send_soon(connection, file)
        return f"Here comes {file.name}."
