from __future__ import annotations

import itertools
import random

import pytest

from ice.checks import Credentials
from ice.config import IceConfig
from ice.consent import Consent, Freshness
from ice.events import State
from ice.lite import LiteConsent
from ice.pair import CandidatePair
from ice.roles import Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import Message, parse
from tests.ice.builders import pair

PWD = "their-password-their-password"
KEY = short_term_key(PWD)


def consent(now: float = 100.0, **settings: float) -> tuple[Consent, CandidatePair]:
    one = pair()
    one.succeeded_at = now
    credentials = Credentials("ours", "theirs", PWD)
    config = IceConfig(**settings)  # type: ignore[arg-type]
    return Consent(config, one, credentials, RoleKeeper(Role.CONTROLLING, random.Random(1)), random.Random(2), now), one


def next_check(one: Consent) -> tuple[float, Message]:
    while True:
        at = one.next_timeout(State.DISCONNECTED)
        if (sent := one.handle_timeout(at)) is not None:
            return at, parse(sent.data)


def answer(request: Message, key: bytes = KEY) -> Message:
    response = request.success((att.XOR_MAPPED_ADDRESS, TransportAddress("192.0.2.1", 1000)))
    return parse(response.serialize(key, fingerprint=True))


def test_checks_come_every_five_seconds_give_or_take_a_fifth() -> None:
    # RFC 7675 section 5.1
    one, checked = consent()
    times, identities = [100.0], set()
    for _ in range(300):
        at, request = next_check(one)
        times.append(at)
        identities.add(request.transaction_id)
        assert one.receive(answer(request), checked.path, at + 0.01)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert min(gaps) >= 4.0
    assert max(gaps) <= 6.0
    assert max(gaps) - min(gaps) > 1.5  # They do vary.
    assert len(identities) == 300  # A new transaction each.


def first_checks(tick: float) -> set[float]:
    """Return when 200 sessions ask first that begin at different times of one second."""
    config = IceConfig(consent_tick=tick)
    credentials, roles = Credentials("ours", "theirs", PWD), RoleKeeper(Role.CONTROLLING, random.Random(1))
    times = set()
    for number in range(200):
        began = 100.0 + number / 200
        at = Consent(config, pair(), credentials, roles, random.Random(number), began).next_timeout(State.CONNECTED)
        assert 4.0 <= at - began <= 6.0
        times.add(at)
    return times


def test_sessions_of_a_process_ask_at_the_same_instants() -> None:
    assert 25 < len(first_checks(0.1)) < 32  # Of the three seconds that there are.
    assert len(first_checks(0.0)) == 200


def test_a_check_is_authenticated_and_nominates_nothing() -> None:
    one, _ = consent()
    _, request = next_check(one)
    assert request.verify_integrity(KEY)
    assert request.get(att.USERNAME) == "theirs:ours"
    assert att.PRIORITY in request
    assert att.USE_CANDIDATE not in request


def test_it_is_sent_once_only() -> None:
    one, checked = consent()
    at, _ = next_check(one)
    assert one.handle_timeout(at + 0.5) is None
    assert one.handle_timeout(at + 3.9) is None
    assert checked.requests_sent == 1


def test_it_expires_thirty_seconds_after_the_last_answer_and_no_later() -> None:
    one, checked = consent(100.0)
    at, request = next_check(one)
    one.receive(answer(request), checked.path, at)
    assert one.freshness(at + 9.99) is Freshness.FRESH
    assert one.freshness(at + 10.0) is Freshness.STALE
    assert one.freshness(at + 29.999) is Freshness.STALE
    assert one.freshness(at + 30.0) is Freshness.EXPIRED
    assert one.handle_timeout(at + 30.0) is None


def test_the_check_that_made_the_pair_valid_was_the_first_consent() -> None:
    one, checked = consent(100.0)
    checked.succeeded_at = 90.0
    credentials = Credentials("ours", "theirs", PWD)
    roles = RoleKeeper(Role.CONTROLLED, random.Random(1))
    one = Consent(IceConfig(), checked, credentials, roles, random.Random(2), 100.0)
    assert one.freshness(119.9) is Freshness.STALE
    assert one.freshness(120.0) is Freshness.EXPIRED


def test_an_answer_to_any_outstanding_check_renews() -> None:
    one, checked = consent()
    _, first = next_check(one)
    next_check(one)
    at, _ = next_check(one)
    assert one.receive(answer(first), checked.path, at + 1)
    assert one.granted_at == at + 1
    assert not one.receive(answer(first), checked.path, at + 2)  # Once only.


def test_an_answer_that_comes_after_the_expiry_gives_no_consent_back() -> None:
    # RFC 7675 section 5.1: outstanding checks are discarded, also where no timer has noticed the expiry yet.
    one, checked = consent(100.0)
    _, request = next_check(one)
    assert not one.receive(answer(request), checked.path, 130.0)
    assert one.freshness(130.0) is Freshness.EXPIRED
    assert one.granted_at == 100.0


def test_a_check_of_the_peer_after_the_expiry_gives_a_lite_side_no_consent_back() -> None:
    _, checked = consent(100.0)
    credentials, roles = Credentials("ours", "theirs", PWD), RoleKeeper(Role.CONTROLLED, random.Random(1))
    one = LiteConsent(IceConfig(), checked, credentials, roles, random.Random(2), 100.0)
    checked.succeeded_at = 129.9
    assert one.freshness(129.9) is Freshness.FRESH
    checked.succeeded_at = 159.9
    assert one.freshness(159.9) is Freshness.EXPIRED


@pytest.mark.parametrize("what", ["key", "source", "error", "unknown"])
def test_what_does_not_renew(what: str) -> None:
    one, checked = consent()
    at, request = next_check(one)
    path, response = checked.path, answer(request)
    if what == "key":
        response = answer(request, short_term_key("another-password-another-one"))
    elif what == "source":
        path = FiveTuple(checked.path.local, TransportAddress("203.0.113.1", 1))
    elif what == "error":
        response = parse(request.failure(400, "Bad Request").serialize(KEY))
    else:
        request.transaction_id = bytes(12)
        response = answer(request)
    assert not one.receive(response, path, at + 1)
    assert one.granted_at == 100.0


def test_what_is_outstanding_stays_bounded() -> None:
    one, checked = consent()
    for _ in range(200):
        at, request = next_check(one)
        one.granted_at = at  # As if answers came, but to other checks.
    assert len(one._outstanding) <= 8
    assert request.transaction_id in one
    assert checked.requests_sent == 200


def test_the_deadline_moves_from_staleness_to_expiry() -> None:
    one, _ = consent(100.0)
    one._next_at = 200.0
    assert one.next_timeout(State.CONNECTED) == 110.0
    assert one.next_timeout(State.DISCONNECTED) == 130.0
