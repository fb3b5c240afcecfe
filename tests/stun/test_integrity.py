from __future__ import annotations

import hashlib
import hmac

import pytest

from stun.integrity import hmac_sha1, hmac_sha256, long_term_key, opaque_string, short_term_key, userhash
from stun.values import PasswordAlgorithm


@pytest.mark.parametrize("length", [0, 1, 20, 63, 64, 65, 200])
@pytest.mark.parametrize("size", [0, 1, 100, 70000])
def test_hmacs_are_those_of_the_standard_library(length: int, size: int) -> None:
    key, data = bytes(range(length)), b"x" * size
    assert hmac_sha1(key, data) == hmac.digest(key, data, "sha1")
    assert hmac_sha256(key, data) == hmac.digest(key, data, "sha256")
    # Again, from the kept states.
    assert hmac_sha1(key, data) == hmac.digest(key, data, "sha1")
    assert hmac_sha256(key, b"other") == hmac.digest(key, b"other", "sha256")


def test_long_term_keys() -> None:
    text = "user:realm:pass"
    assert long_term_key("user", "realm", "pass") == hashlib.md5(text.encode()).digest()
    key = long_term_key("user", "realm", "pass", PasswordAlgorithm.SHA256)
    assert key == hashlib.sha256(text.encode()).digest()
    assert userhash("user", "realm") == hashlib.sha256(b"user:realm").digest()


def test_opaque_strings() -> None:
    assert opaque_string("correct horse") == "correct horse"
    assert opaque_string("cafe\u0301") == "café"
    assert opaque_string("a\u00a0b\u3000c") == "a b c"
    assert opaque_string("Ⅸ") == "Ⅸ"  # no compatibility mapping, other than SASLprep
    assert short_term_key("cafe\u0301") == "café".encode()


@pytest.mark.parametrize("text", ["", "a\x00b", "tab\t", "soft\u00adhyphen", "\ue000", "\u2028", "\u115f", "\udc80"])
def test_what_is_no_opaque_string(text: str) -> None:
    with pytest.raises(ValueError):
        opaque_string(text)
