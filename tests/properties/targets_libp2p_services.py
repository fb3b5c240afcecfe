"""Fuzz targets of the host's protocols: identify, circuit relay and WebRTC signalling take any bytes."""

from __future__ import annotations

import contextlib
import random

from signalling.errors import SignallingError
from signalling.libp2p.circuit import accepted_limit, read_grant, stop_source
from signalling.libp2p.circuit_messages import Status
from signalling.libp2p.host_config import CircuitConfig, IdentifyConfig, SignallingConfig
from signalling.libp2p.identify import PeerInfo, learn, merge_parts
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.webrtc_signalling import IceCandidate, SignallingRole, SignallingSession

RNG = random.Random(17)
KEYS = [PrivateKey.generate(RNG) for _ in range(5)]
PEERS = [PeerId.from_public_key(key.public_key) for key in KEYS]
ADDRESS = Multiaddr(f"/ip4/192.0.2.1/tcp/4001/p2p/{PEERS[0]}")


def fuzz_libp2p_circuit(data: bytes) -> None:
    status, source, limit = stop_source(data)
    assert (status is Status.OK) == (source is not None)
    assert limit is None or status is Status.OK
    with contextlib.suppress(SignallingError):
        accepted_limit(data)
    with contextlib.suppress(SignallingError):
        grant = read_grant(
            data, relay=PEERS[0], client=PEERS[1], dialled=ADDRESS, unix_now=1000.0, config=CircuitConfig()
        )
        assert grant.expires_in > 0
        assert grant.addresses


def fuzz_libp2p_identify(data: bytes) -> None:
    config = IdentifyConfig(max_addresses=3, max_protocols=3)
    with contextlib.suppress(SignallingError):
        info = learn(PeerInfo(peer=PEERS[0]), merge_parts([data, data]), config)
        assert info.peer == PEERS[0]
        assert len(info.addresses) <= 3
        assert len(info.protocols) <= 3
        assert info.public_key is None or PEERS[0].matches(info.public_key)
        assert info.signed_record is None or info.signed_record.peer == PEERS[0]


def hear(role: SignallingRole, messages: list[bytes]) -> None:
    """Feed messages to one side of a signalling conversation."""
    config = SignallingConfig(max_candidates=5, max_early_candidates=3, max_ignored=10)
    session = SignallingSession(role, config)
    items = []
    for message in messages:
        session.receive_message(message)
        while (item := session.next_event()) is not None:
            items.append(item)
    session.receive_eof()
    assert session.ended
    assert sum(isinstance(item, IceCandidate) for item in items) <= 5
    assert session.next_effect() is None


def fuzz_libp2p_signalling(data: bytes) -> None:
    for role in SignallingRole:
        hear(role, [data] * 4)
        hear(role, data.split(b"\n"))
