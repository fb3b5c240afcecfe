from __future__ import annotations

import random

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from signalling.errors import KeyDecodeError
from signalling.libp2p.keys import KeyType, PrivateKey, PublicKey
from signalling.libp2p.peer_id import PeerId
from tests.signalling.libp2p.vectors import KEY, PUBLIC_KEY, SEED

PKIX = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
COMPRESSED = (serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)


def test_the_specification_s_key() -> None:
    assert KEY.public_key.serialize() == PUBLIC_KEY
    assert PublicKey.parse(PUBLIC_KEY) == KEY.public_key
    assert KEY.serialize().hex() == "08011240" + SEED.hex() + KEY.public_key.data.hex()
    assert PrivateKey.parse(KEY.serialize()).public_key == KEY.public_key


def test_the_old_private_form_needs_two_equal_copies_of_the_public_key() -> None:
    public = KEY.public_key.data
    assert PrivateKey.parse(b"\x08\x01\x12\x60" + SEED + public + public).public_key == KEY.public_key
    with pytest.raises(KeyDecodeError):
        PrivateKey.parse(b"\x08\x01\x12\x60" + SEED + public + bytes(32))


@pytest.mark.parametrize("material", [SEED, SEED + bytes(32), b""])
def test_a_private_key_without_its_own_public_key_is_refused(material: bytes) -> None:
    with pytest.raises(KeyDecodeError):
        PrivateKey.parse(b"\x08\x01\x12" + bytes((len(material),)) + material)


def test_generation_is_random_and_a_generator_makes_it_repeatable() -> None:
    assert PrivateKey.generate().serialize() != PrivateKey.generate().serialize()
    assert PrivateKey.generate(random.Random(1)).serialize() == PrivateKey.generate(random.Random(1)).serialize()


def test_a_signature_is_bound_to_key_and_data() -> None:
    signature = KEY.sign(b"data")
    assert KEY.public_key.verify(signature, b"data")
    assert not KEY.public_key.verify(signature, b"other")
    assert not KEY.public_key.verify(b"", b"data")
    assert not PrivateKey.generate().public_key.verify(signature, b"data")


def test_no_secret_in_the_repr() -> None:
    assert SEED.hex() not in repr(KEY)


def test_rsa_peers_are_verified() -> None:
    private = rsa.generate_private_key(65537, 2048)
    key = PublicKey.parse(PublicKey(KeyType.RSA, private.public_key().public_bytes(*PKIX)).serialize())
    signature = private.sign(b"data", padding.PKCS1v15(), hashes.SHA256())
    assert key.verify(signature, b"data")
    assert not key.verify(signature[:-1] + b"\0", b"data")
    assert str(PeerId.from_public_key(key)).startswith("Qm")
    assert PeerId.from_public_key(key).public_key() is None


@pytest.mark.parametrize(
    ("key_type", "curve", "form", "prefix"),
    [(KeyType.SECP256K1, ec.SECP256K1(), COMPRESSED, "16Uiu2"), (KeyType.ECDSA, ec.SECP256R1(), PKIX, "Qm")],
)
def test_elliptic_curve_peers_are_verified(
    key_type: KeyType,
    curve: ec.EllipticCurve,
    form: tuple[serialization.Encoding, serialization.PublicFormat],
    prefix: str,
) -> None:
    private = ec.generate_private_key(curve)
    key = PublicKey.parse(PublicKey(key_type, private.public_key().public_bytes(*form)).serialize())
    signature = private.sign(b"data", ec.ECDSA(hashes.SHA256()))
    assert key.verify(signature, b"data")
    assert not key.verify(signature, b"other")
    assert not key.verify(b"not der", b"data")
    assert str(PeerId.from_public_key(key)).startswith(prefix)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x08\x01",
        b"\x12\x00",
        PUBLIC_KEY[:-1],
        PUBLIC_KEY + b"\x18\x01",  # an unknown field
        b"\x08\x81\x00" + PUBLIC_KEY[2:],  # a type in more bytes than needed
        PUBLIC_KEY[2:] + PUBLIC_KEY[:2],  # fields out of order
        b"\x08\x09" + PUBLIC_KEY[2:],  # an unknown type
        b"\x08\x00" + PUBLIC_KEY[2:],  # not DER
        b"\x08\x02" + PUBLIC_KEY[2:],  # not a point
        b"\x08\x01\x12\x1f" + bytes(31),
    ],
)
def test_what_is_not_a_deterministic_public_key_is_refused(data: bytes) -> None:
    with pytest.raises(KeyDecodeError):
        PublicKey.parse(data)


def test_a_der_key_of_another_kind_than_announced_is_refused() -> None:
    der = ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(*PKIX)
    with pytest.raises(KeyDecodeError):
        PublicKey.parse(PublicKey(KeyType.RSA, der).serialize())


def test_a_forgeable_rsa_key_is_refused() -> None:
    short = rsa.RSAPublicNumbers(65537, (1 << 1023) | 1).public_key().public_bytes(*PKIX)
    with pytest.raises(KeyDecodeError, match="1024 bits"):
        PublicKey.parse(PublicKey(KeyType.RSA, short).serialize())
