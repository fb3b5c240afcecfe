from __future__ import annotations

import pytest

from stun.address import TransportAddress
from stun.nonce import NonceFactory, SecurityFeature, features_of

CLIENT = TransportAddress("192.0.2.1", 1000)
BOTH = SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY


@pytest.mark.parametrize(
    ("features", "text"),
    [
        (SecurityFeature.NONE, b"AAAA"),
        (SecurityFeature.PASSWORD_ALGORITHMS, b"gAAA"),
        (SecurityFeature.USERNAME_ANONYMITY, b"QAAA"),
        (BOTH, b"wAAA"),
    ],
)
def test_bit_0_is_the_most_significant(features: SecurityFeature, text: bytes) -> None:
    nonce = NonceFactory(bytes(16), features, 60.0).make(CLIENT, 0.0)
    assert nonce.startswith(b"obMatJos2" + text)
    assert features_of(nonce) == features
    assert len(nonce) < 128


@pytest.mark.parametrize("nonce", [b"", b"obMatJos2", b"obMatJos2gAA", b"obMatJos2****x", b"other gAAA nonce"])
def test_no_cookie_no_features(nonce: bytes) -> None:
    assert features_of(nonce) is SecurityFeature.NONE


def test_bits_that_we_do_not_know_are_ignored() -> None:
    assert features_of(b"obMatJos2////") == BOTH


def test_a_nonce_is_for_one_client_and_some_time() -> None:
    factory = NonceFactory(b"s" * 16, BOTH, 60.0)
    nonce = factory.make(CLIENT, 100.0)
    assert factory.is_fresh(nonce, CLIENT, 100.0)
    assert factory.is_fresh(nonce, CLIENT, 159.9)
    assert not factory.is_fresh(nonce, CLIENT, 160.2)
    assert not factory.is_fresh(nonce, TransportAddress("192.0.2.1", 1001), 100.0)
    assert not factory.is_fresh(nonce, TransportAddress("192.0.2.2", 1000), 100.0)
    assert not NonceFactory(b"t" * 16, BOTH, 60.0).is_fresh(nonce, CLIENT, 100.0)
    assert factory.make(TransportAddress("192.0.2.1", 1001), 100.0) != nonce


@pytest.mark.parametrize("at", range(9, 57, 6))
def test_a_changed_nonce_is_not_ours(at: int) -> None:
    factory = NonceFactory(b"s" * 16, BOTH, 60.0)
    nonce = bytearray(factory.make(CLIENT, 100.0))
    nonce[at] ^= 1
    assert not factory.is_fresh(bytes(nonce), CLIENT, 100.0)
    assert not factory.is_fresh(bytes(nonce[:at]), CLIENT, 100.0)


def test_short_secrets_are_refused() -> None:
    with pytest.raises(ValueError):
        NonceFactory(bytes(15), BOTH, 60.0)
