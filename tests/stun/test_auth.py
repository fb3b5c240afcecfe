"""The client's side of RFC 8489 section 9, against challenges made by hand."""

from __future__ import annotations

from typing import Any

import pytest

from stun import attributes as att
from stun.auth import Anonymous, LongTermClient, ShortTermClient, Verdict
from stun.integrity import Integrity, long_term_key, userhash
from stun.message import Message, MessageClass, Method, parse
from stun.values import PasswordAlgorithm, PasswordAlgorithmChoice

REQUEST = Message(Method.BINDING, MessageClass.REQUEST, bytes(range(12)))
MD5 = PasswordAlgorithmChoice(1)
SHA256 = PasswordAlgorithmChoice(2)
MD5_KEY = long_term_key("user", "realm", "pass")
SHA256_KEY = long_term_key("user", "realm", "pass", PasswordAlgorithm.SHA256)
REALM = (att.REALM, "realm")
PLAIN = (att.NONCE, b"plain nonce")
PROMISED = (att.NONCE, b"obMatJos2gAAA and more")
ANONYMOUS = (att.NONCE, b"obMatJos2wAAA and more")
OFFER = (att.PASSWORD_ALGORITHMS, (MD5, SHA256))


def challenge(*pairs: tuple[att.Attribute[Any], Any], code: int = 401) -> Message:
    return parse(REQUEST.failure(code, "", *pairs).serialize())


def challenged(*pairs: tuple[att.Attribute[Any], Any]) -> LongTermClient:
    client = LongTermClient("user", "pass")
    assert client.judge(challenge(*pairs), client.token) is Verdict.RETRY
    return client


def signed(key: bytes, integrity: Integrity = Integrity.SHA1, *pairs: tuple[att.Attribute[Any], Any]) -> Message:
    return parse(REQUEST.success(*pairs).serialize(key, integrity=integrity))


def test_the_first_request_is_bare() -> None:
    client = LongTermClient("user", "pass")
    assert client.token is None
    assert parse(client.serialize(REQUEST, False)).attributes == []
    assert parse(client.serialize(REQUEST, True)).has_fingerprint
    assert client.judge(parse(REQUEST.success().serialize()), None) is Verdict.ACCEPT


def test_an_old_server() -> None:
    client = challenged(REALM, PLAIN)
    request = parse(client.serialize(REQUEST, False))
    assert request.attributes == [(att.USERNAME, "user"), REALM, PLAIN]
    assert request.integrity is Integrity.SHA1
    assert request.verify_integrity(MD5_KEY)
    assert (client.realm, client.key) == ("realm", MD5_KEY)
    assert client.judge(signed(MD5_KEY), client.token) is Verdict.ACCEPT
    assert client.judge(signed(b"wrong"), client.token) is Verdict.DISCARD
    assert client.judge(signed(MD5_KEY, Integrity.SHA256), client.token) is Verdict.DISCARD


def test_algorithms_are_echoed_and_sha256_is_chosen() -> None:
    client = challenged(REALM, PROMISED, OFFER)
    request = parse(client.serialize(REQUEST, True))
    assert request.attributes == [
        (att.USERNAME, "user"),
        REALM,
        PROMISED,
        OFFER,
        (att.PASSWORD_ALGORITHM, SHA256),
    ]
    assert request.integrity is Integrity.SHA256
    assert request.verify_integrity(SHA256_KEY)
    assert client.judge(signed(SHA256_KEY, Integrity.SHA256), client.token) is Verdict.ACCEPT
    assert client.judge(signed(SHA256_KEY, Integrity.SHA1), client.token) is Verdict.DISCARD


def test_anonymity() -> None:
    client = challenged(REALM, ANONYMOUS, OFFER)
    request = parse(client.serialize(REQUEST, False))
    assert att.USERNAME not in request
    assert request.get(att.USERHASH) == userhash("user", "realm")


@pytest.mark.parametrize("code", [401, 438])
def test_stripped_algorithms_are_a_bid_down(code: int) -> None:
    client = LongTermClient("user", "pass")
    assert client.judge(challenge(REALM, PROMISED, code=code), None) is Verdict.REFUSED
    assert client.token is None
    # Also when the nonce promised nothing, but algorithms were there before.
    knowing = challenged(REALM, PROMISED, OFFER)
    assert knowing.judge(challenge(REALM, PLAIN, code=438), knowing.token) is Verdict.REFUSED


def test_another_response_with_stripped_algorithms_is_ignored() -> None:
    client = challenged(REALM, PROMISED, OFFER)
    answer = signed(SHA256_KEY, Integrity.SHA256, PROMISED)
    assert client.judge(answer, client.token) is Verdict.DISCARD


def test_nothing_that_we_can_use() -> None:
    client = LongTermClient("user", "pass")
    offer = (att.PASSWORD_ALGORITHMS, (PasswordAlgorithmChoice(77), PasswordAlgorithmChoice(2, b"parameters")))
    assert client.judge(challenge(REALM, PROMISED, offer), None) is Verdict.REFUSED
    assert client.judge(challenge(REALM), None) is Verdict.REFUSED
    assert client.judge(challenge(PLAIN), None) is Verdict.REFUSED
    assert client.judge(challenge((att.REALM, "\u00ad"), PLAIN), None) is Verdict.REFUSED


def test_the_same_credentials_are_not_tried_twice() -> None:
    client = challenged(REALM, PLAIN)
    again = challenge(REALM, (att.NONCE, b"another"))
    assert client.judge(again, client.token) is Verdict.REFUSED
    # Another realm has another key.
    assert client.judge(challenge((att.REALM, "other"), PLAIN), client.token) is Verdict.RETRY


def test_a_stale_nonce_is_replaced() -> None:
    client = challenged(REALM, PLAIN)
    fresh = (att.NONCE, b"fresh")
    assert client.judge(challenge(REALM, fresh, code=438), client.token) is Verdict.RETRY
    assert parse(client.serialize(REQUEST, False)).get(att.NONCE) == b"fresh"
    # Without REALM, which an old server may leave out, the realm stays.
    assert client.judge(challenge((att.NONCE, b"fresher"), code=438), client.token) is Verdict.RETRY
    assert client.token == b"fresher"


@pytest.mark.parametrize(
    "pairs",
    [
        ((att.REALM.code, b"r" * 128), (att.NONCE.code, b"nonce")),
        ((att.REALM.code, "\u3042".encode() * 128), (att.NONCE.code, b"nonce")),
        ((att.REALM.code, b"\0"), (att.NONCE.code, b"nonce")),
        ((att.REALM.code, b"r"), (att.NONCE.code, b"obMatJos2gAAA"), (0x8002, bytes(4) * 65 + b"\0\2\0\0")),
        ((att.REALM.code, b"r"), (att.NONCE.code, b"obMatJos2gAAA"), (0x8002, b"\0\2\0\0\0\7\xf0\0" + bytes(0xF000))),
    ],
)
def test_a_challenge_that_must_not_be_echoed_is_refused(pairs: tuple[tuple[int, bytes], ...]) -> None:
    """Longer values are read than may be sent (14.9, 14.11): no challenge may make a request fail."""
    response = REQUEST.failure(401, "")
    for code, value in pairs:
        response.add(att.unknown_attribute(code), value)
    client = LongTermClient("user", "pass")
    assert client.judge(parse(response.serialize()), client.token) is Verdict.REFUSED
    assert parse(client.serialize(REQUEST, True)).attributes == []


def test_the_longest_challenge_that_may_be_is_echoed() -> None:
    longest = (att.REALM, "r" * 127), (att.NONCE, b"obMatJos2gAAA".ljust(763, b"n"))
    client = challenged(*longest, (att.PASSWORD_ALGORITHMS, (PasswordAlgorithmChoice(9),) * 63 + (SHA256,)))
    assert parse(client.serialize(REQUEST, True)).get(att.REALM) == "r" * 127


def test_user_names_are_prepared_before_they_are_sent() -> None:
    """Section 14.3: USERNAME is an OpaqueString, as the name in the key is."""
    decomposed, composed = "rene\u0301\u00a0x", "ren\u00e9 x"
    client = LongTermClient(decomposed, "pass")
    assert client.judge(challenge(REALM, PLAIN), None) is Verdict.RETRY
    assert parse(client.serialize(REQUEST, False)).get(att.USERNAME) == composed
    short = ShortTermClient(decomposed, "pass")
    assert parse(short.serialize(REQUEST, False)).get(att.USERNAME) == composed


@pytest.mark.parametrize("name", ["x" * 509, "\u00e4" * 255, "", "a\0b"])
def test_names_that_cannot_be_sent(name: str) -> None:
    client = LongTermClient(name, "pass")
    assert client.judge(challenge(REALM, PLAIN), None) is Verdict.REFUSED
    with pytest.raises(ValueError):
        ShortTermClient(name, "pass")


def test_a_signed_request_fits_a_datagram() -> None:
    """Section 6.1: 576 bytes of IPv4, that is 548 of UDP, with names and a nonce of an ordinary size."""
    client = LongTermClient("u" * 64, "pass")
    nonce = (att.NONCE, b"obMatJos2wAAA".ljust(64, b"n"))
    assert client.judge(challenge((att.REALM, "r" * 64), nonce, OFFER), None) is Verdict.RETRY
    assert len(client.serialize(REQUEST, True)) <= 548


def test_requests_under_way_do_not_use_up_challenges() -> None:
    client = challenged(REALM, PLAIN)
    old = client.token
    verdicts = [client.judge(challenge(REALM, (att.NONCE, b"n%d" % number), code=438), old) for number in range(20)]
    assert verdicts == [Verdict.RETRY] * 20
    assert client.token == b"n0"


def test_an_unsigned_error_is_discarded_once_we_sign() -> None:
    client = challenged(REALM, PLAIN)
    assert client.judge(parse(REQUEST.failure(400, "").serialize()), client.token) is Verdict.DISCARD
    genuine = parse(REQUEST.failure(500, "").serialize(MD5_KEY))
    assert client.judge(genuine, client.token) is Verdict.ACCEPT


def test_short_term_requests_carry_both_until_the_server_chose() -> None:
    client = ShortTermClient("user", "secret")
    assert client.token == b""
    first = parse(client.serialize(REQUEST, True))
    assert first.attributes == [(att.USERNAME, "user")]
    assert first.integrity is Integrity.BOTH
    assert first.verify_integrity(b"secret", Integrity.BOTH)
    assert client.judge(signed(b"secret", Integrity.SHA256), client.token) is Verdict.ACCEPT
    assert parse(client.serialize(REQUEST, True)).integrity is Integrity.SHA256
    assert client.judge(signed(b"secret", Integrity.SHA1), client.token) is Verdict.DISCARD
    assert client.judge(signed(b"secret", Integrity.BOTH), client.token) is Verdict.DISCARD
    other = ShortTermClient("user", "secret")
    assert other.judge(signed(b"secret", Integrity.BOTH), other.token) is Verdict.ACCEPT
    assert other.integrity is Integrity.SHA256


def test_short_term_wants_signatures() -> None:
    client = ShortTermClient("user", "secret", Integrity.SHA1)
    assert client.judge(parse(REQUEST.success().serialize()), b"") is Verdict.DISCARD
    assert client.judge(signed(b"guess"), b"") is Verdict.DISCARD
    assert client.judge(signed(b"secret"), b"") is Verdict.ACCEPT


def test_anonymous() -> None:
    client = Anonymous()
    assert client.token is None
    assert client.serialize(REQUEST, False) == REQUEST.serialize()
    assert client.judge(REQUEST.success(), None) is Verdict.ACCEPT
