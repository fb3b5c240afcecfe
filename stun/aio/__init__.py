"""The asyncio side of this floor: real sockets and the driver that runs machines on them."""

from __future__ import annotations

from stun.aio.driver import DataReceiver, Driver, StreamDriver
from stun.aio.tcp import TcpConnection, TcpListener
from stun.aio.udp import UdpNetwork, UdpSocket

__all__ = ["DataReceiver", "Driver", "StreamDriver", "TcpConnection", "TcpListener", "UdpNetwork", "UdpSocket"]
