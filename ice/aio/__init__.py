"""The asyncio shell of ICE: sessions on sockets, ``connect``, and exchanges over streams."""

from ice.aio.connect import Path, connect
from ice.aio.exchange import ExchangeConfig, MemoryExchange, StreamExchange, exchange_pair
from ice.aio.session import Session

__all__ = ["ExchangeConfig", "MemoryExchange", "Path", "Session", "StreamExchange", "connect", "exchange_pair"]
