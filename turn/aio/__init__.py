"""The asyncio side of TURN."""

from __future__ import annotations

from turn.aio.allocation import TurnAllocation
from turn.aio.client import Allocating, allocate
from turn.aio.peer_stream import PeerStream

__all__ = ["Allocating", "PeerStream", "TurnAllocation", "allocate"]
