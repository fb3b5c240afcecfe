"""The front door: what most programs need, looked up when first used, and the ``lastresort`` command.

import lastresort
async with lastresort.connect(exchange, role=lastresort.Role.CONTROLLING) as path: ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stun.late import late_names

if TYPE_CHECKING:
    from ice import Candidate, Description, EndOfCandidates, IceConfig, IceError, Role, Session, connect
    from signalling.libp2p.aio.host import Host
    from signalling.libp2p.aio.relay_service import RelayService
    from signalling.libp2p.keys import PrivateKey
    from signalling.libp2p.multiaddr import Multiaddr
    from signalling.libp2p.peer_id import PeerId
    from webrtc_bridge import Gateway, RTCPeerConnection, WebRtcTransport

__all__ = [
    "Candidate",
    "Description",
    "EndOfCandidates",
    "Gateway",
    "Host",
    "IceConfig",
    "IceError",
    "Multiaddr",
    "PeerId",
    "PrivateKey",
    "RTCPeerConnection",
    "RelayService",
    "Role",
    "Session",
    "WebRtcTransport",
    "connect",
]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "Candidate": "ice",
        "Description": "ice",
        "EndOfCandidates": "ice",
        "Gateway": "webrtc_bridge",
        "Host": "signalling.libp2p.aio.host",
        "IceConfig": "ice",
        "IceError": "ice",
        "Multiaddr": "signalling.libp2p.multiaddr",
        "PeerId": "signalling.libp2p.peer_id",
        "PrivateKey": "signalling.libp2p.keys",
        "RTCPeerConnection": "webrtc_bridge",
        "RelayService": "signalling.libp2p.aio.relay_service",
        "Role": "ice",
        "Session": "ice",
        "WebRtcTransport": "webrtc_bridge",
        "connect": "ice",
    },
)
