from __future__ import annotations

import hashlib

import pytest

from signalling.errors import PeerIdError
from signalling.libp2p.keys import KeyType, PublicKey
from signalling.libp2p.peer_id import PeerId
from tests.signalling.libp2p.vectors import BASE58, CID, KEY, PEER, PUBLIC_KEY

RSA_ID = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"


def test_a_short_key_is_its_own_id() -> None:
    assert PEER.to_bytes() == b"\x00\x24" + PUBLIC_KEY
    assert str(PEER) == PEER.to_base58() == BASE58
    assert PEER.to_cid() == CID
    assert PEER.public_key() == KEY.public_key
    assert PEER.matches(KEY.public_key)


def test_a_key_of_43_bytes_is_hashed() -> None:
    inline, hashed = (PublicKey(KeyType.RSA, bytes(size)) for size in (38, 39))
    assert PeerId.from_public_key(inline).to_bytes() == b"\x00\x2a" + inline.serialize()
    assert PeerId.from_public_key(hashed).to_bytes() == b"\x12\x20" + hashlib.sha256(hashed.serialize()).digest()


@pytest.mark.parametrize("text", [BASE58, CID, CID.upper(), "f0172" + "0024" + PUBLIC_KEY.hex()])
def test_both_text_forms_are_read(text: str) -> None:
    assert PeerId.parse(text) == PEER


def test_a_hashed_id_is_read_and_holds_no_key() -> None:
    peer = PeerId.parse(RSA_ID)
    assert str(peer) == RSA_ID
    assert PeerId.parse(peer.to_cid()) == peer
    assert peer.public_key() is None


def test_ids_are_values() -> None:
    assert len({PEER, PeerId.parse(CID), PeerId.from_bytes(PEER.to_bytes())}) == 1
    assert sorted([PEER, PeerId.parse(RSA_ID)])[0] == PEER


@pytest.mark.parametrize(
    "data", [b"", b"\x00", b"\x00\x05abc", b"\x12\x20" + bytes(31), b"\x11\x14" + bytes(20), b"\x00\x2b" + bytes(43)]
)
def test_other_multihashes_are_refused(data: bytes) -> None:
    with pytest.raises(PeerIdError):
        PeerId.from_bytes(data)


@pytest.mark.parametrize(
    "text", ["", "1", "Qm", "12D3KooW", "hello", BASE58 + "0", CID[:-2], "b" + "a" * 1000, "f0155" + "0000"]
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(PeerIdError):
        PeerId.parse(text)


def test_an_identity_hash_of_garbage_is_an_id_without_a_key() -> None:
    assert PeerId.from_bytes(b"\x00\x03abc").public_key() is None
