"""Ping on a host: asks and answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from signalling.errors import ProtocolViolation
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.ping import PING_PROTOCOL, PING_SIZE

if TYPE_CHECKING:
    from signalling.libp2p.aio.host import Host

__all__ = ["PingService"]


class PingService:
    """The ping protocol of one host; it runs on limited connections too."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._config = host.config.ping
        host.handle(PING_PROTOCOL, self._answer, allow_limited=True)

    async def ping(self, target: PeerId | Connection) -> float:
        """Return the round-trip time in seconds; see :meth:`Host.ping`."""
        payload = self._host.rng.randbytes(PING_SIZE)
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(self._config.timeout):
            stream = await self._host.new_stream(target, [PING_PROTOCOL], allow_limited=True)
            try:
                started = clock()
                await stream.write(payload)
                echo = await stream.read_exactly(PING_SIZE)
                elapsed = clock() - started
                if echo != payload:
                    raise ProtocolViolation(f"{stream.connection.remote_peer} answered a ping with other bytes")
            except BaseException:
                await stream.reset()
                raise
            await stream.close()
        return elapsed

    async def _answer(self, stream: Stream) -> None:
        """Send back what comes, in payloads or not: the peer may half-close right behind its last byte."""
        while True:
            async with asyncio.timeout(self._config.idle_timeout):
                data = await stream.read(PING_SIZE)
                if not data:
                    return
                await stream.write(data)
