"""What every muxer, transport and handler agrees on: raw streams, muxers, and the negotiated stream.

A *raw* stream is what a muxer gives (a yamux stream, a data channel, a relayed pipe). A :class:`Stream` is a raw stream
on which multistream-select has agreed on a protocol; it adds exact and length-delimited reads.
:class:`~signalling.libp2p.aio.connection.Connection` ties a muxer to the peer it leads to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from signalling.errors import DecodeError, MessageTooLarge, StreamClosed
from signalling.libp2p.varint import MAX_VARINT_BYTES, decode_varint, encode_varint

if TYPE_CHECKING:
    from signalling.libp2p.aio.connection import Connection

__all__ = ["DEFAULT_READ", "Muxer", "RawStream", "Stream"]

DEFAULT_READ = 65536
"""How many bytes ``read`` returns at most when the caller does not say."""


@runtime_checkable
class RawStream(Protocol):
    """A reliable, ordered, bidirectional byte stream whose halves close on their own.

    One task may read while another writes; two tasks must not read (or write) at the same time.
    """

    async def read(self, max_bytes: int = DEFAULT_READ) -> bytes:
        """Return what has arrived, between 1 and ``max_bytes`` bytes; wait for it; ``b""`` once the peer closed.

        Survives cancellation without losing bytes.

        Raises:
            StreamReset: either side reset the stream, or the connection below it is gone.
            StreamClosed: our reading half was closed with :meth:`close_read`.
        """

    async def write(self, data: bytes) -> None:
        """Send ``data``; returns when the muxer took it all, which is how a slow reader holds a writer back.

        Raises:
            StreamReset: either side reset the stream, or the connection below it is gone.
            StreamClosed: our writing half was closed.
        """

    async def close_write(self) -> None:
        """Half-close: the peer reads end of stream after what was written; reading goes on. Harmless twice."""

    async def close_read(self) -> None:
        """Stop reading: what still arrives is thrown away. Harmless twice."""

    async def close(self) -> None:
        """Close both halves without losing what was written. Harmless twice."""

    async def reset(self) -> None:
        """Abort both halves at once; either side may lose what was in flight. Harmless twice."""


@runtime_checkable
class Muxer(Protocol):
    """Many raw streams over one connection."""

    @property
    def closed(self) -> bool:
        """Whether the connection is gone or going: no stream can be opened any more."""

    async def open_stream(self) -> RawStream:
        """Open a stream to the peer.

        Raises:
            ConnectionClosed: the connection is gone, or the peer takes no more streams.
            LimitExceeded: as many streams are open as the configuration allows.
        """

    async def accept_stream(self) -> RawStream:
        """Wait for the next stream that the peer opens.

        Raises:
            ConnectionClosed: the connection is gone.
        """

    async def close(self) -> None:
        """Close the connection: every stream on it ends. Harmless twice."""

    async def wait_closed(self) -> None:
        """Return when the connection is gone, whoever closed it and why."""


class Stream:
    """A raw stream on which a protocol is agreed; itself a :class:`RawStream`."""

    __slots__ = ("_buffer", "_proposed", "_raw", "_settling", "connection", "protocol")

    def __init__(
        self,
        raw: RawStream,
        protocol: str,
        connection: Connection,
        received: bytes = b"",
        proposed: Callable[[], Awaitable[bytes]] | None = None,
    ) -> None:
        """Wrap ``raw``; ``received`` is what arrived behind the negotiation and belongs to the protocol.

        ``proposed`` is given when the peer has not answered our proposal yet: it waits for the answer, returns what
        arrived behind it, and raises NegotiationError after resetting the stream. It is called before the first read.
        """
        self._raw = raw
        self._buffer = bytearray(received)
        self._proposed = proposed
        self._settling = asyncio.Lock()
        self.protocol = protocol
        self.connection = connection

    async def _settle(self) -> None:
        """Wait for the answer to our proposal, if it is still to come."""
        if self._proposed is None:
            return
        async with self._settling:  # a reader and a closing writer may both get here
            if self._proposed is not None:
                received = await self._proposed()
                self._proposed = None
                self._buffer += received

    async def read(self, max_bytes: int = DEFAULT_READ) -> bytes:
        """Return 1 to ``max_bytes`` bytes, or ``b""`` at the end of the stream; see :meth:`RawStream.read`.

        Raises:
            NegotiationError: the peer refused the protocol after all; see :meth:`Connection.open_stream`.
        """
        await self._settle()
        if not self._buffer:
            return await self._raw.read(max_bytes)
        data = bytes(self._buffer[:max_bytes])
        del self._buffer[:max_bytes]
        return data

    async def read_exactly(self, count: int) -> bytes:
        """Return exactly ``count`` bytes.

        A cancelled call loses nothing: what it had gathered is read again.

        Raises:
            StreamClosed: the stream ended before ``count`` bytes.
            StreamReset: see :meth:`read`.
        """
        await self._settle()
        while len(self._buffer) < count:
            data = await self._raw.read(DEFAULT_READ)
            if not data:
                raise StreamClosed(f"the stream ended after {len(self._buffer)} of {count} bytes")
            self._buffer += data
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def read_delimited(self, limit: int) -> bytes | None:
        """Return the next message without its unsigned-varint length prefix; None when the stream ended before it.

        Raises:
            MessageTooLarge: the prefix announces more than ``limit`` bytes.
            DecodeError: the prefix is not a minimal varint.
            StreamClosed: the stream ended within a message.
        """
        await self._settle()
        while True:
            prefix = decode_varint(self._buffer)
            if prefix is not None:
                break
            if len(self._buffer) >= MAX_VARINT_BYTES:
                raise DecodeError("the length prefix is longer than nine bytes")
            data = await self._raw.read(DEFAULT_READ)
            if not data:
                if self._buffer:
                    raise StreamClosed("the stream ended within a length prefix")
                return None
            self._buffer += data
        length, size = prefix
        if length > limit:
            raise MessageTooLarge(f"a message of {length} bytes exceeds the limit of {limit}")
        return (await self.read_exactly(size + length))[size:]

    async def write(self, data: bytes) -> None:
        """Send ``data``; returns when the muxer took it; see :meth:`RawStream.write`."""
        await self._raw.write(data)

    async def write_delimited(self, data: bytes) -> None:
        """Send ``data`` behind its length as an unsigned varint, in one write."""
        await self._raw.write(encode_varint(len(data)) + data)

    async def close_write(self) -> None:
        """Half-close: the peer reads end of stream after what was written.

        A peer that has not yet agreed on the protocol is waited for: js-libp2p loses an end that comes before its
        handler runs.

        Raises:
            NegotiationError: it refused.
        """
        await self._settle()
        await self._raw.close_write()

    async def close_read(self) -> None:
        """Stop reading: what still arrives is thrown away."""
        await self._settle()
        self._buffer.clear()
        await self._raw.close_read()

    async def close(self) -> None:
        """Close both halves without losing what was written.

        A peer that has not yet agreed on the protocol is waited for.

        Raises:
            NegotiationError: it refused.
        """
        await self._settle()
        self._buffer.clear()
        await self._raw.close()

    async def reset(self) -> None:
        """Abort both halves at once."""
        self._proposed = None
        self._buffer.clear()
        await self._raw.reset()
