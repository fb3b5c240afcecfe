"""Fuzz targets of presence. An exception that leaves one of them is a fault."""

from __future__ import annotations

import random

from signalling.errors import DecodeError
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.presence import PresenceConfig, PresenceRegistry, decode_roster, encode_roster

CONFIG = PresenceConfig()
PEER = PeerId.from_public_key(PrivateKey.generate(random.Random(1)).public_key)


def fuzz_presence_request(data: bytes) -> None:
    """A registry survives any request, and lists a cleaned name or nobody."""
    registry = PresenceRegistry(CONFIG)
    registry.attach(1, PEER, 0.0)
    registry.receive_message(1, data, 0.0)
    registry.handle_timeout(1.0)
    assert all(entry.peer == PEER and entry.name.isprintable() for entry in registry.roster())
    assert len(encode_roster(registry.roster())) < 1024


def fuzz_presence_roster(data: bytes) -> None:
    """Any bytes are a roster or a DecodeError; what was read is written and read again the same."""
    try:
        roster = decode_roster(data, CONFIG)
    except DecodeError:
        return
    assert decode_roster(encode_roster(roster), CONFIG) == roster
