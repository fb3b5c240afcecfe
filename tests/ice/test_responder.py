from __future__ import annotations

import random

import pytest

from ice.description import Description
from ice.responder import Answer, EarlyChecks, ReceivedCheck, Responder
from ice.roles import Role, RoleKeeper
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import Integrity, short_term_key
from stun.message import Message, MessageClass, parse
from tests.ice.builders import address, request

OURS = Description("ours", "our-password-our-password")
KEY = short_term_key(OURS.pwd)
PATH = FiveTuple(address(1), TransportAddress("198.51.100.9", 4321))


def responder(role: Role = Role.CONTROLLED, tiebreaker: int = 5) -> Responder:
    roles = RoleKeeper(role, random.Random(1))
    roles.tiebreaker = tiebreaker
    return Responder(OURS, roles)


def fields(check: ReceivedCheck | None) -> tuple[object, ...]:
    assert check is not None
    return (
        check.path,
        check.priority,
        check.use_candidate,
        check.peer_ufrag,
        check.nomination,
        check.size,
        check.answer_size,
        check.our_ufrag,
        check.is_refused,
    )


def ask(data: bytes, role: Role = Role.CONTROLLED) -> tuple[Answer, Message]:
    answer = responder(role).answer(parse(data), PATH)
    return answer, parse(answer.data)


def test_a_good_check_is_answered_with_the_mapped_address() -> None:
    answer, response = ask(request("ours:theirs", OURS.pwd))
    assert response.message_class is MessageClass.SUCCESS
    assert response.transaction_id == b"abcdefghijkl"
    assert response.get(att.XOR_MAPPED_ADDRESS) == PATH.remote
    assert response.verify_integrity(KEY)
    assert response.has_fingerprint
    assert att.USERNAME not in response
    expected = ReceivedCheck(PATH, 1845501695, False, "theirs", answer_size=len(answer.data), our_ufrag="ours")
    assert fields(answer.check) == fields(expected)


def test_a_retransmission_gets_the_same_answer() -> None:
    one = responder()
    data = request("ours:theirs", OURS.pwd)
    first, second = one.answer(parse(data), PATH), one.answer(parse(data), PATH)
    assert first.data == second.data
    assert fields(first.check) == fields(second.check)
    assert not first.switched
    assert not second.switched


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (request(None, OURS.pwd), 400),
        (request("ours:theirs", None), 400),
        (request("other:theirs", OURS.pwd), 401),
        (request("ours", OURS.pwd), 401),
        (request("theirs:ours", OURS.pwd), 401),
        (request("ours:theirs", "not-the-password-at-all"), 401),
    ],
)
def test_what_does_not_authenticate_is_refused_without_integrity(data: bytes, code: int) -> None:
    # RFC 8489 section 9.1.3
    answer, response = ask(data)
    assert answer.check is None
    assert response.error is not None
    assert response.error.code == code
    assert response.integrity is None


def test_unknown_required_attributes_are_named() -> None:
    unknown = att.unknown_attribute(0x7777)
    _, response = ask(request("ours:theirs", OURS.pwd, (unknown, b"xy")))
    assert response.error is not None
    assert response.error.code == 420
    assert response.get(att.UNKNOWN_ATTRIBUTES) == (0x7777,)
    assert response.verify_integrity(KEY)


def test_a_check_without_priority_is_refused() -> None:
    _, response = ask(request("ours:theirs", OURS.pwd, priority=None))
    assert response.error is not None
    assert response.error.code == 400
    assert response.verify_integrity(KEY)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (Integrity.SHA1, Integrity.SHA1),
        (Integrity.SHA256, Integrity.SHA256),
        (Integrity.BOTH, Integrity.SHA256),
    ],
)
def test_the_response_is_signed_as_the_request_was(sent: Integrity, answered: Integrity) -> None:
    _, response = ask(request("ours:theirs", OURS.pwd, integrity=sent))
    assert response.integrity is answered
    assert response.verify_integrity(KEY)


def test_use_candidate_counts_only_towards_a_controlled_agent() -> None:
    data = request("ours:theirs", OURS.pwd, (att.USE_CANDIDATE, True))
    answer, _ = ask(data)
    assert answer.check is not None
    assert answer.check.use_candidate
    data = request("ours:theirs", OURS.pwd, (att.USE_CANDIDATE, True), role=(att.ICE_CONTROLLED, 7))
    answer, _ = ask(data, Role.CONTROLLING)
    assert answer.check is not None
    assert not answer.check.use_candidate


@pytest.mark.parametrize(
    ("role", "attribute", "theirs", "refused", "switched"),
    [
        (Role.CONTROLLING, att.ICE_CONTROLLING, 4, True, False),
        (Role.CONTROLLING, att.ICE_CONTROLLING, 5, True, False),
        (Role.CONTROLLING, att.ICE_CONTROLLING, 6, False, True),
        (Role.CONTROLLED, att.ICE_CONTROLLED, 4, False, True),
        (Role.CONTROLLED, att.ICE_CONTROLLED, 5, False, True),
        (Role.CONTROLLED, att.ICE_CONTROLLED, 6, True, False),
    ],
)
def test_a_role_conflict(role: Role, attribute: att.Attribute[int], theirs: int, refused: bool, switched: bool) -> None:
    one = responder(role, tiebreaker=5)
    answer = one.answer(parse(request("ours:theirs", OURS.pwd, role=(attribute, theirs))), PATH)
    response = parse(answer.data)
    assert (response.error is not None and response.error.code == 487) is refused
    assert answer.switched is switched
    assert answer.check is not None
    assert answer.check.is_refused is refused


def test_a_refused_check_nominates_nothing() -> None:
    data = request(
        "ours:theirs", OURS.pwd, (att.USE_CANDIDATE, True), (att.NOMINATION, 3), role=(att.ICE_CONTROLLED, 6)
    )
    check = responder(Role.CONTROLLED, tiebreaker=5).answer(parse(data), PATH).check
    assert check is not None
    assert (check.is_refused, check.use_candidate, check.nomination) == (True, False, 0)


def test_a_conflict_is_not_acted_upon_without_authentication() -> None:
    one = responder(Role.CONTROLLING, tiebreaker=5)
    answer = one.answer(parse(request("ours:theirs", "wrong-password-wrong-pass", role=(att.ICE_CONTROLLING, 9))), PATH)
    assert not answer.switched


# -- checks before the description --


def early(port: int, use_candidate: bool = False, ufrag: str = "theirs", *, is_refused: bool = False) -> ReceivedCheck:
    path = FiveTuple(address(1), TransportAddress("198.51.100.9", port))
    return ReceivedCheck(path, 5, use_candidate, ufrag, is_refused=is_refused)


def test_an_early_check_that_was_refused_takes_the_place_of_none() -> None:
    refused, good = early(1, is_refused=True), early(1)
    checks = EarlyChecks(10)
    for check in (refused, good, refused):
        checks.add(check)
    assert checks.take("theirs") == [good]


def test_early_checks_are_kept_once_a_path_and_nominations_win() -> None:
    checks = EarlyChecks(10)
    nominating, other = early(1, True), early(2)
    for check in (early(1), nominating, early(1), other):
        checks.add(check)
    assert checks.take("theirs") == [nominating, other]
    assert checks.take("theirs") == []


def test_early_checks_are_bounded_and_of_one_generation() -> None:
    checks = EarlyChecks(3)
    for port in range(1, 101):
        checks.add(early(port))
    assert len(checks) == 3
    assert checks.dropped == 97
    assert checks.take("somebody else") == []
    assert checks.dropped == 100
