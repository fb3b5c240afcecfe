"""Chat, ``/lastresort/chat/1.0.0``: one stream, JSON messages behind a length, either side may open it.

``{"type":"message","id":str,"text":str}`` is answered by ``{"type":"received","id":str}``.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from browser_demo.config import ChatConfig
from browser_demo.peer.messages import read_json, write_json
from signalling.errors import StreamClosed
from signalling.libp2p.aio.host import Host
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.peer_id import PeerId

__all__ = ["PROTOCOL", "ChatService", "Responder"]

PROTOCOL = "/lastresort/chat/1.0.0"

Responder = Callable[[Stream, str], Awaitable[str | None]]
"""Given the stream a text came on and the text, returns the answer, or None for none."""


class ChatService:
    """Answers chat streams on ``host`` with what ``respond`` says."""

    def __init__(self, host: Host, respond: Responder, config: ChatConfig | None = None) -> None:
        self.config = config or ChatConfig()
        self._host = host
        self._respond = respond
        host.handle(PROTOCOL, self.serve)

    async def serve(self, stream: Stream) -> None:
        """Serve one stream until the peer ends it."""
        while True:
            try:
                message = await read_json(stream, self.config.max_message)
            except StreamClosed:
                return
            text, number = message.get("text"), message.get("id")
            if message.get("type") != "message" or not isinstance(text, str):
                continue
            if isinstance(number, str) and len(number) <= self.config.max_id:
                await write_json(stream, {"type": "received", "id": number})
            answer = await self._respond(stream, text[: self.config.max_text])
            if answer is not None:
                await self._say(stream, answer)

    async def say(self, peer: PeerId, text: str) -> None:
        """Open a stream to ``peer``, say ``text`` and go on listening there until the peer ends it.

        Raises:
            SignallingError: the peer is out of reach or speaks no chat.
        """
        stream = await self._host.new_stream(peer, [PROTOCOL])
        try:
            await self._say(stream, text)
            await self.serve(stream)
        except BaseException:
            await stream.reset()
            raise
        await stream.close()

    async def _say(self, stream: Stream, text: str) -> None:
        await write_json(stream, {"type": "message", "id": secrets.token_hex(6), "text": text[: self.config.max_text]})
