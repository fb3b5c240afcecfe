"""The asyncio side of this floor: real sockets, the driver that runs machines on them, a server and a client.

Names are looked up when they are first used: few programs serve, use DTLS or look at their NAT.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stun.late import late_names

if TYPE_CHECKING:
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

__getattr__, __dir__ = late_names(
    __name__,
    {
        "BehaviourServing": ".server",
        "DataReceiver": ".driver",
        "Driver": ".driver",
        "LinkOptions": ".link",
        "SecureServing": ".server",
        "ServerLink": ".link",
        "StreamDriver": ".stream_driver",
        "StunServer": ".server",
        "TcpConnection": ".tcp",
        "TcpListener": ".tcp",
        "UdpNetwork": ".udp",
        "UdpSocket": ".udp",
        "ask": ".client",
        "ask_any": ".client",
        "examine_nat": ".behaviour",
        "examine_tcp_mapping": ".behaviour",
        "locate": ".resolve",
        "open_link": ".link",
        "serve": ".server",
        "serve_dtls": ".dtls_listener",
        "serve_tls": ".tls",
    },
)
