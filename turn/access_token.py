"""Access tokens: what an authorization server seals for a TURN server (RFC 7635 section 6.2).

A token carries the key that its holder signs with. Only the two servers can read it; to a client it is opaque.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["MAC_KEY_LENGTH", "NONCE_LENGTH", "TokenContents", "TokenKey", "open_token", "seal_token"]

MAC_KEY_LENGTH = 20
"""Bytes of the key of MESSAGE-INTEGRITY: 160 bits."""
NONCE_LENGTH = 12
"""Bytes of the nonce of AES-GCM (RFC 5116 section 5.1)."""

_FRACTIONS = 64_000
_TAG = 16
_BLOCK = 2 + MAC_KEY_LENGTH + 8 + 4


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenKey:
    """A key that an authorization server and a TURN server share (section 4.1)."""

    kid: str
    """Its name, which clients send as USERNAME."""
    key: bytes = field(repr=False)
    """32 bytes for A256GCM, 16 for A128GCM."""

    def __post_init__(self) -> None:
        if not 0 < len(self.kid) < 509 or len(self.key) not in (16, 32):
            raise ValueError("a token key has a name, and 32 (A256GCM) or 16 (A128GCM) bytes")


class TokenContents(NamedTuple):
    """What is in a token."""

    mac_key: bytes
    """What its holder signs with, 20 bytes."""
    issued: float
    """When it was made, in Unix seconds."""
    lifetime: int
    """Seconds for which it is good."""


def seal_token(key: TokenKey, server_name: str, contents: TokenContents, nonce: bytes) -> bytes:
    """Return a token, as an authorization server makes it.

    Args:
        key: shared with the TURN server.
        server_name: of that server, as it tells it in THIRD-PARTY-AUTHORIZATION; the token is good there alone.
        contents: what to put in.
        nonce: 12 bytes that were never used with this key.

    Raises:
        ValueError: the nonce or a part of the contents has the wrong size.
    """
    if len(nonce) != NONCE_LENGTH or len(contents.mac_key) != MAC_KEY_LENGTH:
        raise ValueError(f"a token has a nonce of {NONCE_LENGTH} bytes and a MAC key of {MAC_KEY_LENGTH}")
    seconds = int(contents.issued)
    stamp = seconds << 16 | int((contents.issued - seconds) * _FRACTIONS)
    if not (0 <= stamp < 1 << 64 and 0 < contents.lifetime < 1 << 32):
        raise ValueError("a token has a time and a lifetime")
    block = MAC_KEY_LENGTH.to_bytes(2, "big") + contents.mac_key + stamp.to_bytes(8, "big")
    block += contents.lifetime.to_bytes(4, "big")
    sealed = AESGCM(key.key).encrypt(nonce, block, server_name.encode())
    return NONCE_LENGTH.to_bytes(2, "big") + nonce + sealed


def open_token(key: TokenKey, server_name: str, token: bytes) -> TokenContents | None:
    """Return what is in a token; None when it was not made with ``key`` for ``server_name``, or makes no sense."""
    start = 2 + NONCE_LENGTH
    if len(token) != start + _BLOCK + _TAG or int.from_bytes(token[:2], "big") != NONCE_LENGTH:
        return None
    try:
        block = AESGCM(key.key).decrypt(token[2:start], token[start:], server_name.encode())
    except InvalidTag:
        return None
    if int.from_bytes(block[:2], "big") != MAC_KEY_LENGTH:
        return None
    mac_key, rest = block[2 : 2 + MAC_KEY_LENGTH], block[2 + MAC_KEY_LENGTH :]
    stamp, lifetime = int.from_bytes(rest[:8], "big"), int.from_bytes(rest[8:], "big")
    return TokenContents(mac_key, (stamp >> 16) + (stamp & 0xFFFF) / _FRACTIONS, lifetime)
