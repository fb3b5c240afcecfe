"""Exchanges that are ready to use: in memory for one process, JSON lines over any asyncio stream for two."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ice.exchange import ExchangeError, Item, decode_item, encode_item

__all__ = ["ExchangeConfig", "MemoryExchange", "StreamExchange", "exchange_pair"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExchangeConfig:
    """Limits of the exchanges in this module."""

    max_line: int = 8192
    """Bytes of one line, the line break included."""
    max_items: int = 1000
    """Items that a peer may send in all; a session has no use for more (RFC 8838 section 17)."""


class MemoryExchange:
    """One end of a pair within a process; see :func:`exchange_pair`."""

    def __init__(self, config: ExchangeConfig) -> None:
        self._incoming: asyncio.Queue[Item | None] = asyncio.Queue(config.max_items + 1)
        self._peer: MemoryExchange | None = None
        self._config = config
        self._sent = 0
        self._closed = False

    async def send(self, item: Item) -> None:
        """Hand ``item`` to the other end.

        Raises:
            ExchangeError: an end is closed, or the limit of items is reached.
        """
        peer = self._peer
        if peer is None or self._closed or peer._closed:
            raise ExchangeError("the exchange is closed")
        if self._sent >= self._config.max_items:
            raise ExchangeError(f"more than {self._config.max_items} items")
        self._sent += 1
        peer._incoming.put_nowait(item)

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Yield what the other end sends, until an end is closed."""
        while not self._closed and (item := await self._incoming.get()) is not None:
            yield item

    def close(self) -> None:
        """End the exchange for both ends; harmless twice."""
        if not self._closed:
            self._closed = True
            self._incoming.put_nowait(None)
            if self._peer is not None:
                self._peer.close()


def exchange_pair(config: ExchangeConfig | None = None) -> tuple[MemoryExchange, MemoryExchange]:
    """Return two exchanges that are connected to each other, for two peers in one process."""
    first, second = MemoryExchange(config or ExchangeConfig()), MemoryExchange(config or ExchangeConfig())
    first._peer, second._peer = second, first
    return first, second


class StreamExchange:
    """Items as JSON lines over an asyncio stream: a TCP or TLS connection, a Unix socket, a pipe.

    The stream stays its owner's: nothing here closes it. Whoever reads the lines learns the credentials, so the stream
    should be private (TLS, SSH).
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, config: ExchangeConfig | None = None
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._config = config or ExchangeConfig()

    async def send(self, item: Item) -> None:
        """Write one line; waits while the peer does not read.

        Raises:
            ExchangeError: the stream broke.
        """
        try:
            self._writer.write(encode_item(item).encode() + b"\n")
            await self._writer.drain()
        except (OSError, RuntimeError) as error:
            raise ExchangeError(f"the signalling stream broke: {error}") from error

    async def __aiter__(self) -> AsyncIterator[Item]:
        """Yield the peer's items until the stream ends.

        Raises:
            ExchangeError: the stream broke, a line is too long or no item, or there are too many.
        """
        for _ in range(self._config.max_items):
            line = await self._line()
            if not line:
                return
            item = decode_item(line)
            if item is not None:
                yield item
        raise ExchangeError(f"the peer sent more than {self._config.max_items} lines")

    async def _line(self) -> bytes:
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if error.partial.strip():
                raise ExchangeError("the signalling stream ended within a line") from None
            return b""
        except asyncio.LimitOverrunError:
            raise ExchangeError("the peer sent a line that is too long") from None
        except OSError as error:
            raise ExchangeError(f"the signalling stream broke: {error}") from error
        if len(line) > self._config.max_line:
            raise ExchangeError("the peer sent a line that is too long")
        return line
