"""The framework against a run whose every byte was worked out with another implementation's primitives."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from signalling.errors import DecodeError
from signalling.libp2p.noise_cipher import CipherState, SymmetricState

NAME = b"Noise_XX_25519_ChaChaPoly_SHA256"


def test_the_nonce_is_four_zeros_and_a_little_endian_counter() -> None:
    ours, reference = CipherState(bytes(32)), ChaCha20Poly1305(bytes(32))
    for count in range(300):
        sealed = ours.encrypt(b"data", b"ad")
        assert sealed == reference.encrypt(bytes(4) + count.to_bytes(8, "little"), b"data", b"ad")


def test_the_counter_never_wraps() -> None:
    cipher = CipherState(bytes(32))
    cipher._nonce = 2**64 - 2
    cipher.encrypt(b"last")
    with pytest.raises(OverflowError):
        cipher.encrypt(b"one too many")
    cipher._nonce = 2**64 - 1
    with pytest.raises(DecodeError):
        cipher.decrypt(bytes(16))


def test_keys_are_derived_as_in_section_4_3() -> None:
    state = SymmetricState(b"prologue")
    state.mix_key(b"secret")
    extracted = hmac.digest(NAME, b"secret", "sha256")
    chaining = hmac.digest(extracted, b"\x01", "sha256")
    key = hmac.digest(extracted, chaining + b"\x02", "sha256")
    transcript = hashlib.sha256(NAME + b"prologue").digest()
    sealed = ChaCha20Poly1305(key).encrypt(bytes(12), b"payload", transcript)
    assert state.encrypt_and_hash(b"payload") == sealed
    final = hmac.digest(chaining, b"", "sha256")
    first = hmac.digest(final, b"\x01", "sha256")
    second = hmac.digest(final, first + b"\x02", "sha256")
    sending, receiving = state.split()
    assert sending.encrypt(b"x") == ChaCha20Poly1305(first).encrypt(bytes(12), b"x", None)
    assert receiving.encrypt(b"x") == ChaCha20Poly1305(second).encrypt(bytes(12), b"x", None)


def test_before_there_is_a_key_bytes_pass_in_the_clear_and_are_bound() -> None:
    one, two = SymmetricState(b""), SymmetricState(b"")
    assert one.encrypt_and_hash(b"clear") == b"clear"
    assert two.decrypt_and_hash(b"clear") == b"clear"
    one.mix_key(b"k")
    two.mix_key(b"k")
    assert two.decrypt_and_hash(one.encrypt_and_hash(b"secret")) == b"secret"
