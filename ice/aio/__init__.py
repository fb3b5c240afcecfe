"""The asyncio shell of ICE: sessions on sockets of their own or shared ones, ``connect``, exchanges over streams.

Names are looked up when they are first used: a session by itself needs neither a mux nor a group.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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

_HOMES = {
    "ExchangeConfig": "exchange",
    "MemoryExchange": "exchange",
    "Mux": "mux",
    "Path": "path",
    "Session": "session",
    "SessionGroup": "group",
    "StreamExchange": "exchange",
    "connect": "path",
    "exchange_pair": "exchange",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
