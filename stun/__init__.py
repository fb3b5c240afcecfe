"""Floor 0: STUN (RFC 8489), its codec, transactions, Binding client and server.

Names are looked up when they are first used: packages of every floor import :mod:`stun.late` to do the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stun.late import late_names

if TYPE_CHECKING:
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

__getattr__, __dir__ = late_names(
    __name__,
    {
        "BindingClientConfig": ".config",
        "BindingServerConfig": ".config",
        "FiveTuple": ".address",
        "Integrity": ".integrity",
        "Message": ".message",
        "MessageClass": ".message",
        "Method": ".message",
        "ServerUri": ".uri",
        "StreamConfig": ".config",
        "StunError": ".errors",
        "StunParseError": ".errors",
        "TransactionConfig": ".config",
        "TransportAddress": ".address",
        "TransportProtocol": ".address",
        "UdpConfig": ".config",
        "parse": ".message",
    },
)
