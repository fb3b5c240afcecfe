"""The asyncio shell of ICE: sessions on sockets of their own or shared ones, ``connect``, exchanges over streams.

Names are looked up when they are first used: a session by itself needs neither a mux nor a group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stun.late import late_names

if TYPE_CHECKING:
    from ice.aio.exchange import ExchangeConfig, MemoryExchange, StreamExchange, exchange_pair
    from ice.aio.group import SessionGroup
    from ice.aio.mux import Mux
    from ice.aio.path import Path, connect
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

__getattr__, __dir__ = late_names(
    __name__,
    {
        "ExchangeConfig": ".exchange",
        "MemoryExchange": ".exchange",
        "Mux": ".mux",
        "Path": ".path",
        "Session": ".session",
        "SessionGroup": ".group",
        "StreamExchange": ".exchange",
        "connect": ".path",
        "exchange_pair": ".exchange",
    },
)
