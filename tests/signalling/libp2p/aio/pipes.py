"""Connected pairs for the asyncio tests: an in-memory raw stream, and two upgraded ends over real TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from signalling.errors import StreamClosed, StreamReset
from signalling.libp2p.aio.upgrade import Upgraded, UpgradeProtocol, Upgrader
from signalling.libp2p.aio.yamux import YamuxRawStream
from signalling.libp2p.config import UpgradeConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role

CLIENT = PrivateKey(bytes(range(32)))
SERVER = PrivateKey(bytes(range(32, 64)))
SERVER_PEER = PeerId.from_public_key(SERVER.public_key)
CLIENT_PEER = PeerId.from_public_key(CLIENT.public_key)


class MemoryStream:
    """One end of an in-memory pipe that holds at most ``limit`` unread bytes; a RawStream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._changed = asyncio.Condition()
        self._eof = self._reset = self._write_closed = self._stopped = False
        self.peer = self

    @classmethod
    def pair(cls, limit: int = 65536) -> tuple[MemoryStream, MemoryStream]:
        one, two = cls(limit), cls(limit)
        one.peer, two.peer = two, one
        return one, two

    @property
    def was_reset(self) -> bool:
        return self._reset

    async def read(self, max_bytes: int = 65536) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._buffer or self._eof or self._reset or self._stopped)
            if self._reset:
                raise StreamReset("the pipe was reset")
            if self._stopped:
                raise StreamClosed("closed for reading")
            data = bytes(self._buffer[:max_bytes])
            del self._buffer[:max_bytes]
            self._changed.notify_all()
            return data

    async def write(self, data: bytes) -> None:
        peer = self.peer
        while data:
            async with peer._changed:
                await peer._changed.wait_for(
                    lambda: len(peer._buffer) < peer._limit or self._reset or self._write_closed
                )
                if self._reset:
                    raise StreamReset("the pipe was reset")
                if self._write_closed:
                    raise StreamClosed("closed for writing")
                room = peer._limit - len(peer._buffer)
                peer._buffer += data[:room]
                data = data[room:]
                peer._changed.notify_all()

    async def close_write(self) -> None:
        self._write_closed = True
        async with self.peer._changed:
            self.peer._eof = True
            self.peer._changed.notify_all()

    async def close_read(self) -> None:
        async with self._changed:
            self._stopped = True
            self._buffer.clear()
            self._changed.notify_all()

    async def close(self) -> None:
        await self.close_write()
        await self.close_read()

    async def reset(self) -> None:
        for end in (self, self.peer):
            async with end._changed:
                end._reset = True
                end._changed.notify_all()


@dataclass
class Upgrades:
    """Both ends of one upgraded connection."""

    client: Upgraded
    server: Upgraded

    async def streams(self) -> tuple[YamuxRawStream, YamuxRawStream]:
        """Return both ends of a stream that the client opened."""
        ours = await self.client.muxer.open_stream()
        return ours, await self.server.muxer.accept_stream()

    async def close(self) -> None:
        for end in (self.client, self.server):
            end.transport.abort()
            await end.muxer.wait_closed()


@contextlib.asynccontextmanager
async def over_tcp(client: UpgradeConfig | None = None, server: UpgradeConfig | None = None) -> AsyncIterator[Upgrades]:
    """Upgrade a TCP connection on loopback."""
    loop = asyncio.get_running_loop()
    ours, theirs = Upgrader(CLIENT, client), Upgrader(SERVER, server)
    accepted: asyncio.Future[UpgradeProtocol] = loop.create_future()

    def accept() -> UpgradeProtocol:
        accepted.set_result(theirs.protocol(Role.RESPONDER))
        return accepted.result()

    listener = await loop.create_server(accept, "127.0.0.1", 0)
    try:
        _, protocol = await loop.create_connection(
            lambda: ours.protocol(Role.INITIATOR, SERVER_PEER), *listener.sockets[0].getsockname()
        )
        both = Upgrades(await protocol.wait(), await (await accepted).wait())
        try:
            yield both
        finally:
            await both.close()
    finally:
        listener.close()


@contextlib.asynccontextmanager
async def over_memory(
    client: UpgradeConfig | None = None, server: UpgradeConfig | None = None
) -> AsyncIterator[Upgrades]:
    """Upgrade an in-memory pipe, as a relayed stream is upgraded."""
    one, two = MemoryStream.pair()
    both = Upgrades(
        *await asyncio.gather(
            Upgrader(CLIENT, client).upgrade_stream(one, Role.INITIATOR, SERVER_PEER),
            Upgrader(SERVER, server).upgrade_stream(two, Role.RESPONDER),
        )
    )
    try:
        yield both
    finally:
        await both.close()
