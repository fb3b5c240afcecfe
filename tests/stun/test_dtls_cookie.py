"""The cookie exchange: only who receives at an address gets past it."""

from __future__ import annotations

import pytest

from stun.dtls_cookie import CookieExchange, HelloVerdict, is_handshake, parse_client_hello
from stun.errors import StunParseError

SOURCE = ("192.0.2.1", 40000)


def hello(cookie: bytes = b"", sequence: int = 0, random: bytes = bytes(32), session: bytes = b"") -> bytes:
    """A ClientHello with one cipher suite and one compression method."""
    body = b"\xfe\xfd" + random + bytes((len(session),)) + session + bytes((len(cookie),)) + cookie
    body += b"\x00\x02\xc0\x2f\x01\x00"
    size = len(body).to_bytes(3, "big")
    message = b"\x01" + size + bytes(2) + bytes(3) + size + body
    return b"\x16\xfe\xff" + bytes(2) + sequence.to_bytes(6, "big") + len(message).to_bytes(2, "big") + message


def cookie_of(challenge: bytes) -> bytes:
    assert challenge[:3] == b"\x16\xfe\xff"
    assert challenge[13] == 3
    assert challenge[25:27] == b"\xfe\xff"
    return challenge[28 : 28 + challenge[27]]


def test_the_cookie_that_was_given_is_right_at_its_address_for_its_time() -> None:
    exchange = CookieExchange(bytes(range(32)), period=30.0)
    first = parse_client_hello(hello(sequence=7))
    assert exchange.judge(first, SOURCE, 10.0) is HelloVerdict.UNVERIFIED
    challenge = exchange.challenge(first, SOURCE, 10.0)
    assert challenge[5:11] == (7).to_bytes(6, "big")
    assert len(challenge) == 48 < len(hello())
    second = parse_client_hello(hello(cookie_of(challenge), sequence=8))
    for now, source, verdict in [
        (10.0, SOURCE, HelloVerdict.VERIFIED),
        (59.9, SOURCE, HelloVerdict.VERIFIED),
        (60.0, SOURCE, HelloVerdict.UNVERIFIED),
        (10.0, ("192.0.2.2", 40000), HelloVerdict.UNVERIFIED),
        (10.0, ("192.0.2.1", 40001), HelloVerdict.UNVERIFIED),
    ]:
        assert exchange.judge(second, source, now) is verdict
    other = parse_client_hello(hello(cookie_of(challenge), random=b"\1" * 32))
    assert exchange.judge(other, SOURCE, 10.0) is HelloVerdict.UNVERIFIED
    assert CookieExchange(b"k" * 32).judge(second, SOURCE, 10.0) is HelloVerdict.UNVERIFIED


def test_what_a_hello_says() -> None:
    read = parse_client_hello(hello(b"c" * 20, random=b"r" * 32, session=b"s" * 32))
    assert (read.cookie, read.random) == (b"c" * 20, b"r" * 32)
    assert read.fixed == parse_client_hello(hello(random=b"r" * 32, session=b"s" * 32)).fixed


@pytest.mark.parametrize("cut", range(len(hello())))
def test_a_truncated_one_is_refused(cut: int) -> None:
    with pytest.raises(StunParseError):
        parse_client_hello(hello()[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"\x17" + hello()[1:],
        hello()[:13] + b"\x02" + hello()[14:],
        hello()[:19] + b"\x00\x00\x01" + hello()[22:],
        hello()[:3] + b"\x00\x01" + hello()[5:],
    ],
    ids=["application data", "ServerHello", "a later fragment", "encrypted"],
)
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(StunParseError):
        parse_client_hello(data)


def test_a_short_secret_is_misuse() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        CookieExchange(b"short")
    assert is_handshake(hello())
    assert not is_handshake(b"")
