"""Floor 4: aiortc's DTLS and SCTP on our ICE agent, libp2p's ``/webrtc``, and the browser gateway."""
