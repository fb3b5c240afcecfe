"""Identity keys and their libp2p encodings (peer-ids specification): Ed25519 to sign with, four types to verify.

The encoding is deterministic because a peer id is a hash of it: fields in order, minimal varints, nothing unknown.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from signalling.errors import DecodeError, KeyDecodeError
from signalling.libp2p.wire import Kind, Message, required

__all__ = ["KeyType", "PrivateKey", "PublicKey"]

_MAX_KEY_DATA = 4096
"""Bytes; an RSA-8192 key takes about 1 KiB in public and 5 KiB in private form, and we hold no private RSA keys."""
_RSA_BITS = range(2048, 8193)
"""What go-libp2p accepts; shorter keys are forgeable, longer ones cost the verifier too much."""


class KeyType(enum.IntEnum):
    """The ``Type`` of a serialised key."""

    RSA = 0
    ED25519 = 1
    SECP256K1 = 2
    ECDSA = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeyMessage(Message):
    """``PublicKey`` and ``PrivateKey`` have the same shape."""

    type: int = required(1, Kind.ENUM)
    data: bytes = required(2, Kind.BYTES)


def _parse(data: bytes) -> tuple[KeyType, bytes]:
    try:
        message = _KeyMessage.parse(data)
        key_type = KeyType(message.type)
    except DecodeError as error:
        raise KeyDecodeError(str(error)) from None
    except ValueError as error:
        raise KeyDecodeError(f"unknown key type: {error}") from None
    if len(message.data) > _MAX_KEY_DATA:
        raise KeyDecodeError("the key is too long")
    if message.serialize() != data:
        raise KeyDecodeError("the key is not in its deterministic encoding")
    return key_type, message.data


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public identity key. Equal keys compare and hash equal; the key material is checked when it is parsed."""

    type: KeyType
    data: bytes
    """In the form of its type: raw (Ed25519), compressed point (secp256k1) or DER PKIX (RSA, ECDSA)."""

    @classmethod
    def parse(cls, data: bytes) -> PublicKey:
        """Return the key of a serialised ``PublicKey`` message.

        Raises:
            KeyDecodeError: malformed, not deterministic, of unknown type, or not a valid key.
        """
        key = cls(*_parse(data))
        key._load()
        return key

    def serialize(self) -> bytes:
        """Return the deterministic ``PublicKey`` message."""
        return _KeyMessage(type=int(self.type), data=self.data).serialize()

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Whether ``signature`` over ``data`` is this key's; never raises on a bad signature."""
        key = self._load()
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, data)
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
            else:
                key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    def _load(self) -> Ed25519PublicKey | rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        try:
            if self.type is KeyType.ED25519:
                return Ed25519PublicKey.from_public_bytes(self.data)
            if self.type is KeyType.SECP256K1:
                if len(self.data) != 33:
                    raise KeyDecodeError("a secp256k1 key is a compressed point of 33 bytes")
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256K1(), self.data)
            key = serialization.load_der_public_key(self.data)
        except (ValueError, UnsupportedAlgorithm) as error:
            raise KeyDecodeError(f"not a {self.type.name} key: {error}") from None
        if self.type is KeyType.RSA and isinstance(key, rsa.RSAPublicKey):
            if key.key_size not in _RSA_BITS:
                raise KeyDecodeError(f"an RSA key of {key.key_size} bits is not accepted")
            return key
        if self.type is KeyType.ECDSA and isinstance(key, ec.EllipticCurvePublicKey):
            return key
        raise KeyDecodeError(f"the DER holds another kind of key than {self.type.name}")


class PrivateKey:
    """An Ed25519 identity. Immutable; its ``repr`` shows no secret."""

    __slots__ = ("_key", "_public")

    def __init__(self, seed: bytes) -> None:
        """Make the key of a 32-byte seed.

        Raises:
            ValueError: the seed has another length.
        """
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = PublicKey(KeyType.ED25519, self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"<PrivateKey Ed25519, public {self._public.data.hex()}>"

    @classmethod
    def generate(cls, rng: random.Random | None = None) -> PrivateKey:
        """Return a new key; without ``rng`` (which a test seeds) it comes from the operating system."""
        seed = Ed25519PrivateKey.generate().private_bytes_raw() if rng is None else rng.randbytes(32)
        return cls(seed)

    @classmethod
    def parse(cls, data: bytes) -> PrivateKey:
        """Return the key of a serialised ``PrivateKey`` message of type Ed25519.

        The data is seed and public key (64 bytes), or the old form that repeats the public key (96 bytes).

        Raises:
            KeyDecodeError: malformed, of another type, or the public key does not belong to the seed.
        """
        key_type, material = _parse(data)
        if key_type is not KeyType.ED25519:
            raise KeyDecodeError(f"a private key of type {key_type.name} is not supported")
        if len(material) not in (64, 96) or (len(material) == 96 and material[32:64] != material[64:]):
            raise KeyDecodeError("a private Ed25519 key is its seed and its public key")
        key = cls(material[:32])
        if key.public_key.data != material[32:64]:
            raise KeyDecodeError("the public key does not belong to the seed")
        return key

    def serialize(self) -> bytes:
        """Return the ``PrivateKey`` message: a secret."""
        seed = self._key.private_bytes_raw()
        return _KeyMessage(type=int(KeyType.ED25519), data=seed + self._public.data).serialize()

    @property
    def public_key(self) -> PublicKey:
        """The public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``."""
        return self._key.sign(data)
