from __future__ import annotations

import pytest

from signalling.errors import DecodeError
from signalling.libp2p.base import base58_decode, base58_encode, multibase_decode, multibase_encode


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\0", "1"),
        (b"\0\0a", "112g"),
        (b"Hello World!", "2NEpo7TZRRrLZSi2U"),
        (bytes.fromhex("0000287fb4cd"), "11233QC4"),
    ],
)
def test_base58_vectors(data: bytes, text: str) -> None:
    assert base58_encode(data) == text
    assert base58_decode(text) == data


@pytest.mark.parametrize("text", ["0", "O", "I", "l", "2 ", "ä", "1" * 513])
def test_base58_refuses_other_characters_and_endless_texts(text: str) -> None:
    with pytest.raises(DecodeError):
        base58_decode(text)


@pytest.mark.parametrize(
    "text",
    ["f796573206d616e692021", "bpfsxgidnmfxgsibb", "z7paNL19xttacUY", "meWVzIG1hbmkgIQ", "ueWVzIG1hbmkgIQ"],
)
def test_multibase_vectors(text: str) -> None:
    assert multibase_decode(text) == b"yes mani !"
    if text[0] != "m":
        assert multibase_encode(text[0], b"yes mani !") == text


@pytest.mark.parametrize("text", ["", "x123", "b1", "fzz", "u==", "m_-", "\N{SNOWMAN}"])
def test_multibase_refuses_unknown_prefixes_and_foreign_characters(text: str) -> None:
    with pytest.raises(DecodeError):
        multibase_decode(text)


def test_an_unknown_base_to_write_is_the_callers_mistake() -> None:
    with pytest.raises(ValueError):
        multibase_encode("Q", b"")
