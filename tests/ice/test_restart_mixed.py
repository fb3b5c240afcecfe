"""A peer that restarts and checks our old candidates before it has our new description, as libwebrtc does.

Its new port goes by its new credentials and our old ones, nominates, and keeps to them until our new candidates are
there, or for good. As it takes the controlling role with its restart, there may be a conflict of roles on top.
"""

from __future__ import annotations

import pytest

from ice.events import State
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple
from stun.integrity import short_term_key
from stun.message import MessageClass, Method, parse
from tests.ice.builders import request
from tests.ice.restarting_peer import (
    NEW_PORT,
    PATH,
    RESTARTED,
    STRONGEST,
    WEAKEST,
    RestartingPeer,
    before_restart,
    restarted,
)
from tests.ice.signalled import SignalledWire
from tests.ice.stepper import A, B, Side


def username_of(peer: RestartingPeer) -> str | None:
    pair = peer.side.agent.selected_pair
    return None if pair is None else pair.username


def is_on_the_new_pair(peer: RestartingPeer) -> bool:
    return peer.side.agent.selected_path == PATH


def test_a_peer_that_keeps_to_our_old_description_has_a_new_pair_at_once() -> None:
    peer = restarted()
    agent = peer.side.agent
    assert peer.check(nominates=True).message_class is MessageClass.SUCCESS
    peer.wait(0.1)
    assert is_on_the_new_pair(peer)
    assert peer.asked[-1].get(att.USERNAME) == f"{RESTARTED.ufrag}:{peer.old.ufrag}"
    assert peer.asked[-1].method is Method.BINDING
    assert agent.state in (State.CONNECTED, State.COMPLETED)
    assert NEW_PORT in agent.accepted_sources(B)


def test_it_goes_on_for_as_long_as_the_pair_is_in_use() -> None:
    peer = restarted()
    peer.check(nominates=True)
    for _ in range(40):
        peer.wait(5.0)
        assert peer.check(nominates=False).message_class is MessageClass.SUCCESS
    assert is_on_the_new_pair(peer)
    assert peer.side.agent.state.is_usable


def test_a_check_with_our_new_description_makes_it_an_ordinary_pair() -> None:
    peer = restarted()
    peer.check(nominates=True)
    peer.wait(0.1)
    ours = peer.side.agent.local_description
    assert ours != peer.old
    peer.go_by_the_new()
    peer.check()
    assert username_of(peer) == f"{RESTARTED.ufrag}:{ours.ufrag}"


# -- before its description is here


@pytest.mark.parametrize("role", list(Role))
def test_a_check_that_comes_before_the_description_waits_for_it(role: Role) -> None:
    peer = before_restart(role)
    assert peer.check().message_class is MessageClass.SUCCESS
    peer.wait(0.5)
    assert peer.asked == []
    assert not is_on_the_new_pair(peer)
    assert NEW_PORT not in peer.side.agent.accepted_sources(B)
    peer.learn()
    assert [message.get(att.USERNAME) for message in peer.asked] == [f"{RESTARTED.ufrag}:{peer.old.ufrag}"]
    assert is_on_the_new_pair(peer)
    assert peer.side.agent.role is Role.CONTROLLED


def test_a_check_that_names_a_description_which_never_comes_leads_to_nothing() -> None:
    peer = restarted()
    name = f"{peer.old.ufrag}:nobody"
    data = request(name, peer.old.pwd, (att.USE_CANDIDATE, True), transaction_id=b"nobody knows")
    peer.side.agent.receive_datagram(data, PATH, peer.now)
    peer.drain()
    peer.wait(0.1)
    assert not is_on_the_new_pair(peer)
    assert peer.asked == []


def test_no_more_checks_wait_than_the_limit() -> None:
    peer = before_restart()
    limit = 32
    for number in range(limit + 5):
        path = PATH._replace(remote=NEW_PORT._replace(port=3000 + number))
        name = f"{peer.old.ufrag}:{RESTARTED.ufrag}"
        data = request(name, peer.old.pwd, transaction_id=number.to_bytes(12, "big"))
        peer.side.agent.receive_datagram(data, path, peer.now)
    assert peer.side.agent.stats().dropped == {"check: early, too many or of another generation": 5}


# -- conflicts of roles


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("tiebreaker", [WEAKEST, STRONGEST])
@pytest.mark.parametrize("role", list(Role))
def test_whoever_wins_the_conflict_both_have_the_new_pair(
    role: Role, tiebreaker: int, keeps: bool, early: bool
) -> None:
    """``keeps`` to our old description, or has the new one after its first check; ``early``: checks before it tells."""
    peer = before_restart(role, tiebreaker)
    if early:
        peer.check()
    peer.learn()
    peer.check()
    if not keeps:
        peer.go_by_the_new()
    for _ in range(3):
        peer.wait(0.05)
        peer.check()
    agent = peer.side.agent
    assert agent.role is peer.role.other
    assert is_on_the_new_pair(peer)
    assert username_of(peer) == f"{RESTARTED.ufrag}:{peer.goes_by.ufrag}"
    controls = role is Role.CONTROLLING and tiebreaker == WEAKEST
    assert agent.role is (Role.CONTROLLING if controls else Role.CONTROLLED)
    if controls:
        assert peer.nominated[-1] == peer.goes_by


def test_a_refusal_is_signed_with_the_password_of_the_description_that_the_check_names() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    refusal = peer.check()
    assert refusal.error is not None
    assert refusal.error.code == 487
    assert refusal.verify_integrity(short_term_key(peer.old.pwd))
    peer.go_by_the_new()
    peer.role = Role.CONTROLLING  # A second refusal was under way.
    refusal = peer.check()
    assert refusal.error is not None
    assert refusal.verify_integrity(short_term_key(peer.side.agent.local_description.pwd))


# -- it goes over to our new description while we are at it


def test_a_check_that_it_refuses_because_it_goes_by_the_new_description_is_made_again() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    peer.is_deaf = True  # Our check is lost, and our answer there before it is sent again.
    for _ in range(2):  # One brings too little to be answered with a check that is sent twice, and another.
        peer.side.agent.receive_datagram(peer._ask(), PATH, peer.now)
    peer.drain()
    peer.wait(0.1)
    peer.is_deaf = False
    peer.go_by_the_new()
    peer.wait(0.4)
    assert not is_on_the_new_pair(peer)
    assert peer.asked == []
    peer.wait(0.1)
    assert is_on_the_new_pair(peer)
    old, new = (f"{RESTARTED.ufrag}:{each.ufrag}" for each in (peer.old, peer.side.agent.local_description))
    assert [message.get(att.USERNAME) for message in peer.asked] == [old, new, new]
    assert peer.nominated == [peer.side.agent.local_description]


def test_so_is_a_nomination() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    answered = peer._answer

    def overtaken(asked):  # type: ignore[no-untyped-def]
        if att.USE_CANDIDATE in asked:
            peer.go_by_the_new()
        return answered(asked)

    peer._answer = overtaken  # type: ignore[method-assign]
    peer.check()
    assert len(peer.asked) == 3
    assert is_on_the_new_pair(peer)
    assert peer.nominated == [peer.side.agent.local_description]


def test_what_was_nominated_under_the_old_description_is_nominated_again_under_the_new() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    peer.check()
    peer.check()
    assert is_on_the_new_pair(peer)
    assert peer.nominated == [peer.old]
    peer.go_by_the_new()
    asked = len(peer.asked)
    for _ in range(3):
        peer.check()
        peer.wait(0.1)
    assert peer.nominated == [peer.old, peer.side.agent.local_description]
    assert len(peer.asked) == asked + 1
    assert is_on_the_new_pair(peer)


def test_a_nomination_told_again_that_is_lost_is_sent_again() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    peer.check()
    peer.check()
    peer.go_by_the_new()
    peer.is_deaf = True
    peer.check()
    peer.is_deaf = False
    peer.wait(1.0)
    assert peer.nominated == [peer.old, peer.side.agent.local_description]
    assert peer.side.agent.state.is_usable


def test_checks_that_arrive_in_the_wrong_order_end_where_the_last_one_is() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    new = peer.side.agent.local_description
    for description in (peer.old, peer.old, new, peer.old, new):
        peer.goes_by = description
        peer.check()
        peer.wait(0.02)
    assert is_on_the_new_pair(peer)
    assert username_of(peer) == f"{RESTARTED.ufrag}:{new.ufrag}"
    assert peer.nominated[-1] == new


def test_consent_to_the_new_pair_lasts_when_it_goes_over() -> None:
    peer = restarted(Role.CONTROLLING, WEAKEST)
    for _ in range(3):
        peer.check()
    peer.go_by_the_new()
    for _ in range(40):
        peer.wait(5.0)
        peer.check()
    assert is_on_the_new_pair(peer)
    assert peer.side.agent.state.is_usable


# -- the other way round: we restart


@pytest.mark.parametrize("role", list(Role))
def test_a_peer_that_goes_by_our_new_description_before_it_answers_is_asked_under_both(role: Role) -> None:
    a, b = Side(role.other, A), Side(role, B, seed=2)
    wire = SignalledWire(a, b)
    wire.run(until=1.0)
    assert wire.agrees
    theirs = a.agent.local_description
    ours = b.agent.restart(wire.now)
    attribute = att.ICE_CONTROLLED if role is Role.CONTROLLING else att.ICE_CONTROLLING
    name = f"{ours.ufrag}:{theirs.ufrag}"
    data = request(name, ours.pwd, role=(attribute, 7), transaction_id=b"a new check!")
    b.agent.receive_datagram(data, FiveTuple(B, A), wire.now)
    selected = b.agent.selected_pair
    assert selected is not None
    assert selected.path == FiveTuple(B, A)
    assert selected.username == f"{theirs.ufrag}:{ours.ufrag}"
    sent = []
    while (effect := b.agent.next_effect()) is not None:
        sent.append(parse(effect.data))
    nominations = [message for message in sent if att.USE_CANDIDATE in message or att.NOMINATION in message]
    assert len(nominations) == (1 if role is Role.CONTROLLING else 0)
    for message in nominations:
        assert message.get(att.USERNAME) == f"{theirs.ufrag}:{ours.ufrag}"
        assert message.verify_integrity(short_term_key(theirs.pwd))
