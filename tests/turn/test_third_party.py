"""Third-party authorization (RFC 7635): our client and our server, in virtual time, every message looked at."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import Integrity
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method, parse
from tests.turn.service.stage import PEER, SERVER, UNIX
from tests.turn.service.stage import Stage as ServerStage
from turn import errors
from turn.access_token import TokenContents, TokenKey, seal_token
from turn.client import TurnClient
from turn.config import AccessToken, ChannelPolicy, TurnClientConfig, TurnServerConfig
from turn.events import Allocated, AllocationFailed, AllocationLost, CredentialsWanted, Moved, PermissionGranted
from turn.service.config import TokenConfig
from turn.service.server import TurnServer

KEY = TokenKey(kid="north", key=bytes(range(32)))
NAME = "turn.example.org"
TOKENS = TokenConfig(server_name=NAME, keys=(KEY,))
CLIENT = TransportAddress("192.0.2.1", 1000)
PATH = FiveTuple(CLIENT, SERVER)


async def provider(server_name: str) -> AccessToken:
    raise AssertionError("a machine never calls it")


class Pair:
    """A client, the server, and an authorization server that hands out tokens of ``lifetime`` seconds."""

    def __init__(self, *, tokens: TokenConfig | None = TOKENS, lifetime: int = 3600, **settings: Any) -> None:
        self.lifetime = lifetime
        self.skew = 0.0
        """How much later than the server's clock the tokens are dated."""
        self.key, self.name = KEY, NAME
        self.given: list[AccessToken] = []
        self.stage = ServerStage(tokens=tokens, mobility=True)
        tuning = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)
        given: dict[str, Any] = {"url": "turn:h", "access_tokens": provider, "client": tuning}
        self.client = TurnClient(TurnServerConfig(**(given | settings)), PATH, random.Random(2))
        self.events: list[Any] = []
        self.requests: list[Message] = []
        self.answers: list[Message] = []
        self.may_have_tokens = True

    def token(self) -> AccessToken:
        mac_key = bytes([len(self.given) + 1]) * 20
        issued = UNIX + self.stage.now + self.skew
        nonce = len(self.given).to_bytes(12, "big")
        sealed = seal_token(self.key, self.name, TokenContents(mac_key, issued, self.lifetime), nonce)
        self.given.append(AccessToken(self.key.kid, sealed, mac_key, float(self.lifetime)))
        return self.given[-1]

    def pump(self) -> None:
        while True:
            while (effect := self.client.next_effect()) is not None:
                assert isinstance(effect, Transmit)
                self.requests.append(parse(effect.data))
                back = FiveTuple(effect.path.remote, effect.path.local)
                for reply in self.stage.receive(effect.data, back):
                    self.answers.append(parse(reply))
                    self.client.receive_datagram(reply, effect.path, self.stage.now)
            if (event := self.client.next_event()) is None:
                return
            self.events.append(event)
            if isinstance(event, CredentialsWanted):
                if self.may_have_tokens:
                    assert event.server_name == NAME
                    self.client.renew(self.token(), self.stage.now)
                else:
                    self.client.renewal_failed(errors.TurnCredentialsError("no more tokens"), self.stage.now)

    def start(self) -> Pair:
        self.client.start(self.stage.now)
        self.pump()
        return self

    def run(self, seconds: float) -> None:
        until = self.stage.now + seconds
        while (deadline := self.client.next_timeout()) is not None and deadline.at <= until:
            self.stage.wait(max(0.0, deadline.at - self.stage.now))
            self.client.handle_timeout(self.stage.now)
            self.pump()
        self.stage.wait(until - self.stage.now)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def test_the_token_goes_with_allocate_and_refresh_alone_and_signs_everything() -> None:
    pair = Pair().start()
    (allocated,) = pair.of(Allocated)
    assert allocated.lifetime == 600
    assert [request.method for request in pair.requests] == [Method.ALLOCATE] * 2
    bare, signed = pair.requests
    assert bare.integrity is None
    assert att.ACCESS_TOKEN not in bare
    assert pair.answers[0].get(att.THIRD_PARTY_AUTHORIZATION) == NAME
    assert signed.get(att.USERNAME) == "north"
    assert signed.get(att.ACCESS_TOKEN) == pair.given[0].token
    assert signed.verify_integrity(pair.given[0].mac_key, Integrity.SHA1)
    pair.client.bind_channel(PEER, pair.stage.now)
    pair.run(1200.0)
    assert pair.of(PermissionGranted)
    assert not pair.of(AllocationLost)
    for request in pair.requests[2:]:
        carries = request.method in (Method.ALLOCATE, Method.REFRESH)
        assert (att.ACCESS_TOKEN in request) is carries
        assert request.verify_integrity(pair.given[0].mac_key, Integrity.SHA1)
    assert {request.method for request in pair.requests} == {
        Method.ALLOCATE,
        Method.REFRESH,
        Method.CREATE_PERMISSION,
        Method.CHANNEL_BIND,
    }
    signed_answers = [answer for answer in pair.answers if answer.message_class is MessageClass.SUCCESS]
    assert all(answer.verify_integrity(pair.given[0].mac_key, Integrity.SHA1) for answer in signed_answers)


def test_an_allocation_lives_no_longer_than_its_token_and_on_with_the_next() -> None:
    pair = Pair(lifetime=300)
    pair.start()
    (allocated,) = pair.of(Allocated)
    assert allocated.lifetime <= 300
    pair.client.create_permission([PEER.host], pair.stage.now)
    pair.run(3600.0)
    assert not pair.of(AllocationLost)
    assert len(pair.given) > 10
    lifetimes = [answer.get(att.LIFETIME) for answer in pair.answers if answer.get(att.LIFETIME) is not None]
    assert max(lifetime for lifetime in lifetimes if lifetime is not None) <= 300
    refused = [answer for answer in pair.answers if answer.error is not None and answer.error.code == 401]
    assert len(refused) == 1, "the first challenge; each new token is there before the old one ends"
    assert len(pair.stage.server.allocations) == 1


def test_a_new_token_goes_to_the_server_before_anything_is_signed_with_it() -> None:
    pair = Pair(lifetime=600).start()
    pair.client.create_permission([PEER.host], pair.stage.now)
    pair.pump()
    old, new = pair.given[0], pair.token()
    before = len(pair.requests)
    pair.client.renew(new, pair.stage.now)
    refresh = pair.client.next_effect()
    assert isinstance(refresh, Transmit), "at once, not when the next one is due"
    assert parse(refresh.data).get(att.ACCESS_TOKEN) == new.token
    # That one is lost; what the server gets meanwhile it can still check.
    pair.client.create_permission(["203.0.113.8"], pair.stage.now)
    pair.pump()
    assert pair.requests[before].method is Method.CREATE_PERMISSION
    assert pair.requests[before].verify_integrity(old.mac_key, Integrity.SHA1)
    assert PermissionGranted("203.0.113.8") in pair.events
    pair.run(1.0)
    pair.client.create_permission(["203.0.113.9"], pair.stage.now)
    pair.pump()
    assert pair.requests[-1].verify_integrity(new.mac_key, Integrity.SHA1)
    assert PermissionGranted("203.0.113.9") in pair.events


def test_without_a_next_token_the_allocation_ends_for_that_reason() -> None:
    pair = Pair(lifetime=300).start()
    pair.may_have_tokens = False
    pair.run(400.0)
    (lost,) = pair.of(AllocationLost)
    assert isinstance(lost.error, errors.TurnCredentialsError | errors.TurnExpiredError)
    assert not pair.stage.server.allocations


@pytest.mark.parametrize("skew", [0.0, 4.0, -3600.0])
def test_clocks_may_differ_a_little(skew: float) -> None:
    pair = Pair()
    pair.skew = skew
    pair.start()
    (allocated,) = pair.of(Allocated)
    left = 3600 + 5 - abs(skew)
    assert allocated.lifetime <= left


@pytest.mark.parametrize("what", ["key", "name", "kid", "old", "ahead", "junk"])
def test_tokens_that_are_not_good_here(what: str) -> None:
    pair = Pair()
    match what:
        case "key":
            pair.key = TokenKey(kid="north", key=bytes(32))
        case "name":
            pair.name = "other.example.org"
        case "kid":
            pair.key = TokenKey(kid="south", key=KEY.key)
        case "old":
            pair.skew = -3606.0
        case "ahead":
            pair.skew = 3606.0
        case "junk":
            pair.token = lambda: AccessToken("north", b"junk", bytes(20))  # type: ignore[method-assign]
    pair.start()
    (failed,) = pair.of(AllocationFailed)
    assert isinstance(failed.error, errors.TurnCredentialsError)
    assert failed.error.code == 401
    assert not pair.stage.server.allocations
    assert len(pair.requests) == 2, "and the same is not tried again"


def test_a_server_that_takes_no_tokens() -> None:
    pair = Pair(tokens=None).start()
    (failed,) = pair.of(AllocationFailed)
    assert isinstance(failed.error, errors.TurnCredentialsError)
    assert "takes no access tokens" in str(failed.error)
    assert not pair.of(CredentialsWanted)
    fallback = Pair(tokens=None, username="alice", password="wonder").start()
    assert fallback.of(Allocated)
    assert not fallback.of(CredentialsWanted)
    assert fallback.client.uses_sha256
    wrong = Pair(tokens=None, username="alice", password="guess").start()
    assert isinstance(wrong.of(AllocationFailed)[0].error, errors.TurnCredentialsError)
    assert not wrong.of(CredentialsWanted)


def test_tokens_go_before_names_and_passwords() -> None:
    pair = Pair(username="alice", password="wonder").start()
    assert pair.of(Allocated)
    assert pair.requests[1].get(att.USERNAME) == "north"


def test_users_with_passwords_are_still_let_in() -> None:
    pair = Pair(access_tokens=None, username="alice", password="wonder").start()
    assert pair.of(Allocated)
    assert pair.answers[0].get(att.THIRD_PARTY_AUTHORIZATION) == NAME


def test_a_response_that_the_tokens_key_did_not_sign_counts_for_nothing() -> None:
    pair = Pair().start()
    pair.client.create_permission([PEER.host], pair.stage.now)
    effect = pair.client.next_effect()
    assert isinstance(effect, Transmit)
    request = parse(effect.data)
    for forged in (request.success().serialize(), request.success().serialize(bytes(20), False, Integrity.SHA1)):
        pair.client.receive_datagram(forged, PATH, pair.stage.now)
        pair.pump()
    assert not pair.of(PermissionGranted)


def test_the_holder_of_another_token_has_no_part_in_an_allocation() -> None:
    pair = Pair().start()
    other = Pair()
    other.stage = pair.stage
    other.given.append(other.token())
    # The same 5-tuple and a good token of somebody else, but no nonce that was made for this client.
    thief = other.token()
    request = Message(Method.REFRESH, MessageClass.REQUEST, bytes(12)).add(att.LIFETIME, 0)
    request.add(att.USERNAME, "north").add(att.REALM, "example.org").add(att.NONCE, b"obMatJos2wAAAguess")
    request.add(att.ACCESS_TOKEN, thief.token)
    pair.stage.receive(request.serialize(thief.mac_key, False, Integrity.SHA1), FiveTuple(SERVER, CLIENT))
    assert len(pair.stage.server.allocations) == 1


def test_it_moves_with_its_token() -> None:
    pair = Pair(mobility=True).start()
    new = PATH._replace(local=CLIENT._replace(port=2000))
    pair.client.move(new, pair.stage.now)
    pair.pump()
    assert pair.of(Moved) == [Moved(new)]
    pair.run(700.0)
    assert not pair.of(AllocationLost)


def test_settings_of_tokens() -> None:
    for name, keys, delta in (("", (KEY,), 5.0), ("n", (), 5.0), ("n", (KEY, KEY), 5.0), ("n", (KEY,), -1.0)):
        with pytest.raises(ValueError, match="token"):
            TokenConfig(server_name=name, keys=keys, delta=delta)
    stage = ServerStage()
    with pytest.raises(ValueError, match="clock"):
        TurnServer(replace(stage.server.config, tokens=TOKENS), stage.server._users, random.Random(1))
    with pytest.raises(ValueError, match="tokens or credentials"):
        TurnServerConfig(url="turn:h", access_tokens=provider, credentials=provider)  # type: ignore[arg-type]
