"""What a peer puts on the wire of an association, when a test is the peer."""

from __future__ import annotations

from struct import pack

from aiortc.rtcsctptransport import Chunk, serialize_packet

from webrtc_bridge.sctp import SctpAssociation

DCEP, BINARY = 50, 53
"""Payload protocol identifiers: of the channel establishment protocol, and of binary data (RFC 8831 section 8)."""


def open_message(label: bytes = b"", protocol: bytes = b"") -> bytes:
    """Return the opening of a reliable channel (RFC 8832 section 5.1)."""
    return pack("!BBHLHH", 3, 0, 0, 0, len(label), len(protocol)) + label + protocol


async def inject(sctp: SctpAssociation, *chunks: Chunk) -> None:
    """Hand packets to an association as if its peer had sent them."""
    for chunk in chunks:
        await sctp._handle_data(serialize_packet(5000, 5000, sctp._local_verification_tag, chunk))
