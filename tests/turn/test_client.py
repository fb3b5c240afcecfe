"""The TURN client against a small server in virtual time: allocating, every message counted."""

from __future__ import annotations

import random

import pytest

from stun import attributes as att
from stun.message import Method, parse
from stun.values import AddressFamily, PasswordAlgorithm
from tests.turn.fake_server import (
    CLIENT,
    PATH,
    PEER,
    RELAYED,
    RELAYED6,
    SERVER,
    STREAM,
    FakeServer,
    Refusal,
    Stage,
    failure,
)
from turn import errors
from turn.client import TurnClient
from turn.config import ChannelPolicy, EvenPort, RelayTransport, TurnClientConfig, TurnServerConfig
from turn.events import (
    Allocated,
    FamilyLost,
    PermissionFailed,
)


@pytest.mark.parametrize("path", [PATH, STREAM])
def test_an_allocation_takes_four_messages(path: object) -> None:
    stage = Stage(path=path)  # type: ignore[arg-type]
    stage.start()
    assert stage.methods() == ["ALLOCATE", "ALLOCATE"]
    assert stage.replies == 2
    assert stage.events == [Allocated((RELAYED,), CLIENT, 600)]
    assert (stage.client.relayed, stage.client.mapped) == ((RELAYED,), CLIENT)
    bare, signed = stage.server.requests
    forbidden = (att.USERNAME, att.USERHASH, att.REALM, att.NONCE, att.PASSWORD_ALGORITHM, att.PASSWORD_ALGORITHMS)
    assert not any(attribute in bare for attribute in forbidden)
    assert bare.integrity is None
    assert bare.get_all(att.REQUESTED_TRANSPORT) == [17]
    assert bare.transaction_id != signed.transaction_id
    # The server offers both hashes and anonymity: SHA-256 and USERHASH it is (RFC 8656 section 5, RFC 8489 9.2.5).
    assert signed.get(att.PASSWORD_ALGORITHM).algorithm == PasswordAlgorithm.SHA256  # type: ignore[union-attr]
    assert att.USERHASH in signed
    assert att.USERNAME not in signed


def test_an_old_server_gets_md5_and_the_user_name() -> None:
    stage = Stage(FakeServer(algorithms=())).start()
    assert stage.of(Allocated)
    signed = stage.server.requests[1]
    assert signed.get(att.USERNAME) == "maria"
    assert att.PASSWORD_ALGORITHM not in signed
    assert signed.sha1_position
    assert not signed.sha256_position


def test_an_allocation_starts_once() -> None:
    stage = Stage().start()
    with pytest.raises(ValueError, match="once"):
        stage.client.start(0.0)


def test_what_is_asked_for_is_in_the_request() -> None:
    tuning = TurnClientConfig(keepalive=None, software="a client")
    stage = Stage(tuning=tuning, lifetime=900, dont_fragment=True, even_port=EvenPort.EVEN_AND_RESERVE_NEXT).start()
    request = stage.server.requests[1]
    assert request.get(att.LIFETIME) == 900
    assert request.get(att.EVEN_PORT) is True
    assert request.get(att.SOFTWARE) == "a client"
    assert att.DONT_FRAGMENT in request
    (event,) = stage.of(Allocated)
    assert isinstance(event, Allocated)
    assert event.reservation_token == b"reserved"
    other = Stage(reservation_token=event.reservation_token).start()
    assert other.server.requests[1].get(att.RESERVATION_TOKEN) == b"reserved"
    assert att.EVEN_PORT not in other.server.requests[1]


def test_families() -> None:
    six = Stage(families=(6,)).start()
    assert six.server.requests[1].get(att.REQUESTED_ADDRESS_FAMILY) == AddressFamily.IPV6
    assert six.client.relayed == (RELAYED6,)
    dual = Stage(families=(4, 6)).start()
    request = dual.server.requests[1]
    assert request.get(att.ADDITIONAL_ADDRESS_FAMILY) == AddressFamily.IPV6
    assert att.REQUESTED_ADDRESS_FAMILY not in request
    assert dual.client.relayed == (RELAYED, RELAYED6)


def test_a_missing_family_of_two_is_told_and_is_no_failure() -> None:
    server = FakeServer()
    del server.families[6]
    stage = Stage(server, families=(4, 6)).start()
    (event,) = stage.of(Allocated)
    assert isinstance(event, Allocated)
    assert event.relayed == (RELAYED,)
    (problem,) = event.family_errors
    assert isinstance(problem, errors.TurnAddressFamilyError)
    assert "IPv6" in str(problem)
    stage.run(until=2000.0)
    assert all(att.ADDITIONAL_ADDRESS_FAMILY not in request for request in stage.server.requests[2:])


def test_a_family_that_was_not_asked_for_is_given_back() -> None:
    server = FakeServer()
    server.families[4] = RELAYED6
    stage = Stage(server).start()
    assert isinstance(failure(stage), errors.TurnAddressFamilyError)
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "REFRESH"]
    assert stage.server.requests[-1].get(att.LIFETIME) == 0


def test_one_of_two_families_can_be_given_back() -> None:
    stage = Stage(families=(4, 6)).start()
    stage.client.delete_family(4, stage.now)
    stage.pump()
    request = stage.server.requests[-1]
    assert (request.get(att.LIFETIME), request.get(att.REQUESTED_ADDRESS_FAMILY)) == (0, AddressFamily.IPV4)
    assert stage.client.relayed == (RELAYED6,)
    assert stage.of(FamilyLost) == [FamilyLost(4)]
    with pytest.raises(ValueError, match="IPv6"):
        stage.client.delete_family(6, stage.now)
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    assert stage.server.count(Method.CREATE_PERMISSION) == 0


def test_a_family_that_was_given_back_takes_its_permissions_and_channels_along() -> None:
    tuning = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)
    stage = Stage(families=(4, 6), tuning=tuning).start()
    six = PEER._replace(host="2001:db8::5")
    for peer in (PEER, six):
        stage.client.bind_channel(peer, stage.now)
    stage.pump()
    stage.client.delete_family(4, stage.now)
    with pytest.raises(ValueError, match="IPv6"):
        stage.client.delete_family(6, stage.now)
    stage.pump()
    assert (stage.client.is_permitted(PEER.host), stage.client.has_channel(PEER)) == (False, False)
    assert (stage.client.is_permitted(six.host), stage.client.has_channel(six)) == (True, True)
    assert [event.host for event in stage.of(PermissionFailed) if isinstance(event, PermissionFailed)] == [PEER.host]
    before = len(stage.server.requests)
    stage.run(until=1200.0)
    peers = {peer for request in stage.server.requests[before:] for peer in request.get_all(att.XOR_PEER_ADDRESS)}
    assert {peer.host for peer in peers} == {six.host}


def test_a_family_that_is_kept_after_all_may_be_given_back_later() -> None:
    server = FakeServer()
    stage = Stage(server, families=(4, 6)).start()
    server.refuse(Method.REFRESH, 500)
    for _ in range(2):
        stage.client.delete_family(4, stage.now)
        stage.pump()
    assert stage.client.relayed == (RELAYED6,)


REFUSALS = [
    (300, errors.TurnRedirectError),
    (400, errors.TurnBadRequestError),
    (403, errors.TurnForbiddenError),
    (420, errors.TurnUnknownAttributeError),
    (437, errors.TurnAllocationMismatchError),
    (440, errors.TurnAddressFamilyError),
    (441, errors.TurnWrongUserError),
    (442, errors.TurnTransportError),
    (486, errors.TurnQuotaError),
    (500, errors.TurnServerError),
    (508, errors.TurnCapacityError),
]


@pytest.mark.parametrize(("code", "kind"), REFUSALS)
def test_each_refusal_has_its_own_error_and_is_not_asked_again(code: int, kind: type[errors.TurnError]) -> None:
    server = FakeServer()
    server.refuse(Method.ALLOCATE, code)
    stage = Stage(server).start()
    stage.run(until=600.0)
    error = failure(stage)
    assert type(error) is kind
    assert error.code == code
    assert "turn:turn.example.org" in error.server
    assert str(SERVER) in str(error)
    assert str(code) in str(error)
    assert stage.methods() == ["ALLOCATE", "ALLOCATE"]
    assert stage.client.next_timeout() is None
    assert (error.retry_after or 0) >= (60 if code in (437, 486, 508) else 0)


def test_a_wrong_password_is_not_tried_twice() -> None:
    stage = Stage(username="maria", password="guess").start()
    assert isinstance(failure(stage), errors.TurnCredentialsError)
    assert len(stage.sent) == 2


def test_a_server_that_finds_every_nonce_stale_is_given_up() -> None:
    server = FakeServer(algorithms=())
    stale = [(att.REALM, "example.org"), (att.NONCE, b"another")]
    server.refuse(Method.ALLOCATE, *[Refusal(438, stale, signed=False)] * 20)  # type: ignore[arg-type]
    stage = Stage(server).start()
    error = failure(stage)
    assert isinstance(error, errors.TurnStaleNonceError)
    assert error.code == 438
    assert len(stage.sent) <= TurnClientConfig().max_attempts


def test_a_server_that_wants_a_user_says_so_to_one_who_is_none() -> None:
    stage = Stage(username=None, password=None).start()
    error = failure(stage)
    assert isinstance(error, errors.TurnCredentialsError)
    assert "wants a user name" in str(error)
    assert len(stage.sent) == 1


def test_a_silent_server_is_given_up_on_schedule() -> None:
    stage = Stage()
    stage.lose = True
    stage.start()
    stage.run(until=100.0)
    error = failure(stage)
    assert isinstance(error, errors.TurnTimeoutError)
    assert isinstance(error, TimeoutError)
    assert len(stage.sent) == 7
    stream = Stage(path=STREAM)
    stream.lose = True
    stream.start()
    stream.run(until=39.4)
    assert not stream.events
    stream.run(until=39.6)
    assert isinstance(failure(stream), errors.TurnTimeoutError)
    assert len(stream.sent) == 1


def test_a_challenge_without_its_algorithms_is_a_bid_down() -> None:
    stage = Stage()
    stage.client.start(0.0)
    effect = stage.client.next_effect()
    request = parse(effect.data)  # type: ignore[union-attr]
    response = request.failure(401, "No", (att.REALM, "example.org"), (att.NONCE, b"obMatJos2gAAAnonce"))
    stage.feed(response.serialize())
    stage.pump()
    assert isinstance(failure(stage), errors.TurnDowngradeError)


def test_unsigned_answers_to_signed_requests_are_an_integrity_violation() -> None:
    server = FakeServer()
    server.refuse(Method.ALLOCATE, *[Refusal(486, signed=False)] * 7)
    stage = Stage(server).start()
    assert not stage.events, "over UDP it is as if they had never come"
    stage.run(until=100.0)
    error = failure(stage)
    assert isinstance(error, errors.TurnIntegrityError)
    assert "486" in str(error)
    server = FakeServer()
    server.refuse(Method.ALLOCATE, Refusal(486, signed=False))
    assert isinstance(failure(Stage(server, path=STREAM).start()), errors.TurnIntegrityError)


def test_a_redirect_is_followed_only_when_it_is_signed() -> None:
    alternate = [(att.ALTERNATE_SERVER, PEER), (att.ALTERNATE_DOMAIN, "other.example.org")]
    server = FakeServer()
    server.refuse(Method.ALLOCATE, Refusal(300, alternate))  # type: ignore[arg-type]
    error = failure(Stage(server).start())
    assert isinstance(error, errors.TurnRedirectError)
    assert (error.alternates, error.domain, error.is_signed) == ((PEER,), "other.example.org", True)
    unsigned = Stage()
    unsigned.client.start(0.0)
    request = parse(unsigned.client.next_effect().data)  # type: ignore[union-attr]
    unsigned.feed(request.failure(300, "Go", *alternate).serialize())  # type: ignore[arg-type]
    unsigned.pump()
    error = failure(unsigned)
    assert isinstance(error, errors.TurnRedirectError)
    assert (error.alternates, error.is_signed) == ((PEER,), False)


def test_a_response_without_addresses_is_given_back() -> None:
    server = FakeServer()
    server.families.clear()
    stage = Stage(server).start()
    assert isinstance(failure(stage), errors.TurnProtocolError)
    assert stage.server.requests[-1].get(att.LIFETIME) == 0


def test_a_tcp_allocation_needs_a_stream() -> None:
    config = TurnServerConfig(url="turn:h", transport=RelayTransport.TCP)
    with pytest.raises(ValueError, match="6062"):
        TurnClient(config, PATH, random.Random(1))


@pytest.mark.parametrize("length", [128, 600])
def test_a_realm_that_is_too_long_to_echo_is_a_failure_and_not_an_exception(length: int) -> None:
    long_realm: att.Attribute[bytes] = att.Attribute(0x0014, "REALM", lambda value, _: value, lambda data, _: data)
    stage = Stage()
    stage.client.start(0.0)
    request = parse(stage.client.next_effect().data)  # type: ignore[union-attr]
    stage.feed(request.failure(401, "No", (long_realm, b"r" * length), (att.NONCE, b"n")).serialize())
    stage.pump()
    error = failure(stage)
    assert isinstance(error, errors.TurnCredentialsError)
    assert str(SERVER) in str(error)
    assert stage.client.next_timeout() is None


@pytest.mark.parametrize(("username", "password"), [("u" * 600, "p"), ("u\x07", "p"), ("u", "p\x07")])
def test_credentials_that_cannot_be_sent_are_the_callers_mistake(username: str, password: str) -> None:
    with pytest.raises(ValueError, match=r"USERNAME|OpaqueString"):
        Stage(username=username, password=password)
