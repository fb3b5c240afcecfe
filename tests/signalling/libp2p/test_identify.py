from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from signalling.errors import DecodeError, IdentifyError
from signalling.libp2p.host_config import IdentifyConfig
from signalling.libp2p.identify import IdentifyMessage, PeerInfo, describe, learn, merge_parts
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import PeerRecord, seal_peer_record

RNG = random.Random(13)
KEY, OTHER_KEY = PrivateKey.generate(RNG), PrivateKey.generate(RNG)
PEER, OTHER = PeerId.from_public_key(KEY.public_key), PeerId.from_public_key(OTHER_KEY.public_key)
CONFIG = IdentifyConfig()
KNOWN = PeerInfo(peer=PEER)

ADDRESSES = [Multiaddr(f"/ip4/192.0.2.{number}/tcp/4001") for number in range(1, 4)]
PROTOCOLS = ["/ipfs/ping/1.0.0", "/echo/1.0.0"]


def own_parts(
    addresses: Sequence[Multiaddr] = ADDRESSES, protocols: Sequence[str] = PROTOCOLS, config: IdentifyConfig = CONFIG
) -> list[bytes]:
    return list(
        describe(
            public_key=KEY.public_key,
            addresses=addresses,
            protocols=protocols,
            observed_address=Multiaddr("/ip4/203.0.113.5/tcp/999"),
            signed_record=seal_peer_record(KEY, PeerRecord(PEER, 7, tuple(addresses[:4]))),
            config=config,
        )
    )


def record(sequence: int, *addresses: Multiaddr, key: PrivateKey = KEY) -> IdentifyMessage:
    signed = seal_peer_record(key, PeerRecord(PeerId.from_public_key(key.public_key), sequence, addresses))
    return IdentifyMessage(signed_peer_record=signed)


def test_what_one_side_describes_the_other_learns() -> None:
    parts = own_parts()
    assert len(parts) == 1
    info = learn(KNOWN, merge_parts(parts), CONFIG)
    assert info.peer == PEER
    assert info.public_key == KEY.public_key
    assert info.addresses == tuple(ADDRESSES)
    assert info.protocols == set(PROTOCOLS)
    assert info.observed_address == Multiaddr("/ip4/203.0.113.5/tcp/999")
    assert info.protocol_version == CONFIG.protocol_version
    assert info.agent_version == CONFIG.agent_version
    assert info.signed_record is not None
    assert info.signed_record.sequence == 7


def test_a_long_description_comes_in_parts_that_merge_to_the_whole() -> None:
    addresses = [Multiaddr(f"/ip4/192.0.2.1/tcp/{port}") for port in range(1, 301)]
    protocols = [f"/protocol/{number}" for number in range(400)]
    parts = own_parts(addresses, protocols, IdentifyConfig(max_own_message=1024))
    assert len(parts) > 5
    assert all(len(part) <= 1024 for part in parts)
    merged = merge_parts(parts)
    assert [Multiaddr.from_bytes(data) for data in merged.listen_addresses] == addresses
    assert sorted(merged.protocols) == sorted(protocols)
    assert merged.public_key == KEY.public_key.serialize()


def test_of_single_fields_the_last_part_that_states_them_counts() -> None:
    parts = [
        IdentifyMessage(agent_version="a", protocol_version="x", protocols=("/1",)),
        IdentifyMessage(agent_version="b", protocols=("/2",)),
        IdentifyMessage(),
    ]
    merged = merge_parts(part.serialize() for part in parts)
    assert merged == IdentifyMessage(agent_version="b", protocol_version="x", protocols=("/1", "/2"))


def test_no_part_at_all_is_an_error() -> None:
    with pytest.raises(DecodeError):
        merge_parts([])
    with pytest.raises(DecodeError):
        merge_parts([b"\xff\xff\xff"])


def test_a_push_changes_only_what_it_states() -> None:
    info = learn(KNOWN, merge_parts(own_parts()), CONFIG)
    pushed = learn(info, IdentifyMessage(protocols=("/new",)), CONFIG)
    assert pushed.protocols == {"/new"}
    assert pushed.addresses == info.addresses
    assert pushed.agent_version == info.agent_version
    assert learn(info, IdentifyMessage(), CONFIG) == info


def test_signed_addresses_win_and_only_a_newer_record_replaces_them() -> None:
    unsigned = IdentifyMessage(listen_addresses=(ADDRESSES[0].to_bytes(),))
    info = learn(KNOWN, unsigned, CONFIG)
    assert info.addresses == (ADDRESSES[0],)
    info = learn(info, record(5, ADDRESSES[1]), CONFIG)
    assert info.addresses == (ADDRESSES[1],)
    info = learn(info, unsigned, CONFIG)
    assert info.addresses == (ADDRESSES[1],)
    for stale in (5, 4):
        info = learn(info, record(stale, ADDRESSES[2]), CONFIG)
        assert info.addresses == (ADDRESSES[1],)
    info = learn(info, record(6, ADDRESSES[2].encapsulate(f"/p2p/{PEER}")), CONFIG)
    assert info.addresses == (ADDRESSES[2],)


def test_a_message_about_somebody_else_is_refused() -> None:
    with pytest.raises(IdentifyError):
        learn(KNOWN, IdentifyMessage(public_key=OTHER_KEY.public_key.serialize()), CONFIG)
    with pytest.raises(IdentifyError):
        learn(KNOWN, record(1, ADDRESSES[0], key=OTHER_KEY), CONFIG)
    with pytest.raises(IdentifyError):
        learn(KNOWN, IdentifyMessage(public_key=b"nonsense"), CONFIG)
    with pytest.raises(IdentifyError):
        learn(KNOWN, IdentifyMessage(signed_peer_record=b"nonsense"), CONFIG)


def test_one_strange_address_spoils_no_other() -> None:
    strange = IdentifyMessage(listen_addresses=(b"\xff\x01", ADDRESSES[0].to_bytes()), observed_address=b"\xff")
    info = learn(KNOWN, strange, CONFIG)
    assert info.addresses == (ADDRESSES[0],)
    assert info.observed_address is None


def test_what_a_peer_says_has_limits() -> None:
    config = IdentifyConfig(max_protocols=10, max_addresses=20)
    many = tuple(Multiaddr(f"/ip4/192.0.2.1/tcp/{port}").to_bytes() for port in range(1, 100))
    message = IdentifyMessage(
        protocols=tuple(f"/{number}" for number in range(100)),
        listen_addresses=many,
        agent_version="x" * 10_000,
        protocol_version="y" * 10_000,
    )
    info = learn(KNOWN, message, config)
    assert len(info.protocols) == 10
    assert len(info.addresses) == 20
    assert len(info.agent_version) == len(info.protocol_version) == 256
    signed = record(1, *(Multiaddr.from_bytes(data) for data in many))
    assert len(learn(info, signed, config).addresses) == 20
