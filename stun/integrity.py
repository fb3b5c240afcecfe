"""Message integrity and fingerprints: keys, HMACs and the CRC (RFC 8489 sections 9.1.1, 9.2.2, 14.5, 14.6 and 14.7)."""

from __future__ import annotations

import enum
import hashlib
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from stun.values import PasswordAlgorithm

if TYPE_CHECKING:
    from hashlib import _Hash

__all__ = [
    "FINGERPRINT_XOR",
    "Integrity",
    "hmac_sha1",
    "hmac_sha256",
    "long_term_key",
    "opaque_string",
    "short_term_key",
    "userhash",
]

FINGERPRINT_XOR: Final = 0x5354554E
"""What the CRC-32 is XORed with (section 14.7): "STUN"."""

_BLOCK: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
# OpenSSL looks a hash function up by its name each time; a copy of one that has read nothing is there at once.
_SHA1: Final = hashlib.sha1()
_SHA256: Final = hashlib.sha256()


class Integrity(enum.Enum):
    """Which integrity attributes a message is sent with."""

    SHA1 = "MESSAGE-INTEGRITY"
    SHA256 = "MESSAGE-INTEGRITY-SHA256"
    BOTH = "MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256"
    """What a short-term request carries while the peer's algorithm is not known (section 9.1.2)."""


# One key signs and checks several messages in a row, so the two keyed hash states are kept; copying them is half of the
# cost of a whole HMAC. The tables are bounded because a server meets as many keys as it has users. They are no larger
# because what comes now and then, such as a consent check, comes after so many others that no table would be enough.


@lru_cache(maxsize=256)
def _sha1_states(key: bytes) -> tuple[_Hash, _Hash]:
    return _states(_SHA1, key)


@lru_cache(maxsize=256)
def _sha256_states(key: bytes) -> tuple[_Hash, _Hash]:
    return _states(_SHA256, key)


def _states(empty: _Hash, key: bytes) -> tuple[_Hash, _Hash]:
    if len(key) > _BLOCK:
        whole = empty.copy()
        whole.update(key)
        key = whole.digest()
    block = key.ljust(_BLOCK, b"\0")
    inner, outer = empty.copy(), empty.copy()
    inner.update(block.translate(_INNER))
    outer.update(block.translate(_OUTER))
    return inner, outer


def hmac_sha1(key: bytes, data: bytes) -> bytes:
    """Return the 20 bytes of HMAC-SHA1 (RFC 2104)."""
    inner, outer = _sha1_states(key)
    inside = inner.copy()
    inside.update(data)
    outside = outer.copy()
    outside.update(inside.digest())
    return outside.digest()


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA256 (RFC 2104)."""
    inner, outer = _sha256_states(key)
    inside = inner.copy()
    inside.update(data)
    outside = outer.copy()
    outside.update(inside.digest())
    return outside.digest()


def opaque_string(text: str) -> str:
    """Prepare a user name, realm or password with the OpaqueString profile (RFC 8265 section 4.2).

    Raises:
        ValueError: the text is empty or has characters that the profile forbids.
    """
    if text.isascii() and text.isprintable() and text:
        return text
    mapped = "".join(" " if unicodedata.category(character) == "Zs" else character for character in text)
    prepared = unicodedata.normalize("NFC", mapped)
    if not prepared:
        raise ValueError("an empty string is not an OpaqueString")
    for character in prepared:
        if unicodedata.category(character) in _FORBIDDEN or character in _IGNORABLE:
            raise ValueError(f"U+{ord(character):04X} is not allowed in an OpaqueString")
    return prepared


# RFC 8264 section 9: controls, unassigned code points, surrogates and private use are out of the FreeformClass, and so
# are the code points that are ignored by default and the old Hangul jamo.
_FORBIDDEN: Final = frozenset({"Cc", "Cn", "Cs", "Co", "Cf", "Zl", "Zp"})
_IGNORABLE: Final = frozenset(
    map(chr, (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0, *range(0xFE00, 0xFE10), *range(0x180B, 0x180E)))
)


def short_term_key(password: str) -> bytes:
    """Return the key of a short-term credential (section 9.1.1); ICE passwords are such.

    Raises:
        ValueError: see :func:`opaque_string`.
    """
    return opaque_string(password).encode()


def long_term_key(
    username: str, realm: str, password: str, algorithm: PasswordAlgorithm = PasswordAlgorithm.MD5
) -> bytes:
    """Return the key of a long-term credential (section 9.2.2): what a server stores instead of the password.

    Raises:
        ValueError: see :func:`opaque_string`.
    """
    text = f"{opaque_string(username)}:{opaque_string(realm)}:{opaque_string(password)}".encode()
    if algorithm is PasswordAlgorithm.SHA256:
        return hashlib.sha256(text).digest()
    return hashlib.md5(text, usedforsecurity=False).digest()


def userhash(username: str, realm: str) -> bytes:
    """Return the 32 bytes of USERHASH (section 14.4).

    Raises:
        ValueError: see :func:`opaque_string`.
    """
    return hashlib.sha256(f"{opaque_string(username)}:{opaque_string(realm)}".encode()).digest()
