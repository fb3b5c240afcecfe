from __future__ import annotations

import pytest

from signalling.errors import EnvelopeError
from signalling.libp2p.envelope import Envelope, EnvelopeUse
from signalling.libp2p.keys import PrivateKey
from tests.signalling.libp2p.vectors import KEY

USE = EnvelopeUse("a domain", b"\x03\x01")
SEALED = Envelope.seal(KEY, USE, b"payload").serialize()


def test_what_is_sealed_opens() -> None:
    envelope = Envelope.open(SEALED, USE)
    assert envelope.public_key == KEY.public_key
    assert envelope.payload == b"payload"
    assert envelope.payload_type == b"\x03\x01"
    assert envelope.serialize() == SEALED


@pytest.mark.parametrize("use", [EnvelopeUse("another", b"\x03\x01"), EnvelopeUse("a domain", b"\x03\x02")])
def test_an_envelope_opens_only_for_its_own_use(use: EnvelopeUse) -> None:
    with pytest.raises(EnvelopeError):
        Envelope.open(SEALED, use)


def test_no_byte_can_change() -> None:
    for index in range(len(SEALED)):
        mutated = bytearray(SEALED)
        mutated[index] ^= 0x01
        with pytest.raises(EnvelopeError):
            Envelope.open(bytes(mutated), USE)


def test_another_key_cannot_take_over_a_signature() -> None:
    other = PrivateKey.generate().public_key
    forged = Envelope(other, USE.payload_type, b"payload", Envelope.open(SEALED, USE).signature)
    with pytest.raises(EnvelopeError):
        Envelope.open(forged.serialize(), USE)


def test_the_lengths_are_part_of_what_is_signed() -> None:
    shifted = Envelope(KEY.public_key, b"\x03", b"\x01payload", Envelope.open(SEALED, USE).signature)
    with pytest.raises(EnvelopeError):
        Envelope.open(shifted.serialize(), EnvelopeUse("a domain", b"\x03"))
