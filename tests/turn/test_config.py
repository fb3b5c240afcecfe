"""What a configuration refuses, and that it tells no secrets."""

from __future__ import annotations

import pytest

from turn.config import (
    Credentials,
    EvenPort,
    RelayTransport,
    TurnClientConfig,
    TurnServerConfig,
)


async def provider() -> Credentials:
    raise AssertionError("not called")


def test_what_must_not_be_in_one_allocate() -> None:
    # RFC 8656 section 7.1, RFC 6062 section 4.1.
    token = b"12345678"
    wrong: list[dict[str, object]] = [
        {"reservation_token": token, "even_port": EvenPort.EVEN},
        {"reservation_token": token, "families": (6,)},
        {"reservation_token": token, "families": (4, 6)},
        {"reservation_token": b"short"},
        {"even_port": EvenPort.EVEN_AND_RESERVE_NEXT, "families": (4, 6)},
        {"families": (6, 4)},
        {"transport": 6},
        {"families": ()},
        {"transport": RelayTransport.TCP, "dont_fragment": True},
        {"transport": RelayTransport.TCP, "even_port": EvenPort.EVEN},
        {"transport": RelayTransport.TCP, "reservation_token": token},
    ]
    for settings in wrong:
        with pytest.raises((ValueError, TypeError), match=r"."):  # The latter where it is compiled: a type is wrong.
            TurnServerConfig(url="turn:h", **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["stun:h", "http://h", "turn:", "turn:h:0", "turn:h?transport=sctp"])
def test_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        TurnServerConfig(url=url)


def test_credentials_are_whole_and_of_one_kind() -> None:
    for settings in ({"username": "u"}, {"password": "p"}, {"username": "u", "password": "p", "credentials": provider}):
        with pytest.raises((ValueError, TypeError), match=r"."):  # The latter where it is compiled: a type is wrong.
            TurnServerConfig(url="turn:h", **settings)  # type: ignore[arg-type]
    assert TurnServerConfig(url="turn:h").fixed_credentials is None
    config = TurnServerConfig(url="turn:h", username="u", password="hush")
    assert config.fixed_credentials == Credentials("u", "hush")
    assert "hush" not in repr(config)
    assert "hush" not in repr(config.fixed_credentials)


def test_limits_make_sense() -> None:
    wrong: list[dict[str, object]] = [
        {"max_channels": 0},
        {"max_channels": 4097},
        {"max_outstanding": 0},
        {"permission_batch": 0},
        {"permission_margin": 300.0},
        {"channel_margin": 600.0},
    ]
    for settings in wrong:
        with pytest.raises(ValueError, match=r"."):
            TurnClientConfig(**settings)  # type: ignore[arg-type]
