"""Access tokens: coturn's reads as ours, and nobody else's does."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turn.access_token import TokenContents, TokenKey, open_token, seal_token

KEY = TokenKey(kid="north", key=bytes(range(32)))
NAME = "blackdow.carleon.gov"
NONCE = b"h4j3k2l2n4b5"
CONTENTS = TokenContents(b"ZksjpweoixXmvn67534m", 92470300704768 / 65536, 3600)
# turnutils_oauth -e -i NAME -j north -k KEY -l 1 -m 4000000000 -n A256GCM -o NONCE -p MAC -q 92470300704768 -r 3600
COTURNS = "AAxoNGozazJsMm40YjWReSU/q/D3HjfFaTR03rqws/DKQ4RD8o6G0NsJgaK4F4IVuohi+mEL2bFazpYTVZmIlw=="


def test_coturns_token_is_ours() -> None:
    token = base64.b64decode(COTURNS)
    assert open_token(KEY, NAME, token) == CONTENTS
    assert seal_token(KEY, NAME, CONTENTS, NONCE) == token


@given(
    st.binary(min_size=20, max_size=20),
    st.integers(0, (1 << 48) - 1),
    st.integers(0, 63_999),
    st.integers(1, (1 << 32) - 1),
    st.binary(min_size=12, max_size=12),
    st.sampled_from([16, 32]),
)
def test_round_trip(mac_key: bytes, seconds: int, fraction: int, lifetime: int, nonce: bytes, size: int) -> None:
    key = TokenKey(kid="k", key=bytes(size))
    contents = TokenContents(mac_key, seconds + fraction / 64_000, lifetime)
    found = open_token(key, NAME, seal_token(key, NAME, contents, nonce))
    assert found is not None
    assert (found.mac_key, found.lifetime) == (mac_key, lifetime)
    assert found.issued == pytest.approx(contents.issued, abs=1 / 16_000)


@given(st.data())
def test_a_token_with_any_bit_changed_is_none(data: st.DataObject) -> None:
    token = bytearray(base64.b64decode(COTURNS))
    token[data.draw(st.integers(0, len(token) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert open_token(KEY, NAME, bytes(token)) is None


@given(st.binary(max_size=100))
def test_junk_is_none(junk: bytes) -> None:
    assert open_token(KEY, NAME, junk) is None


def test_another_key_or_another_server_is_none() -> None:
    token = base64.b64decode(COTURNS)
    assert open_token(TokenKey(kid="north", key=bytes(32)), NAME, token) is None
    assert open_token(KEY, "other.example.org", token) is None
    assert open_token(KEY, NAME, token[:-1]) is None
    assert open_token(KEY, NAME, token + b"\0") is None


def test_what_cannot_be_a_token() -> None:
    for contents, nonce in (
        (CONTENTS._replace(mac_key=bytes(19)), NONCE),
        (CONTENTS._replace(lifetime=0), NONCE),
        (CONTENTS._replace(lifetime=1 << 32), NONCE),
        (CONTENTS._replace(issued=-1.0), NONCE),
        (CONTENTS, NONCE[:-1]),
    ):
        with pytest.raises(ValueError, match="token"):
            seal_token(KEY, NAME, contents, nonce)
    for kid, key in (("", bytes(32)), ("k", bytes(20)), ("k" * 509, bytes(32))):
        with pytest.raises(ValueError, match="token key"):
            TokenKey(kid=kid, key=key)
