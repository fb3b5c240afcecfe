"""Floor 0: STUN (RFC 8489), its codec, transactions, Binding client and server."""

from __future__ import annotations

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.config import BindingClientConfig, BindingServerConfig, StreamConfig, TransactionConfig, UdpConfig
from stun.errors import StunError, StunParseError
from stun.integrity import Integrity
from stun.message import Message, MessageClass, Method, parse
from stun.uri import ServerUri

__all__ = [
    "BindingClientConfig",
    "BindingServerConfig",
    "FiveTuple",
    "Integrity",
    "Message",
    "MessageClass",
    "Method",
    "ServerUri",
    "StreamConfig",
    "StunError",
    "StunParseError",
    "TransactionConfig",
    "TransportAddress",
    "TransportProtocol",
    "UdpConfig",
    "parse",
]
