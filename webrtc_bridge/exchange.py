"""One ``/webrtc-signaling/0.0.1`` stream with an owner that must not wait: candidates are queued, a task writes them.

The peer connections of this process (:mod:`webrtc_bridge.negotiation`) and the pages behind the gateway
(:mod:`webrtc_bridge.gateway`) use it alike.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from signalling.errors import ConnectionClosed, ProtocolViolation
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.webrtc_signalling import SignallingStream
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.webrtc_signalling import EndOfCandidates, IceCandidate, RemoteDescription, SignallingRole
from webrtc_bridge.ending import end_tasks

__all__ = ["SignallingExchange", "linger"]


class SignallingExchange:
    """Sends our description and candidates in order, and yields what the peer says.

    ``async with`` it: leaving normally half-closes the stream behind the last message; leaving with an exception resets
    it.
    """

    def __init__(
        self, stream: Stream, role: SignallingRole, config: SignallingConfig | None = None, *, linger: float = 2.0
    ) -> None:
        """Speak on ``stream``; ``linger`` is how many seconds our last messages have to get out."""
        self._role = role
        self._linger = linger
        self._signalling = SignallingStream(stream, role, config)
        self._queue: deque[str | IceCandidate] = deque()
        self._to_write = asyncio.Event()
        self._finishing = False
        self._described = False
        self.broken: str | None = None
        """Why the stream broke after the peer's description; None when it did not, or ended in peace."""
        self._writer: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write(), name="webrtc signalling: writer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                await self._finish()
        finally:
            await self._stop(clean=kind is None)

    def send_description(self, sdp: str) -> None:
        """Send our offer (as dialler) or, once the offer has come, our answer (as listener)."""
        self._described = True
        self._queue.append(sdp)
        self._to_write.set()

    def send_candidate(self, candidate: IceCandidate | None) -> None:
        """Send a candidate of ours, after the description; one that comes too early or too late is not sent.

        Nor is None: js-libp2p neither sends nor needs an end of candidates.
        """
        if self._described and candidate is not None and not self._finishing:
            self._queue.append(candidate)
            self._to_write.set()

    async def items(self) -> AsyncIterator[RemoteDescription | IceCandidate | EndOfCandidates]:
        """Yield the peer's description, then candidates.

        Ends when the peer has closed or reset the stream after its description: js-libp2p does so as soon as its side
        is connected, and goes on connecting when the stream breaks.

        Raises:
            ProtocolViolation: the peer broke the conversation.
            ConnectionClosed: the stream was gone before the description came.
        """
        described = False
        while True:
            try:
                item = await self._signalling.receive()
            except ConnectionClosed as error:
                if not described:
                    raise
                self.broken = str(error)
                return
            if item is None:
                return
            described = described or isinstance(item, RemoteDescription)
            yield item

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed, ProtocolViolation):
            while True:
                self._to_write.clear()
                while self._queue:
                    await self._send(self._queue.popleft())
                if self._finishing:
                    await self._signalling.close_write()
                    return
                await self._to_write.wait()

    async def _send(self, item: str | IceCandidate) -> None:
        if isinstance(item, IceCandidate):
            await self._signalling.send_candidate(item)
        elif self._role is SignallingRole.DIALLER:
            await self._signalling.send_offer(item)
        else:
            await self._signalling.send_answer(item)

    async def _finish(self) -> None:
        self._finishing = True
        self._to_write.set()
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(self._linger):
                if self._writer is not None:
                    await asyncio.shield(self._writer)

    async def _stop(self, *, clean: bool) -> None:
        await end_tasks(self._writer)
        if not clean:
            await self._signalling.reset()


async def linger(stream: Stream, seconds: float) -> None:
    """Wait up to ``seconds`` for the peer's end of the stream, so that closing ours does not cut its last words off."""
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(seconds):
            while await stream.read():
                pass
