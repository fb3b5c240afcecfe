"""What a check of the peer brings about (RFC 8445 sections 7.3.1.4 and 7.3.1.5)."""

from __future__ import annotations

import pytest

from ice.events import State
from ice.pair import PairState
from stun import attributes as att
from stun.address import FiveTuple
from stun.message import parse
from tests.ice.aggressor import FIRST, HIGH, THEIR_KEY, aggressor
from tests.ice.stepper import A, B, connected, exchange, sides, tell_candidates


def test_an_in_progress_pair_is_checked_again_when_the_peer_checks_it() -> None:
    # RFC 8445 section 7.3.1.4: cancelled and queued again, long before the retransmission is due.
    a, b, wire = sides()
    lost: list[bytes] = []

    def first_of_a_is_lost(data: bytes, path: FiveTuple) -> bool:
        if path.local == A and not lost:
            lost.append(data)
            return False
        return True

    wire.passes = first_of_a_is_lost
    wire.delay = 0.001
    exchange(a, b)
    wire.run(until=0.2)
    connected(a, b)
    requests = [(at, message) for at, message, path in wire.log if path.local == A and message.message_class == 0]
    assert [at for at, _ in requests] == pytest.approx([0.0, 0.05])
    assert len({message.transaction_id for _, message in requests}) == 2
    assert lost[0] not in [message.wire for _, message, _ in wire.log[2:]]


def test_a_failed_pair_comes_back_when_the_peer_checks_it() -> None:
    a, b, wire = sides()
    wire.passes = lambda data, path: False
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b, end=False)
    wire.run(until=50.0)
    assert [pair.state for pair in a.agent.stats().pairs] == [PairState.FAILED]
    assert a.agent.state is State.CHECKING  # The peer may still have candidates.
    wire.passes = lambda data, path: True
    b.agent.set_remote_description(a.agent.local_description, 50.0)
    tell_candidates(b, a, 50.0)
    wire.run(until=50.0)
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)


def test_a_nomination_before_our_own_check_succeeded_is_remembered() -> None:
    # RFC 8445 section 7.3.1.5
    side, peer = aggressor()
    peer.check(FIRST, HIGH, nominate=False)
    sent = list(iter(side.agent.next_effect, None))
    peer.check(FIRST, HIGH, 0.001)
    assert side.agent.selected_pair is None
    check = parse(sent[-1].data)
    response = check.success((att.XOR_MAPPED_ADDRESS, B))
    side.agent.receive_datagram(response.serialize(THEIR_KEY, True), sent[-1].path, 0.002)
    assert side.agent.selected_path == FiveTuple(B, FIRST)
