"""Peer ids: multihashes of serialised public keys (peer-ids specification)."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass

from signalling.errors import DecodeError, KeyDecodeError, PeerIdError
from signalling.libp2p.base import base58_decode, base58_encode, multibase_decode, multibase_encode
from signalling.libp2p.keys import PublicKey
from signalling.libp2p.varint import decode_varint

__all__ = ["PeerId"]

_IDENTITY = 0x00
_SHA2_256 = 0x12
_MAX_INLINE = 42
"""Bytes of a serialised key up to which the id holds the key itself."""
_CID_V1_LIBP2P_KEY = bytes((0x01, 0x72))


@dataclass(frozen=True, slots=True, order=True)
class PeerId:
    """A peer's name: ordered, hashable, compared by its multihash bytes. ``str()`` is the base58 form."""

    multihash: bytes

    def __post_init__(self) -> None:
        """Check the multihash.

        Raises:
            PeerIdError: it is neither an identity hash of at most 42 bytes nor a SHA2-256 hash.
        """
        data = self.multihash
        try:
            code = decode_varint(data)
            length = decode_varint(data, code[1]) if code else None
        except DecodeError as error:
            raise PeerIdError(f"not a multihash: {error}") from None
        if code is None or length is None or len(data) != code[1] + length[1] + length[0]:
            raise PeerIdError("not a multihash")
        if not (code[0] == _IDENTITY and length[0] <= _MAX_INLINE) and not (code[0] == _SHA2_256 and length[0] == 32):
            raise PeerIdError(f"a peer id is not a multihash of code {code[0]:#x} and {length[0]} bytes")

    @classmethod
    def from_public_key(cls, key: PublicKey) -> PeerId:
        """Return the id of ``key``: the key itself when its serialisation has at most 42 bytes, else its SHA2-256."""
        data = key.serialize()
        if len(data) <= _MAX_INLINE:
            return cls(bytes((_IDENTITY, len(data))) + data)
        return cls(bytes((_SHA2_256, 32)) + hashlib.sha256(data).digest())

    @classmethod
    def from_bytes(cls, data: bytes) -> PeerId:
        """Return the id of its form on the wire, a multihash.

        Raises:
            PeerIdError: ``data`` is not one.
        """
        return cls(bytes(data))

    @classmethod
    def parse(cls, text: str) -> PeerId:
        """Return the id of a text: base58btc (``12D3Koo…``, ``Qm…``), or CIDv1 in any common multibase.

        Raises:
            PeerIdError: it is neither.
        """
        try:
            if text.startswith(("1", "Qm")):
                return cls(base58_decode(text))
            cid = multibase_decode(text)
        except PeerIdError:
            raise
        except DecodeError as error:
            raise PeerIdError(f"{text[:80]!r} is not a peer id: {error}") from None
        if not cid.startswith(_CID_V1_LIBP2P_KEY):
            raise PeerIdError(f"{text[:80]!r} is not a CIDv1 of a libp2p key")
        return cls(cid[2:])

    def to_bytes(self) -> bytes:
        """Return the multihash, which is the form on the wire."""
        return self.multihash

    def to_base58(self) -> str:
        """Return the usual text, ``12D3Koo…`` for an Ed25519 key."""
        return _base58(self.multihash)

    def to_cid(self) -> str:
        """Return the CIDv1 text in base32, ``bafz…``."""
        return multibase_encode("b", _CID_V1_LIBP2P_KEY + self.multihash)

    def public_key(self) -> PublicKey | None:
        """Return the key that the id holds, or None when it is only a hash or holds no valid key."""
        if self.multihash[0] != _IDENTITY:
            return None
        try:
            return PublicKey.parse(self.multihash[2:])
        except KeyDecodeError:
            return None

    def matches(self, key: PublicKey) -> bool:
        """Whether ``key`` is this peer's."""
        return PeerId.from_public_key(key) == self

    def __str__(self) -> str:
        return self.to_base58()

    def __repr__(self) -> str:
        return f"PeerId.parse({self.to_base58()!r})"


@functools.lru_cache(maxsize=1024)
def _base58(multihash: bytes) -> str:
    return base58_encode(multihash)
