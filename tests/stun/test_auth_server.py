"""The server's side of RFC 8489 section 9, in the order of section 9.2.4."""

from __future__ import annotations

import random
from typing import Any

import pytest

from stun import attributes as att
from stun.address import TransportAddress
from stun.auth import LongTermClient, Verdict
from stun.auth_server import (
    Authenticated,
    LongTermServer,
    LongTermServerConfig,
    Refused,
    ShortTermServer,
    StaticCredentials,
)
from stun.integrity import Integrity, long_term_key, userhash
from stun.message import Message, MessageClass, Method, parse
from stun.nonce import SecurityFeature, features_of
from stun.values import PasswordAlgorithm, PasswordAlgorithmChoice

TID = bytes(range(12))
CLIENT = TransportAddress("192.0.2.1", 1000)
MD5_KEY = long_term_key("user", "realm", "pass")
SHA256_KEY = long_term_key("user", "realm", "pass", PasswordAlgorithm.SHA256)
BOTH = (PasswordAlgorithmChoice(2), PasswordAlgorithmChoice(1))
Pairs = tuple[att.Attribute[Any], Any]


def a_server(**settings: Any) -> LongTermServer:
    config = LongTermServerConfig(realm="realm", **settings)
    return LongTermServer(config, StaticCredentials("realm", {"user": "pass"}), random.Random(5))


def request(*pairs: Pairs, key: bytes | None = None, integrity: Integrity = Integrity.SHA1) -> Message:
    message = Message(Method.BINDING, MessageClass.REQUEST, TID, list(pairs))
    return parse(message.serialize(key, integrity=integrity))


def refusal(verdict: Authenticated | Refused) -> Message:
    assert isinstance(verdict, Refused)
    assert verdict.response is not None
    response = parse(verdict.response.serialize())
    assert response.transaction_id == TID
    assert not {att.USERNAME, att.USERHASH} & {attribute for attribute, _ in response.attributes}
    assert response.integrity is None
    return response


def code(verdict: Authenticated | Refused) -> int:
    error = refusal(verdict).error
    assert error is not None
    return error.code


def nonce_of(server: LongTermServer, now: float = 0.0) -> Pairs:
    nonce = refusal(server.check(request(), CLIENT, now)).get(att.NONCE)
    assert nonce is not None
    return (att.NONCE, nonce)


USER: Pairs = (att.USERNAME, "user")
REALM: Pairs = (att.REALM, "realm")
LIST: Pairs = (att.PASSWORD_ALGORITHMS, BOTH)
CHOICE: Pairs = (att.PASSWORD_ALGORITHM, BOTH[0])


def test_the_challenge() -> None:
    response = refusal(a_server().check(request(USER), CLIENT, 0.0))
    assert response.error is not None
    assert response.error.code == 401
    assert response.get(att.REALM) == "realm"
    assert response.get(att.PASSWORD_ALGORITHMS) == BOTH
    promised = features_of(response.get(att.NONCE) or b"")
    assert promised == SecurityFeature.PASSWORD_ALGORITHMS | SecurityFeature.USERNAME_ANONYMITY


def test_a_server_of_rfc_5389_offers_nothing_new() -> None:
    response = refusal(a_server(algorithms=(), username_anonymity=False).check(request(), CLIENT, 0.0))
    assert att.PASSWORD_ALGORITHMS not in response
    assert features_of(response.get(att.NONCE) or b"") is SecurityFeature.NONE


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_signed_but_incomplete_is_400(missing: int) -> None:
    server = a_server()
    pairs = [USER, REALM, nonce_of(server)]
    del pairs[missing]
    response = refusal(server.check(request(*pairs, key=MD5_KEY), CLIENT, 0.0))
    assert response.error is not None
    assert response.error.code == 400
    assert not {att.NONCE, att.REALM} & {attribute for attribute, _ in response.attributes}


def test_without_algorithms_it_is_md5() -> None:
    server = a_server()
    verdict = server.check(request(USER, REALM, nonce_of(server), key=MD5_KEY), CLIENT, 0.0)
    assert verdict == Authenticated("user", MD5_KEY, Integrity.SHA1)
    reply = parse(verdict.sign(request().success(), fingerprint=True))
    assert reply.integrity is Integrity.SHA1
    assert reply.has_fingerprint
    assert reply.verify_integrity(MD5_KEY)


def test_md5_is_refused_by_a_server_that_does_not_offer_it() -> None:
    """Section 9.2.4: without PASSWORD-ALGORITHM it is MD5, which then is not in the list: 400."""
    server = a_server(algorithms=(PasswordAlgorithm.SHA256,))
    nonce = nonce_of(server)
    for integrity in (Integrity.SHA1, Integrity.SHA256):
        assert code(server.check(request(USER, REALM, nonce, key=MD5_KEY, integrity=integrity), CLIENT, 0.0)) == 400
    # A server that offers nothing finds the nonce of its former self stale.
    assert code(a_server(algorithms=()).check(request(USER, REALM, nonce, key=MD5_KEY), CLIENT, 0.0)) == 438
    # A nonce that promises nothing is none of ours: it gets one that does, and lets nobody in.
    plain = (att.NONCE, b"no cookie")
    assert code(server.check(request(USER, REALM, plain, key=MD5_KEY), CLIENT, 0.0)) == 438


def test_with_algorithms_it_is_sha256() -> None:
    server = a_server()
    dressed = request(USER, REALM, nonce_of(server), LIST, CHOICE, key=SHA256_KEY, integrity=Integrity.SHA256)
    verdict = server.check(dressed, CLIENT, 0.0)
    assert verdict == Authenticated("user", SHA256_KEY, Integrity.SHA256)
    assert parse(verdict.sign(request().success())).integrity is Integrity.SHA256


def test_userhash_names_the_user() -> None:
    server = a_server()
    pairs = ((att.USERHASH, userhash("user", "realm")), REALM, nonce_of(server))
    verdict = server.check(request(*pairs, key=MD5_KEY), CLIENT, 0.0)
    assert isinstance(verdict, Authenticated)
    assert verdict.username == "user"


@pytest.mark.parametrize(
    "pairs",
    [
        (LIST,),
        (CHOICE,),
        ((att.PASSWORD_ALGORITHMS, BOTH[::-1]), CHOICE),
        ((att.PASSWORD_ALGORITHMS, BOTH[:1]), CHOICE),
        (LIST, (att.PASSWORD_ALGORITHM, PasswordAlgorithmChoice(3))),
    ],
)
def test_a_tampered_offer_is_400(pairs: tuple[Pairs, ...]) -> None:
    server = a_server()
    dressed = request(USER, REALM, nonce_of(server), *pairs, key=SHA256_KEY, integrity=Integrity.SHA256)
    assert code(server.check(dressed, CLIENT, 0.0)) == 400


def test_an_algorithm_asks_for_its_signature() -> None:
    server = a_server()
    dressed = request(USER, REALM, nonce_of(server), LIST, CHOICE, key=SHA256_KEY, integrity=Integrity.SHA1)
    assert code(server.check(dressed, CLIENT, 0.0)) == 401


@pytest.mark.parametrize(
    ("pair", "realm", "key"),
    [
        (USER, "realm", b"wrong"),
        (USER, "other", MD5_KEY),
        ((att.USERNAME, "nobody"), "realm", MD5_KEY),
        ((att.USERNAME, "\u00ad"), "realm", MD5_KEY),
        ((att.USERHASH, bytes(32)), "realm", MD5_KEY),
    ],
)
def test_unknown_users_and_wrong_keys_are_challenged_alike(pair: Pairs, realm: str, key: bytes) -> None:
    server = a_server()
    dressed = request(pair, (att.REALM, realm), nonce_of(server), key=key)
    response = refusal(server.check(dressed, CLIENT, 0.0))
    assert response.error is not None
    assert response.error.code == 401
    assert {att.REALM, att.NONCE, att.PASSWORD_ALGORITHMS} <= {attribute for attribute, _ in response.attributes}


def test_stale_and_foreign_nonces_are_438() -> None:
    server = a_server(nonce_lifetime=60.0)
    dressed = request(USER, REALM, nonce_of(server), key=MD5_KEY)
    assert isinstance(server.check(dressed, CLIENT, 59.0), Authenticated)
    stale = refusal(server.check(dressed, CLIENT, 61.0))
    assert stale.error is not None
    assert stale.error.code == 438
    renewed = request(USER, REALM, (att.NONCE, stale.get(att.NONCE)), key=MD5_KEY)
    assert isinstance(server.check(renewed, CLIENT, 61.0), Authenticated)
    assert code(server.check(dressed, TransportAddress("192.0.2.1", 1001), 0.0)) == 438
    made_up = request(USER, REALM, (att.NONCE, b"made up"), key=MD5_KEY)
    assert code(server.check(made_up, CLIENT, 0.0)) == 438


def test_the_first_check_that_fails_decides() -> None:
    server = a_server(nonce_lifetime=60.0)
    stale = nonce_of(server)
    wrong_realm, nobody = (att.REALM, "other"), (att.USERNAME, "nobody")

    def judged(*pairs: Pairs, key: bytes | None = b"wrong") -> int:
        message = request(*pairs, key=key, integrity=Integrity.SHA256)
        return code(server.check(message, CLIENT, 100.0))

    assert judged(CHOICE, key=None) == 401  # unsigned, and everything is missing
    assert judged(nobody, REALM, CHOICE) == 400  # no nonce, before the algorithms and the user
    assert judged(nobody, wrong_realm, stale, CHOICE) == 400  # the algorithms, before the user
    assert judged(nobody, REALM, stale, LIST, CHOICE, key=SHA256_KEY) == 401  # the user, before the nonce
    assert judged(USER, REALM, stale, LIST, CHOICE) == 401  # the signature, before the nonce
    assert judged(USER, REALM, stale, LIST, CHOICE, key=SHA256_KEY) == 438


def test_indications_are_dropped() -> None:
    indication = parse(Message(Method.BINDING, MessageClass.INDICATION, TID).serialize())
    assert a_server().check(indication, CLIENT, 0.0) == Refused(None)
    assert ShortTermServer(lambda name: b"key").check(indication) == Refused(None)


@pytest.mark.parametrize("settings", [{}, {"algorithms": ()}, {"algorithms": (PasswordAlgorithm.MD5,)}])
@pytest.mark.parametrize("anonymity", [False, True])
def test_our_client_is_let_in(settings: dict[str, Any], anonymity: bool) -> None:
    server = a_server(username_anonymity=anonymity, **settings)
    client = LongTermClient("user", "pass")
    bare = Message(Method.BINDING, MessageClass.REQUEST, TID)
    challenge = refusal(server.check(parse(client.serialize(bare, False)), CLIENT, 0.0))
    assert client.judge(challenge, None) is Verdict.RETRY
    verdict = server.check(parse(client.serialize(bare, True)), CLIENT, 0.0)
    assert isinstance(verdict, Authenticated)
    assert client.judge(parse(verdict.sign(bare.success())), client.token) is Verdict.ACCEPT


def test_short_term() -> None:
    server = ShortTermServer({"a:b": b"key"}.get)
    name: Pairs = (att.USERNAME, "a:b")
    assert code(server.check(request(name))) == 400
    assert code(server.check(request(key=b"key"))) == 400
    assert code(server.check(request((att.USERNAME, "x"), key=b"key"))) == 401
    assert code(server.check(request(name, key=b"wrong"))) == 401
    assert server.check(request(name, key=b"key")) == Authenticated("a:b", b"key", Integrity.SHA1)
    both = server.check(request(name, key=b"key", integrity=Integrity.BOTH))
    assert both == Authenticated("a:b", b"key", Integrity.SHA256)


def test_the_realm_is_prepared() -> None:
    """Section 14.9: REALM is an OpaqueString, whatever the operator's keyboard made of it."""
    server = LongTermServer(
        LongTermServerConfig(realm="cafe\u0301"), StaticCredentials("cafe\u0301", {"user": "pass"}), random.Random(5)
    )
    challenge = refusal(server.check(request(), CLIENT, 0.0))
    assert challenge.get(att.REALM) == "caf\u00e9"
    client = LongTermClient("user", "pass")
    assert client.judge(challenge, None) is Verdict.RETRY
    asked = Message(Method.BINDING, MessageClass.REQUEST, TID)
    assert isinstance(server.check(parse(client.serialize(asked, False)), CLIENT, 1.0), Authenticated)
    with pytest.raises(ValueError, match="OpaqueString"):
        LongTermServerConfig(realm="a\0b")


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError):
        LongTermServerConfig(realm="")
    with pytest.raises(ValueError):
        LongTermServerConfig(realm="r", nonce_lifetime=0)
    with pytest.raises(ValueError):
        StaticCredentials("realm", {"": "x"})
