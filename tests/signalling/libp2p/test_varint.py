from __future__ import annotations

import pytest

from signalling.errors import DecodeError
from signalling.libp2p.varint import MAX_VARINT, decode_varint, encode_varint


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (16384, "808001"), (MAX_VARINT, "ff" * 8 + "7f")],
)
def test_values_have_their_minimal_encoding(value: int, encoded: str) -> None:
    assert encode_varint(value).hex() == encoded
    assert decode_varint(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


def test_decoding_starts_at_the_offset_and_ignores_what_follows() -> None:
    assert decode_varint(b"\xff\xac\x02\x99", 1) == (300, 2)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff" * 8])
def test_a_truncated_varint_is_not_decoded(data: bytes) -> None:
    assert decode_varint(data) is None


@pytest.mark.parametrize("data", [b"\x80\x00", b"\x81\x80\x00", b"\xff" * 9, b"\xff" * 9 + b"\x01"])
def test_longer_encodings_than_needed_or_allowed_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_varint(data)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1])
def test_a_value_out_of_range_is_the_callers_mistake(value: int) -> None:
    with pytest.raises(ValueError):
        encode_varint(value)
