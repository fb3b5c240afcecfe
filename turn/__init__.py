"""Floor 1: TURN (RFC 8656, 6062, 8016).

The client and the asyncio shell are looked up when they are first used: whoever has only settings to make needs
neither, and the cores alone load no asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stun.late import late_names
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
    from turn.client import TurnClient

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

__getattr__, __dir__ = late_names(
    __name__, {"PeerStream": ".aio", "TurnAllocation": ".aio", "TurnClient": ".client", "allocate": ".aio"}
)
