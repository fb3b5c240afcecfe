"""Every message that can be made is read again the same, and no damage makes a reader raise what it must not."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun import attributes as att
from stun.attributes import BY_CODE
from stun.errors import StunParseError
from stun.integrity import Integrity
from stun.message import Message, parse
from tests.properties.strategies_stun import VALUES, keys, messages
from tests.properties.targets_stun import (
    fuzz_stun_authentication,
    fuzz_stun_binding_client,
    fuzz_stun_binding_server,
    fuzz_stun_challenge,
)
from tests.properties.targets_stun import fuzz_stun_message as check_bytes
from tests.stun import vectors

INTEGRITIES = st.none() | st.sampled_from(Integrity)


def test_every_attribute_has_a_strategy() -> None:
    made_by_the_message = {att.MESSAGE_INTEGRITY, att.MESSAGE_INTEGRITY_SHA256, att.FINGERPRINT}
    assert set(VALUES) | made_by_the_message == set(BY_CODE.values())


@given(messages(), keys, INTEGRITIES, st.booleans())
def test_round_trip(message: Message, key: bytes, integrity: Integrity | None, fingerprint: bool) -> None:
    if integrity is None:
        data = message.serialize(fingerprint=fingerprint)
    else:
        data = message.serialize(key, fingerprint, integrity)
    back = parse(data)
    assert back == message
    assert back.integrity is integrity
    assert back.has_fingerprint is fingerprint
    assert len(data) % 4 == 0
    assert len(data) == 20 + int.from_bytes(data[2:4], "big")
    if integrity is not None:
        assert back.verify_integrity(key, integrity)
        assert not back.verify_integrity(key + b"x" if len(key) > 64 else key.ljust(64, b"\0") + b"x", integrity)


@given(messages(), keys)
def test_the_signature_is_the_standard_librarys(message: Message, key: bytes) -> None:
    data = message.serialize(key)
    covered = data[:-24]
    assert data[-20:] == hmac.digest(key, covered, "sha1")


@given(messages(), keys, st.data())
def test_no_signed_byte_can_be_changed(message: Message, key: bytes, data: st.DataObject) -> None:
    wire = bytearray(message.serialize(key, integrity=Integrity.SHA256))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        changed = parse(bytes(wire))
    except StunParseError:
        return
    assert not changed.verify_integrity(key, Integrity.SHA256)


@given(messages(), st.data())
def test_no_byte_under_a_fingerprint_can_be_changed(message: Message, data: st.DataObject) -> None:
    wire = bytearray(message.serialize(fingerprint=True))
    # Elsewhere in the last eight bytes a change may turn FINGERPRINT into an attribute that nobody knows.
    wire[data.draw(st.integers(0, len(wire) - 9))] ^= data.draw(st.integers(1, 255))
    try:
        changed = parse(bytes(wire))
    except StunParseError:
        return
    assert not changed.has_fingerprint


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    seed = draw(
        st.sampled_from([vectors.REQUEST, vectors.IPV4_RESPONSE, vectors.LONG_TERM_REQUEST])
        | st.builds(Message.serialize, messages())
    )
    wire = bytearray(seed)
    for _ in range(draw(st.integers(1, 4))):
        change = draw(st.sampled_from(["flip", "cut", "insert", "swap lengths", "fix length"]))
        at = draw(st.integers(0, max(0, len(wire) - 1)))
        if change == "flip" and wire:
            wire[at] ^= draw(st.integers(1, 255))
        elif change == "cut":
            del wire[at : at + draw(st.integers(1, 8))]
        elif change == "insert":
            wire[at:at] = draw(st.binary(min_size=1, max_size=8))
        elif change == "swap lengths" and len(wire) > at + 4:
            wire[at : at + 2], wire[at + 2 : at + 4] = wire[at + 2 : at + 4], wire[at : at + 2]
        elif len(wire) >= 20:
            wire[2:4] = (len(wire) - 20 & 0xFFFF).to_bytes(2, "big")
    return bytes(wire)


@given(mutated() | st.binary(max_size=200))
def test_damage_is_a_parse_error_or_a_message(data: bytes) -> None:
    check_bytes(data)


@pytest.mark.parametrize("check", [fuzz_stun_binding_server, fuzz_stun_binding_client, fuzz_stun_authentication])
def test_no_datagram_makes_a_machine_raise(check) -> None:  # type: ignore[no-untyped-def]
    given(mutated() | st.binary(max_size=200))(check)()


REALMS = st.sampled_from([b"realm", b"r" * 127, b"r" * 128, b"\xff"]) | st.text(max_size=300).map(str.encode)
NONCES = st.sampled_from([b"obMatJos2wAAA", b"obMatJos2gAAA", b"plain"]) | st.binary(max_size=800)
OFFERS = st.sampled_from([b"\0\2\0\0", b"\0\1\0\0\0\2\0\0", b"\0\x09\0\0" * 100]) | st.binary(max_size=20)


@given(st.booleans(), REALMS, NONCES, st.none() | OFFERS, st.binary(max_size=20))
def test_no_challenge_makes_a_client_raise(
    is_401: bool, realm: bytes, nonce: bytes, offer: bytes | None, rest: bytes
) -> None:
    body = b"".join(
        code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)
        for code, value in ((0x0014, realm), (0x0015, nonce), (0x8002, offer))
        if value is not None
    )
    fuzz_stun_challenge(bytes([is_401]) + body + rest)
