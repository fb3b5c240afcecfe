"""Which pair is used: that of a peer that nominates aggressively, and ours when nobody answers (RFC 8445 section 8)."""

from __future__ import annotations

from ice.errors import FailureReason
from ice.events import PairSelected, State
from ice.life_config import UpgradeConfig
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import MessageClass, parse
from tests.ice.aggressor import FIRST, HIGH, LOW, SECOND, THEIR_KEY, aggressor
from tests.ice.stepper import A, B, Side, Wire, describe, exchange, pair_of_sides, tell_candidates
from tests.ice.test_moving import relayed
from tests.ice.test_nominating_ahead import B2, nominated, run_until_nominated, towards, two_ways

# -- a peer that nominates aggressively --


def test_the_first_success_is_used_and_a_better_one_replaces_it() -> None:
    side, peer = aggressor()
    peer.check(FIRST, LOW)
    assert peer.answer_all() == [FIRST]
    assert side.agent.selected_path == FiveTuple(B, FIRST)
    peer.check(SECOND, HIGH, 0.1)
    assert peer.answer_all(0.1) == [SECOND]
    assert side.agent.selected_path == FiveTuple(B, SECOND)
    side.drain_events()
    assert [event.pair.path.remote for event in side.of_type(PairSelected)] == [FIRST, SECOND]


def test_a_worse_one_does_not() -> None:
    side, peer = aggressor()
    peer.check(FIRST, HIGH)
    peer.answer_all()
    peer.check(SECOND, LOW, 0.1)
    peer.answer_all(0.1)
    assert side.agent.selected_path == FiveTuple(B, FIRST)


def test_a_better_check_under_way_survives_the_first_success() -> None:
    side, peer = aggressor()
    peer.check(SECOND, HIGH)
    waiting = [sent for sent in iter(side.agent.next_effect, None) if parse(sent.data).message_class == 0]
    assert [sent.path.remote for sent in waiting] == [SECOND]
    peer.check(FIRST, LOW, 0.01)
    peer.answer_all(0.01)
    assert side.agent.selected_path == FiveTuple(B, FIRST)
    response = parse(waiting[0].data).success((att.XOR_MAPPED_ADDRESS, B))
    side.agent.receive_datagram(response.serialize(THEIR_KEY, True), waiting[0].path, 0.02)
    assert side.agent.selected_path == FiveTuple(B, SECOND)


def test_after_the_selection_plain_checks_are_answered_and_no_more() -> None:
    side, peer = aggressor()
    peer.check(FIRST, LOW)
    peer.answer_all()
    peer.check(SECOND, HIGH, 0.1, nominate=False)
    assert peer.answer_all(0.1) == []
    peer.check(FIRST, LOW, 0.2, nominate=False)
    sent = side.agent.next_effect()
    assert sent is not None
    assert parse(sent.data).message_class is MessageClass.SUCCESS


def test_a_peer_that_moves_off_a_silent_pair_is_followed() -> None:
    side, peer = aggressor()
    peer.check(FIRST, HIGH)
    peer.answer_all()
    for at in (5.5, 9.9, 10.0):
        side.agent.handle_timeout(at)
    assert side.agent.state is State.DISCONNECTED
    while side.agent.next_effect() is not None:
        pass  # Consent checks that nobody answers.
    peer.check(SECOND, LOW, 12.0)
    peer.answer_all(12.0)
    assert side.agent.selected_path == FiveTuple(B, SECOND)
    assert side.agent.state is State.CONNECTED


# -- our nomination --


def test_a_nomination_that_is_not_answered_fails_the_session_and_no_second_one_is_made() -> None:
    # RFC 8445 section 8.1.1
    a, b, wire = pair_of_sides(upgrade=UpgradeConfig(renomination=False))
    nominations: set[bytes] = set()

    def no_nomination_passes(data: bytes, path: FiveTuple) -> bool:
        message = parse(data)
        if att.USE_CANDIDATE in message:
            nominations.add(message.transaction_id)
            return False
        return True

    wire.passes = no_nomination_passes
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=61.0)
    assert a.agent.failure_reason is FailureReason.NOMINATION_FAILED
    assert len(nominations) == 1
    assert b.agent.failure_reason is FailureReason.NOT_NOMINATED


def test_with_renomination_it_is_nominated_again() -> None:
    # The best pair, which goes by the first check, is dead; of the other one the nomination is lost at first.
    other = TransportAddress("198.51.100.7", 2007)
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, other, seed=2)
    wire = Wire(a, b)

    def passes(data: bytes, path: FiveTuple) -> bool:
        return B not in path and (att.USE_CANDIDATE not in parse(data) or wire.now > 39.0)

    wire.passes = passes
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=45.0)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert a.agent.selected_path == FiveTuple(A, other)
    assert b.agent.selected_path == FiveTuple(other, A)
    numbers = {message.get(att.NOMINATION) for _, message, path in wire.log if path == FiveTuple(A, other)}
    assert numbers == {None, *range(2, 10)}  # Every five and a half seconds.


def test_a_chosen_pair_that_falls_silent_gives_way_to_another_within_seconds() -> None:
    a, b, wire = two_ways()
    wire.passes = towards(B)
    exchange(a, b)
    run_until_nominated(wire, B2)
    wire.passes = towards(B2)
    wire.run(until=4.5)
    assert nominated(wire) == [(B, 1), (B2, 2), (B, 3)]
    assert a.agent.selected_path == FiveTuple(A, B)
    assert b.agent.selected_path == FiveTuple(B, A)
    wire.run(until=30.0)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)


def test_nominations_that_are_refused_are_repeated_at_a_pace() -> None:
    side, other = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    theirs = other.agent.local_description
    side.agent.set_remote_description(theirs, 0.0)
    side.agent.add_remote_candidate(relayed(other.candidates[0]), 0.0)
    now, nominations = 0.0, 0
    while now < 10.0:
        while (sent := side.agent.next_effect()) is not None:
            message = parse(sent.data)
            if att.USE_CANDIDATE in message:
                nominations += 1
                assert nominations < 100
                response = message.failure(500, "No")
            else:
                response = message.success((att.XOR_MAPPED_ADDRESS, A))
            side.agent.receive_datagram(response.serialize(short_term_key(theirs.pwd), True), sent.path, now)
        deadline = side.agent.next_timeout()
        assert deadline is not None
        now = max(now, deadline.at)
        side.agent.handle_timeout(now)
    assert side.agent.state is State.CHECKING
    assert nominations == 5  # Two seconds apart.
