"""The asyncio shell of ICE: sessions on sockets, ``connect``, and exchanges over streams."""

from ice.aio.connect import Path, connect
from ice.aio.exchange import MemoryExchange, StreamExchange, exchange_pair
from ice.aio.session import Session

__all__ = ["MemoryExchange", "Path", "Session", "StreamExchange", "connect", "exchange_pair"]
