"""Floor 1: TURN (RFC 8656, 6062, 8016).

The names of the asyncio shell are looked up when they are first used, so that the cores alone load no asyncio.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from turn.client import TurnClient
from turn.config import (
    AccessToken,
    ChannelPolicy,
    Credentials,
    EvenPort,
    RelayTransport,
    TurnClientConfig,
    TurnServerConfig,
)
from turn.errors import TurnError

if TYPE_CHECKING:
    from turn.aio import PeerStream, TurnAllocation, allocate

__all__ = [
    "AccessToken",
    "ChannelPolicy",
    "Credentials",
    "EvenPort",
    "PeerStream",
    "RelayTransport",
    "TurnAllocation",
    "TurnClient",
    "TurnClientConfig",
    "TurnError",
    "TurnServerConfig",
    "allocate",
]

_ASYNCIO_SHELL = frozenset({"PeerStream", "TurnAllocation", "allocate"})


def __getattr__(name: str) -> object:
    if name in _ASYNCIO_SHELL:
        return getattr(import_module("turn.aio"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
