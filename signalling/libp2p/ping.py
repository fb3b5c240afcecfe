"""Ping: 32 bytes there and back (libp2p ping specification)."""

from __future__ import annotations

__all__ = ["PING_PROTOCOL", "PING_SIZE"]

PING_PROTOCOL = "/ipfs/ping/1.0.0"

PING_SIZE = 32
"""Bytes of one payload; the other side sends back the same, as often as they come on one stream."""
