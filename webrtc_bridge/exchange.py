"""One ``/webrtc-signaling/0.0.1`` stream on asyncio: the machine of ``signalling`` between a stream and its owner.

The peer connections of this process (:mod:`webrtc_bridge.negotiation`) and the pages behind the gateway
(:mod:`webrtc_bridge.gateway`) use it alike.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from signalling.errors import ConnectionClosed, DecodeError
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.webrtc_signalling import (
    EndOfCandidates,
    IceCandidate,
    SignallingItem,
    SignallingRole,
    SignallingSession,
)

__all__ = ["SignallingExchange", "linger"]

logger = logging.getLogger("webrtc_bridge")

LINGER = 2.0
"""Seconds for our last messages to get out, and for the peer's end of the stream to come after ours."""


class SignallingExchange:
    """Sends our description and candidates in order, and yields what the peer says.

    ``async with`` it: leaving normally half-closes the stream behind the last message; leaving with an exception resets
    it.
    """

    def __init__(self, stream: Stream, role: SignallingRole, config: SignallingConfig | None = None) -> None:
        self.stream = stream
        self._config = config or SignallingConfig()
        self._machine = SignallingSession(role, self._config)
        self._to_write = asyncio.Event()
        self._finishing = False
        self._writer: asyncio.Task[None] | None = None

    @property
    def counters(self) -> dict[str, int]:
        """What the peer said that was passed over, by reason."""
        return dict(self._machine.counters)

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
        """Send our offer (as dialler) or answer (as listener), before any candidate."""
        self._machine.send_description(sdp)
        self._to_write.set()

    def send_candidate(self, candidate: IceCandidate | None) -> None:
        """Send a candidate of ours. None is not sent: js-libp2p neither sends nor needs an end of candidates."""
        if not self._finishing:
            self._machine.send_candidate(candidate)
            self._to_write.set()

    async def items(self) -> AsyncIterator[SignallingItem]:
        """Yield the peer's description, candidates and, at most once and last, ``SignallingFailed``.

        Ends without an item when the peer has closed or reset the stream after its description: js-libp2p does so as
        soon as its side is connected, and goes on connecting when the stream breaks.
        """
        while not self._machine.ended:
            try:
                message = await self.stream.read_delimited(self._config.max_message)
            except (ConnectionClosed, DecodeError) as error:
                logger.debug("signalling stream ended: %s", error)
                message = None
            if message is None:
                self._machine.receive_eof()
                event = self._machine.next_event()
                if event is not None and not isinstance(event, EndOfCandidates):
                    yield event
                return
            self._machine.receive_message(message)
            while (event := self._machine.next_event()) is not None:
                yield event

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                self._to_write.clear()
                while (effect := self._machine.next_effect()) is not None:
                    await self.stream.write_delimited(effect.message)
                if self._finishing:
                    await self.stream.close_write()
                    return
                await self._to_write.wait()

    async def _finish(self) -> None:
        self._finishing = True
        self._to_write.set()
        with contextlib.suppress(ConnectionClosed, TimeoutError):
            async with asyncio.timeout(LINGER):
                if self._writer is not None:
                    await asyncio.shield(self._writer)

    async def _stop(self, *, clean: bool) -> None:
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.gather(self._writer, return_exceptions=True)
        if not clean:
            await self.stream.reset()


async def linger(stream: Stream) -> None:
    """Wait a little for the peer's end of the stream, so that closing ours does not cut its last words off."""
    with contextlib.suppress(ConnectionClosed, TimeoutError):
        async with asyncio.timeout(LINGER):
            while await stream.read():
                pass
