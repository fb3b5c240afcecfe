"""Two negotiated streams joined in memory: what signalling runs on when no host is under test."""

from __future__ import annotations

import asyncio
from typing import cast

from signalling.errors import StreamReset
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.webrtc_signalling import SIGNALLING_PROTOCOL


class Pipe:
    """One end: what is written here is read there."""

    def __init__(self) -> None:
        self.other: Pipe | None = None
        self.wrote: list[bytes] = []
        self.closed_write = False
        self.was_reset = False
        self._buffer = bytearray()
        self._changed = asyncio.Event()

    @property
    def quiet(self) -> bool:
        """Whether all that came was read."""
        return not self._buffer

    async def read(self, max_bytes: int = 65536) -> bytes:
        assert self.other is not None
        while not self._buffer:
            if self.was_reset:
                raise StreamReset("the peer reset the stream")
            if self.other.closed_write:
                return b""
            self._changed.clear()
            await self._changed.wait()
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        return data

    async def write(self, data: bytes) -> None:
        assert self.other is not None
        if self.was_reset:
            raise StreamReset("the peer reset the stream")
        self.wrote.append(data)
        self.other._buffer += data
        self.other._changed.set()

    async def close_write(self) -> None:
        self.closed_write = True
        if self.other is not None:
            self.other._changed.set()

    async def close_read(self) -> None:
        pass

    async def close(self) -> None:
        await self.close_write()

    async def reset(self) -> None:
        for end in (self, self.other):
            assert end is not None
            end.was_reset = True
            end._buffer.clear()
            end._changed.set()


def stream_pair() -> tuple[Stream, Stream, Pipe, Pipe]:
    """Return two streams and the pipes below them."""
    one, other = Pipe(), Pipe()
    one.other, other.other = other, one
    nowhere = cast(Connection, None)
    return Stream(one, SIGNALLING_PROTOCOL, nowhere), Stream(other, SIGNALLING_PROTOCOL, nowhere), one, other
