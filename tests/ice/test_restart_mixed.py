"""A peer that restarts and checks our old candidates before it has our new description, as libwebrtc does.

Its new port goes by its new credentials and our old ones, nominates, and keeps to them until our new candidates are
there, or for good. As it takes the controlling role with its restart, there may be a conflict of roles on top.
"""

from __future__ import annotations

import pytest

from ice.events import State
from ice.roles import Role
from stun import attributes as att
from stun.integrity import short_term_key
from stun.message import MessageClass, Method
from tests.ice.builders import request
from tests.ice.restarting_peer import (
    NEW_PORT,
    PATH,
    RESTARTED,
    STRONGEST,
    WEAKEST,
    before_restart,
    is_on_the_new_pair,
    restarted,
    username_of,
)
from tests.ice.stepper import B


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
