"""A restart that brings a conflict of roles, on a wire that takes its time: refusals cross, and the peer turns twice.

The peer checks seldom (:mod:`tests.ice.pinging_peer`), so what waits for its next check takes half a second or more.
"""

from __future__ import annotations

import itertools

import pytest

from ice.roles import Role
from stun.address import FiveTuple
from stun.message import MessageClass, parse
from tests.ice.pinging_peer import PingingStage
from tests.ice.restarting_peer import NEW_PORT, PATH, STRONGEST, WEAKEST, RestartingPeer, before_restart, restarted
from tests.ice.stepper import B

DELAYS = (0.0005, 0.01, 0.03, 0.06, 0.1)
TOLD = (0.002, 0.02, 0.06, 0.15)
ANSWERED = (None, 0.02, 0.06, 0.15, 0.4)


def test_refusals_that_cross_settle_with_the_check_that_we_send_beside_them() -> None:
    stage = PingingStage(Role.CONTROLLING, WEAKEST, delay=0.03, told=0.002, answered=0.15)
    stage.run(1.0)
    assert stage.said == [
        "0 peer controlling, nominates",
        "30 we 487",
        "30 we controlling",
        "48 peer controlling, nominates",
        "60 peer success",
        "78 we 487",
        "83 we controlling",
        "90 we controlling, nominates",
        "96 peer controlled",
        "113 peer success",
        "120 peer success",
        "126 we success",
        "576 peer controlled",
        "606 we success",
        "606 we controlling, nominates",  # it goes by our new description from now on
        "636 peer success",
    ]
    assert stage.peer.turned == 3
    assert stage.used_at == pytest.approx(0.15)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("tiebreaker", [WEAKEST, STRONGEST])
def test_it_takes_three_round_trips_at_most_whatever_crosses(role: Role, tiebreaker: int) -> None:
    # One for a check that the peer refuses because it has just gone over to our new description, one for the check
    # after that, one for the nomination; and Ta once between two checks on one pair.
    for delay, told, answered in itertools.product(DELAYS, TOLD, ANSWERED):
        stage = PingingStage(role, tiebreaker, delay=delay, told=told, answered=answered)
        stage.run(3.0)
        case = (delay, told, answered, stage.said)
        assert stage.used_at is not None, case
        assert stage.used_at <= max(delay, told) + 6 * delay + 0.05 + 1e-9, case
        assert stage.peer.is_writable, case
        assert stage.side.agent.selected_path == PATH, case
        assert stage.side.agent.role is stage.peer.role.other, case


def test_a_refused_check_lets_no_data_in_before_the_peer_has_answered() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    peer.is_deaf = True
    peer.side.agent.receive_datagram(peer._ask(), PATH, peer.now)
    peer.drain()
    assert NEW_PORT not in peer.side.agent.accepted_sources(B)
    peer.is_deaf = False
    peer.wait(0.6)  # our check is sent again
    assert NEW_PORT in peer.side.agent.accepted_sources(B)


def test_one_that_comes_before_the_description_waits_for_it() -> None:
    peer = before_restart(Role.CONTROLLING, WEAKEST)
    refusal = peer.check()
    assert refusal.error is not None
    peer.wait(0.5)
    assert peer.asked == []
    peer.learn()
    assert len(peer.asked) == 2
    assert peer.side.agent.selected_path == PATH


def test_one_on_a_pair_in_use_changes_nothing() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    peer.check()
    peer.wait(0.1)
    assert peer.side.agent.selected_path == PATH
    asked = len(peer.asked)
    for _ in range(5):
        peer.role = Role.CONTROLLING
        assert peer.check().error is not None
    assert len(peer.asked) == asked
    assert peer.side.agent.selected_path == PATH


# -- a refusal that is not signed: the peer goes by another description than our check


def refuse(peer: RestartingPeer, check: bytes, path: FiveTuple = PATH) -> None:
    refusal = parse(check).failure(401, "Unauthorized").serialize(fingerprint=True)
    peer.side.agent.receive_datagram(refusal, path, peer.now)


def checks(peer: RestartingPeer) -> list[bytes]:
    """What our side asks on the new path now, and nobody answers."""
    found = []
    peer.now += 0.01
    peer.side.agent.handle_timeout(peer.now)
    while (effect := peer.side.agent.next_effect()) is not None:
        if effect.path == PATH and parse(effect.data).message_class is MessageClass.REQUEST:
            found.append(effect.data)
    return found


def unanswered_check() -> tuple[RestartingPeer, bytes]:
    """A peer that has checked under our old description, and our check under the same."""
    peer = restarted()
    peer.side.agent.receive_datagram(peer._ask(), PATH, peer.now)
    (check,) = checks(peer)
    return peer, check


def test_it_is_asked_under_our_last_description_once() -> None:
    peer, check = unanswered_check()
    refuse(peer, check)
    (again,) = checks(peer)
    peer.go_by_the_new()
    answer = parse(peer._answer(parse(again)))
    assert answer.message_class is MessageClass.SUCCESS
    for _ in range(3):
        refuse(peer, check)
        refuse(peer, again)
        assert checks(peer) == []


def test_one_from_elsewhere_counts_for_nothing() -> None:
    peer, check = unanswered_check()
    refuse(peer, check, FiveTuple(B, NEW_PORT._replace(port=9)))
    assert checks(peer) == []


def test_the_answer_to_the_check_that_was_refused_still_counts() -> None:
    peer, check = unanswered_check()
    refuse(peer, check)
    checks(peer)
    peer.side.agent.receive_datagram(peer._answer(parse(check)), PATH, peer.now)
    peer.drain()
    assert peer.side.agent.selected_path == PATH
