from __future__ import annotations

import random

import pytest

from ice.checks import CheckClient, CheckResult, Credentials, Outcome
from ice.config import IceConfig
from ice.pair import CandidatePair
from ice.priority import TYPE_PREFERENCES, CandidateType
from ice.roles import Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.machine import Transmit
from stun.message import Message, parse
from tests.ice.builders import pair

PWD = "their-password-their-password"
KEY = short_term_key(PWD)
MAPPED = TransportAddress("192.0.2.1", 1000)


def client(role: Role = Role.CONTROLLING) -> CheckClient:
    return CheckClient(
        IceConfig(), Credentials("ours", "theirs", PWD), RoleKeeper(role, random.Random(2)), random.Random(1)
    )


def started(role: Role = Role.CONTROLLING, nominates: bool = False) -> tuple[CheckClient, CandidatePair, Message]:
    checks, one = client(role), pair()
    sent = checks.start(one, nominates, 0.05, 0.0)
    assert sent.path == one.path
    return checks, one, parse(sent.data)


def success(request: Message, mapped: TransportAddress | None = MAPPED, key: bytes | None = KEY) -> Message:
    response = request.success()
    if mapped is not None:
        response.add(att.XOR_MAPPED_ADDRESS, mapped)
    return parse(response.serialize(key, fingerprint=True))


@pytest.mark.parametrize(
    ("role", "present", "absent"),
    [
        (Role.CONTROLLING, att.ICE_CONTROLLING, att.ICE_CONTROLLED),
        (Role.CONTROLLED, att.ICE_CONTROLLED, att.ICE_CONTROLLING),
    ],
)
def test_what_a_check_carries(role: Role, present: att.Attribute[int], absent: att.Attribute[int]) -> None:
    # RFC 8445 sections 7.1 and 7.2.2
    _, one, request = started(role)
    assert request.get(att.USERNAME) == "theirs:ours"
    priority = request.get(att.PRIORITY)
    assert priority is not None
    assert priority >> 24 == TYPE_PREFERENCES[CandidateType.PEER_REFLEXIVE]
    assert priority & 0xFFFFFF == one.local.priority & 0xFFFFFF
    assert present in request
    assert absent not in request
    assert att.USE_CANDIDATE not in request
    assert request.verify_integrity(KEY)
    assert request.has_fingerprint


def test_a_nomination_carries_use_candidate() -> None:
    _, _, request = started(nominates=True)
    assert att.USE_CANDIDATE in request


def test_success_tells_the_mapped_address_and_the_round_trip() -> None:
    checks, one, request = started()
    result = checks.receive(success(request), one.path, 0.25)
    assert result is not None
    assert (result.outcome, result.mapped, result.latency) == (Outcome.SUCCEEDED, MAPPED, 0.25)
    assert len(checks) == 0


def test_a_retransmitted_check_measures_no_round_trip() -> None:
    checks, one, request = started()
    list(checks.handle_timeout(0.5))
    result = checks.receive(success(request), one.path, 0.6)
    assert result is not None
    assert result.latency is None


@pytest.mark.parametrize("key", [None, short_term_key("some-other-password-than-theirs")])
def test_an_unauthenticated_response_is_as_if_it_never_came(key: bytes | None) -> None:
    checks, one, request = started()
    assert checks.receive(success(request, key=key), one.path, 0.1) is None
    assert checks.unauthenticated == 1
    assert checks.receive(success(request), one.path, 0.2) is not None


def test_an_answer_over_another_path_fails_the_check() -> None:
    # RFC 8445 section 7.2.5.2.1, both ends
    for path in (
        FiveTuple(pair().path.local, TransportAddress("203.0.113.1", 2000)),
        FiveTuple(TransportAddress("192.0.2.77", 1000), pair().path.remote),
    ):
        checks, _, request = started()
        result = checks.receive(success(request), path, 0.1)
        assert result is not None
        assert result.outcome is Outcome.ASYMMETRIC


@pytest.mark.parametrize(
    ("code", "outcome"), [(487, Outcome.ROLE_CONFLICT), (400, Outcome.REFUSED), (500, Outcome.REFUSED)]
)
def test_error_responses(code: int, outcome: Outcome) -> None:
    checks, one, request = started()
    response = parse(request.failure(code, "No").serialize(KEY))
    result = checks.receive(response, one.path, 0.1)
    assert result is not None
    assert result.outcome is outcome
    assert result.check.role is Role.CONTROLLING


@pytest.mark.parametrize("mapped", [None, TransportAddress("2001:db8::1", 5), TransportAddress("192.0.2.1", 0)])
def test_a_success_without_a_sensible_mapped_address_is_none(mapped: TransportAddress | None) -> None:
    checks, one, request = started()
    result = checks.receive(success(request, mapped), one.path, 0.1)
    assert result is not None
    assert result.outcome is Outcome.REFUSED


def test_unknown_required_attributes_in_a_response_fail_the_check() -> None:
    checks, one, request = started()
    response = request.success((att.XOR_MAPPED_ADDRESS, MAPPED), (att.unknown_attribute(0x7001), b""))
    result = checks.receive(parse(response.serialize(KEY)), one.path, 0.1)
    assert result is not None
    assert result.outcome is Outcome.REFUSED


def run_out(checks: CheckClient) -> tuple[list[float], list[tuple[float, CheckResult]]]:
    sends, results = [], []
    while (at := checks.next_timeout()) is not None:
        for item in checks.handle_timeout(at):
            if isinstance(item, Transmit):
                sends.append(at)
            else:
                results.append((at, item))
    return sends, results


def test_the_schedule_of_sends_and_the_time_out() -> None:
    # RFC 8489 section 6.2.1 with the least timeout of RFC 8445 section 14.3
    checks, one, _ = started()
    sends, results = run_out(checks)
    assert sends == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert [(at, result.outcome) for at, result in results] == [(39.5, Outcome.TIMED_OUT)]
    assert one.requests_sent == 7


def test_the_timeout_grows_with_the_running_pairs() -> None:
    checks, one = client(), pair()
    checks.start(one, False, 40 * 0.05, 0.0)
    assert checks.next_timeout() == pytest.approx(40 * 0.05)


def test_a_cancelled_check_is_sent_no_more_but_may_still_succeed() -> None:
    # RFC 8445 section 7.3.1.4
    checks, one, request = started()
    checks.cancel(one)
    assert list(checks.handle_timeout(0.5)) == []
    result = checks.receive(success(request), one.path, 0.7)
    assert result is not None
    assert result.outcome is Outcome.SUCCEEDED
    checks, one, _ = started()
    checks.cancel(one)
    assert run_out(checks) == ([], [])
    assert len(checks) == 0


def test_checks_that_are_not_retained_are_forgotten() -> None:
    checks, one, request = started()
    other = pair(2)
    checks.start(other, False, 0.05, 0.0)
    checks.retain(lambda kept: kept is other)
    assert len(checks) == 1
    assert request.transaction_id not in checks
    assert checks.receive(success(request), one.path, 0.1) is None
    checks.clear()
    assert checks.next_timeout() is None
