"""Floor 2: ICE (RFC 8445, 8838, 8839, 7675).

The names of the asyncio shell are looked up when they are first used, so that the cores alone load no asyncio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ice.candidate import Candidate, CandidateType, TcpType
from ice.config import IceConfig, IceTransportPolicy
from ice.description import Description, EndOfCandidates
from ice.errors import FailureReason, IceError
from ice.events import CandidateErrorFound, State
from ice.exchange import Exchange, ExchangeError
from ice.exposure import ExposureMode, PortRange
from ice.life_config import FailoverConfig, UpgradeConfig
from ice.lite_config import LiteConfig
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.mux_config import MuxConfig
from ice.pair import CandidatePair, PairState
from ice.portmap.config import PortmapConfig
from ice.roles import Role
from ice.tcp_config import TcpConfig
from stun.late import late_names

if TYPE_CHECKING:
    from ice.aio import Mux, Path, Session, SessionGroup, StreamExchange, connect, exchange_pair

__all__ = [
    "Candidate",
    "CandidateErrorFound",
    "CandidatePair",
    "CandidateType",
    "Description",
    "EndOfCandidates",
    "Exchange",
    "ExchangeError",
    "ExposureMode",
    "FailoverConfig",
    "FailureReason",
    "IceConfig",
    "IceError",
    "IceTransportPolicy",
    "LiteConfig",
    "MdnsConfig",
    "MdnsMode",
    "Mux",
    "MuxConfig",
    "PairState",
    "Path",
    "PortRange",
    "PortmapConfig",
    "Role",
    "Session",
    "SessionGroup",
    "State",
    "StreamExchange",
    "TcpConfig",
    "TcpType",
    "UpgradeConfig",
    "connect",
    "exchange_pair",
]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "Mux": ".aio",
        "Path": ".aio",
        "Session": ".aio",
        "SessionGroup": ".aio",
        "StreamExchange": ".aio",
        "connect": ".aio",
        "exchange_pair": ".aio",
    },
)
