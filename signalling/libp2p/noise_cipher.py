"""The Noise protocol framework as far as libp2p needs it: ``Noise_XX_25519_ChaChaPoly_SHA256`` (Noise revision 34).

:class:`SymmetricState` and :class:`CipherState` carry the framework's names (section 5). Secrets come from the caller's
random number generator.
"""

from __future__ import annotations

import hashlib
import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from signalling.errors import DecodeError

__all__ = ["TAG", "CipherState", "SymmetricState"]

TAG = 16
"""Bytes that encryption adds."""

_PROTOCOL_NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"
_MAX_NONCE = 2**64 - 1
_NONCE = struct.Struct("<4xQ")


class CipherState:
    """One direction's key and message counter."""

    __slots__ = ("_cipher", "_nonce")

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._nonce = 0

    def encrypt(self, plaintext: bytes | memoryview, associated: bytes | None = None) -> bytes:
        """Return the ciphertext with its tag.

        Raises:
            OverflowError: 2**64-1 messages were sent; the session has to end.
        """
        sealed = self._cipher.encrypt(self._take_nonce(), plaintext, associated)
        return sealed

    def decrypt(self, ciphertext: bytes | memoryview, associated: bytes | None = None) -> bytes:
        """Return the plaintext.

        Raises:
            DecodeError: the tag does not verify, or the counter is used up.
        """
        try:
            return self._cipher.decrypt(self._take_nonce(), ciphertext, associated)
        except (InvalidTag, OverflowError, ValueError) as error:
            raise DecodeError("a noise message does not decrypt") from error

    def _take_nonce(self) -> bytes:
        nonce = self._nonce
        if nonce >= _MAX_NONCE:
            raise OverflowError("the noise session is used up")
        self._nonce = nonce + 1
        return _NONCE.pack(nonce)


class SymmetricState:
    """Chaining key, handshake hash and the handshake's cipher (Noise section 5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "_hash")

    def __init__(self, prologue: bytes) -> None:
        self._hash = _PROTOCOL_NAME  # exactly 32 bytes, so it stands for its own hash
        self._chaining_key = _PROTOCOL_NAME
        self._cipher: CipherState | None = None
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        """Bind ``data`` into the transcript."""
        self._hash = hashlib.sha256(self._hash + data).digest()

    def mix_key(self, secret: bytes) -> None:
        """Derive a new chaining key and cipher from a Diffie-Hellman result."""
        self._chaining_key, key = _hkdf(self._chaining_key, secret)
        self._cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Return ``plaintext`` encrypted once there is a key, and bind it."""
        sealed = plaintext if self._cipher is None else self._cipher.encrypt(plaintext, self._hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, data: bytes) -> bytes:
        """Return the plaintext of ``data`` and bind ``data``.

        Raises:
            DecodeError: the tag does not verify.
        """
        plaintext = data if self._cipher is None else self._cipher.decrypt(data, self._hash)
        self.mix_hash(data)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """Return the two transport ciphers: initiator's sending one first."""
        first, second = _hkdf(self._chaining_key, b"")
        return CipherState(first), CipherState(second)


def _hkdf(chaining_key: bytes, secret: bytes) -> tuple[bytes, bytes]:
    """Return two outputs of Noise's HKDF (section 4.3)."""
    temporary = hmac.digest(chaining_key, secret, "sha256")
    first = hmac.digest(temporary, b"\x01", "sha256")
    return first, hmac.digest(temporary, first + b"\x02", "sha256")
