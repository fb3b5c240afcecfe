from __future__ import annotations

import pytest

from signalling.errors import EnvelopeError
from signalling.libp2p.envelope import Envelope
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import (
    PEER_RECORD,
    RELAY_VOUCHER,
    PeerRecord,
    RelayVoucher,
    open_peer_record,
    open_voucher,
    seal_peer_record,
    seal_voucher,
)
from tests.signalling.libp2p.vectors import KEY, PEER

OTHER = PrivateKey.generate()
OTHER_PEER = PeerId.from_public_key(OTHER.public_key)
SIGNATURE = (
    "4839ec34b63898e50d3c3d3a4a643a8835837b5fd561139f06fbcbd98eb51341"
    "ad31e54f2fa4731917ff5a803fabdfcc4e47e13284aa5b3d345cb244eca7df00"
)


def test_the_voucher_of_the_specification() -> None:
    sealed = seal_voucher(KEY, RelayVoucher(PEER, PEER, 1_700_000_000))
    payload = "0a26" + PEER.to_bytes().hex() + "1226" + PEER.to_bytes().hex() + "1880e2cfaa06"
    assert sealed.hex() == (
        "0a24" + KEY.public_key.serialize().hex() + "12020302" + "1a56" + payload + "2a40" + SIGNATURE
    )
    assert len(sealed) == 196
    assert open_voucher(sealed) == RelayVoucher(PEER, PEER, 1_700_000_000)


def test_a_record_survives_its_envelope() -> None:
    record = PeerRecord(PEER, 2**63, (Multiaddr("/ip4/1.2.3.4/tcp/1"), Multiaddr("/ip6/::1/udp/2/quic-v1")))
    assert open_peer_record(seal_peer_record(KEY, record)) == record


def test_addresses_of_unknown_protocols_are_left_out() -> None:
    inner = b"\x0a\x26" + PEER.to_bytes() + b"\x10\x01" + b"\x1a\x04\x0a\x02\x7f\x00" + b"\x1a\x05\x0a\x03\x06\x00\x01"
    record = open_peer_record(Envelope.seal(KEY, PEER_RECORD, inner).serialize())
    assert record.addresses == (Multiaddr("/tcp/1"),)


def test_nobody_signs_for_somebody_else() -> None:
    with pytest.raises(ValueError):
        seal_peer_record(OTHER, PeerRecord(PEER, 1, ()))
    with pytest.raises(ValueError):
        seal_voucher(OTHER, RelayVoucher(PEER, OTHER_PEER, 1))


def test_what_somebody_else_signed_is_refused() -> None:
    record = Envelope.open(seal_peer_record(KEY, PeerRecord(PEER, 1, ())), PEER_RECORD).payload
    with pytest.raises(EnvelopeError, match="another peer"):
        open_peer_record(Envelope.seal(OTHER, PEER_RECORD, record).serialize())
    voucher = Envelope.open(seal_voucher(KEY, RelayVoucher(PEER, OTHER_PEER, 1)), RELAY_VOUCHER).payload
    with pytest.raises(EnvelopeError, match="another peer"):
        open_voucher(Envelope.seal(OTHER, RELAY_VOUCHER, voucher).serialize())


def test_a_record_is_no_voucher() -> None:
    with pytest.raises(EnvelopeError):
        open_voucher(seal_peer_record(KEY, PeerRecord(PEER, 1, ())))


@pytest.mark.parametrize("payload", [b"", b"\x0a\x00\x10\x01", b"\x0a\x26" + PEER.to_bytes(), b"\xff"])
def test_a_signed_payload_that_is_no_record_is_refused(payload: bytes) -> None:
    with pytest.raises(EnvelopeError):
        open_peer_record(Envelope.seal(KEY, PEER_RECORD, payload).serialize())
    with pytest.raises(EnvelopeError):
        open_voucher(Envelope.seal(KEY, RELAY_VOUCHER, payload).serialize())
