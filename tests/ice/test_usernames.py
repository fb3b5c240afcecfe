"""Under which name we check and nominate, when the peer goes over to our new description while we are at it.

The peer has restarted and checked our old candidates first, see :mod:`tests.ice.test_restart_mixed`.
"""

from __future__ import annotations

import pytest

from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple
from stun.integrity import short_term_key
from stun.message import parse
from tests.ice.builders import request
from tests.ice.restarting_peer import PATH, RESTARTED, WEAKEST, is_on_the_new_pair, restarted, username_of
from tests.ice.signalled import SignalledWire
from tests.ice.stepper import A, B, Side


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


# -- the other way round: we restart --


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
