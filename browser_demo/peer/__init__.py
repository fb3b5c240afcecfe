"""The native peer of the demo: chat, files and echo over libp2p streams, behind a relay, on `/webrtc`."""
