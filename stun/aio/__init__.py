"""The asyncio side of this floor: real sockets, the driver that runs machines on them, a server and a client."""

from __future__ import annotations

from stun.aio.behaviour import examine_nat, examine_tcp_mapping
from stun.aio.client import ask, ask_any
from stun.aio.driver import DataReceiver, Driver
from stun.aio.dtls_listener import serve_dtls
from stun.aio.link import LinkOptions, ServerLink, open_link
from stun.aio.resolve import locate
from stun.aio.server import BehaviourServing, SecureServing, StunServer, serve
from stun.aio.stream_driver import StreamDriver
from stun.aio.tcp import TcpConnection, TcpListener
from stun.aio.tls import serve_tls
from stun.aio.udp import UdpNetwork, UdpSocket

__all__ = [
    "BehaviourServing",
    "DataReceiver",
    "Driver",
    "LinkOptions",
    "SecureServing",
    "ServerLink",
    "StreamDriver",
    "StunServer",
    "TcpConnection",
    "TcpListener",
    "UdpNetwork",
    "UdpSocket",
    "ask",
    "ask_any",
    "examine_nat",
    "examine_tcp_mapping",
    "locate",
    "open_link",
    "serve",
    "serve_dtls",
    "serve_tls",
]
