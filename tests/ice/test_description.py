from __future__ import annotations

import random

import pytest

from ice.config import IceConfig
from ice.description import Description, generate_description
from ice.errors import CandidateError


def test_generated_credentials_are_long_enough_and_fresh() -> None:
    one = generate_description(IceConfig(), random.Random(1))
    other = generate_description(IceConfig(), random.Random(2))
    assert one != other
    assert len(one.ufrag) * 6 >= 24  # RFC 8445 section 5.3, in bits
    assert len(one.pwd) * 6 >= 128
    assert one.trickles
    assert "ice2" in one.options
    assert not one.lite


def test_the_password_is_not_shown() -> None:
    description = generate_description(IceConfig(), random.Random(1))
    assert description.pwd not in repr(description)


@pytest.mark.parametrize(
    ("ufrag", "pwd"),
    [
        ("abc", "p" * 22),
        ("a" * 257, "p" * 22),
        ("abcd", "p" * 21),
        ("abcd", "p" * 257),
        ("ab:cd", "p" * 22),
        ("ab cd", "p" * 22),
        ("abcé", "p" * 22),
        ("abcd\n", "p" * 22),
    ],
)
def test_bad_credentials_are_refused(ufrag: str, pwd: str) -> None:
    with pytest.raises(CandidateError):
        Description(ufrag, pwd)


def test_the_longest_credentials_are_accepted() -> None:
    assert Description("u" * 256, "p" * 256).ufrag == "u" * 256
    assert not Description("abcd", "p" * 22, options=()).trickles
