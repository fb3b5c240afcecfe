"""The front door: what most programs need, looked up when first used, and the ``lastresort`` command.

import lastresort
async with lastresort.connect(exchange, role=lastresort.Role.CONTROLLING) as path: ...
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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

_ROOMS = {
    "ice": ("Candidate", "Description", "EndOfCandidates", "IceConfig", "IceError", "Role", "Session", "connect"),
    "signalling.libp2p.aio.host": ("Host",),
    "signalling.libp2p.aio.relay_service": ("RelayService",),
    "signalling.libp2p.keys": ("PrivateKey",),
    "signalling.libp2p.multiaddr": ("Multiaddr",),
    "signalling.libp2p.peer_id": ("PeerId",),
    "webrtc_bridge": ("Gateway", "RTCPeerConnection", "WebRtcTransport"),
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> object:
    room = _WHERE.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(room), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
