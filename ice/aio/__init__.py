"""The asyncio shell of ICE: sessions on sockets of their own or shared ones, ``connect``, exchanges over streams."""

from ice.aio.connect import Path, connect
from ice.aio.exchange import ExchangeConfig, MemoryExchange, StreamExchange, exchange_pair
from ice.aio.group import SessionGroup
from ice.aio.mux import Mux
from ice.aio.session import Session

__all__ = [
    "ExchangeConfig",
    "MemoryExchange",
    "Mux",
    "Path",
    "Session",
    "SessionGroup",
    "StreamExchange",
    "connect",
    "exchange_pair",
]
