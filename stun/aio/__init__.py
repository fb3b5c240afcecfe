"""The asyncio side of this floor: real sockets, the driver that runs machines on them, a server and a client."""

from __future__ import annotations

from stun.aio.client import ask, ask_any
from stun.aio.driver import DataReceiver, Driver, StreamDriver
from stun.aio.resolve import locate
from stun.aio.server import StunServer, serve
from stun.aio.tcp import TcpConnection, TcpListener
from stun.aio.udp import UdpNetwork, UdpSocket

__all__ = [
    "DataReceiver",
    "Driver",
    "StreamDriver",
    "StunServer",
    "TcpConnection",
    "TcpListener",
    "UdpNetwork",
    "UdpSocket",
    "ask",
    "ask_any",
    "locate",
    "serve",
]
