"""The gateway: every browser tab is a libp2p peer by proxy, so that pages meet peers through a relay.

A page has one WebSocket to the gateway. Behind it the gateway keeps a guest host
(:class:`~signalling.libp2p.aio.host.Host`) with a reservation at the relay and a place on its roster; the page's
offers, answers and candidates travel over relayed ``/webrtc-signaling/0.0.1`` streams between that guest and the peer.
The connection itself is the page's own: nothing of it passes the gateway.
"""

from __future__ import annotations

from webrtc_bridge.gateway.config import GatewayConfig
from webrtc_bridge.gateway.messages import MessageError
from webrtc_bridge.gateway.server import Gateway, serve

__all__ = ["Gateway", "GatewayConfig", "MessageError", "serve"]
