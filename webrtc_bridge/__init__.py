"""Floor 4: aiortc's DTLS and SCTP on our ICE agent, libp2p's ``/webrtc``, and the browser gateway.

Names are looked up when they are first used: aiortc is slow to import, and the gateway does without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stun.late import late_names
from webrtc_bridge.errors import BridgeError, FramingError, NegotiationFailed, PeerClosed, PeerFailed, SdpError

if TYPE_CHECKING:
    from webrtc_bridge.compat import RTCPeerConnection
    from webrtc_bridge.config import PeerConfig, RestartConfig, SctpConfig, StreamConfig, WebRtcConfig
    from webrtc_bridge.datachannel_streams import DataChannelMuxer, DataChannelStream
    from webrtc_bridge.gateway import Gateway, GatewayConfig
    from webrtc_bridge.peer import DataPeer
    from webrtc_bridge.sdp import SdpType
    from webrtc_bridge.states import ConnectionState, SignalingState
    from webrtc_bridge.transport import WebRtcTransport

__all__ = [
    "BridgeError",
    "ConnectionState",
    "DataChannelMuxer",
    "DataChannelStream",
    "DataPeer",
    "FramingError",
    "Gateway",
    "GatewayConfig",
    "NegotiationFailed",
    "PeerClosed",
    "PeerConfig",
    "PeerFailed",
    "RTCPeerConnection",
    "RestartConfig",
    "SctpConfig",
    "SdpError",
    "SdpType",
    "SignalingState",
    "StreamConfig",
    "WebRtcConfig",
    "WebRtcTransport",
]

__getattr__, __dir__ = late_names(
    __name__,
    {
        "ConnectionState": ".states",
        "DataChannelMuxer": ".datachannel_streams",
        "DataChannelStream": ".datachannel_streams",
        "DataPeer": ".peer",
        "Gateway": ".gateway",
        "GatewayConfig": ".gateway",
        "PeerConfig": ".config",
        "RTCPeerConnection": ".compat",
        "RestartConfig": ".config",
        "SctpConfig": ".config",
        "SdpType": ".sdp",
        "SignalingState": ".states",
        "StreamConfig": ".config",
        "WebRtcConfig": ".config",
        "WebRtcTransport": ".transport",
    },
)
