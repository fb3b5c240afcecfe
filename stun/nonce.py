"""Nonces of the long-term mechanism: the nonce cookie with its security features, and nonces that need no memory.

RFC 8489 section 9.2 starts a nonce with ``obMatJos2`` and four base64 characters of a 24-bit feature set, so that a
meddler who strips PASSWORD-ALGORITHMS from a message is found out.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac

from stun.address import TransportAddress

__all__ = ["NONCE_COOKIE", "NonceFactory", "SecurityFeature", "features_of"]

NONCE_COOKIE = b"obMatJos2"
"""What a nonce with a feature set starts with."""

_HEAD = len(NONCE_COOKIE) + 4


class SecurityFeature(enum.Flag):
    """The feature set of section 18.1; bit 0 is the most significant of the 24."""

    NONE = 0
    PASSWORD_ALGORITHMS = 1 << 23
    USERNAME_ANONYMITY = 1 << 22


_KNOWN = SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY


def features_of(nonce: bytes) -> SecurityFeature:
    """Return the features that a nonce promises; none when it has no cookie."""
    if not nonce.startswith(NONCE_COOKIE) or len(nonce) < _HEAD:
        return SecurityFeature.NONE
    try:
        bits = int.from_bytes(base64.b64decode(nonce[len(NONCE_COOKIE) : _HEAD], validate=True), "big")
    except (binascii.Error, ValueError):
        return SecurityFeature.NONE
    return SecurityFeature(bits & _KNOWN.value)


class NonceFactory:
    """Makes nonces that are bound to a client's address and age, and recognises its own without storing them."""

    def __init__(self, secret: bytes, features: SecurityFeature, lifetime: float) -> None:
        """Args:
        secret: at least 16 random bytes; nonces are void once it changes.
        features: what every nonce promises.
        lifetime: seconds for which a nonce is fresh.
        """
        if len(secret) < 16:
            raise ValueError("a nonce secret needs at least 16 bytes")
        self._secret = secret
        self._head = NONCE_COOKIE + base64.b64encode(features.value.to_bytes(3, "big"))
        self._lifetime = lifetime

    def make(self, client: TransportAddress, now: float) -> bytes:
        """Return the nonce of this moment for a client."""
        stamp = f"{int(now * 1000) & 0xFFFFFFFFFFFF:012x}".encode()
        return self._head + stamp + self._seal(stamp, client)

    def is_fresh(self, nonce: bytes, client: TransportAddress, now: float) -> bool:
        """Return whether ``nonce`` was made here, for this client, and not too long ago."""
        stamp, seal = nonce[_HEAD : _HEAD + 12], nonce[_HEAD + 12 :]
        if not nonce.startswith(self._head) or not hmac.compare_digest(seal, self._seal(stamp, client)):
            return False
        # The seal is right, so the stamp is one that we wrote.
        return 0 <= now - int(stamp, 16) / 1000 + 0.001 <= self._lifetime + 0.001

    def _seal(self, stamp: bytes, client: TransportAddress) -> bytes:
        text = b"%s|%s" % (stamp, str(client).encode())
        return hmac.digest(self._secret, text, hashlib.sha256).hex()[:32].encode()
