"""What becomes of our checks: late answers, conflicts of roles, answers from elsewhere (RFC 8445 section 7.2.5)."""

from __future__ import annotations

import pytest

from ice.candidate import CandidateType
from ice.events import RoleChanged
from ice.pair import PairState
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from tests.ice.stepper import A, B, Side, connected, describe, exchange, sides, tell_candidates

STRANGER = TransportAddress("203.0.113.66", 666)


def test_a_late_answer_to_a_cancelled_check_still_counts() -> None:
    a, b, wire = sides()
    wire.delay = 0.04  # The peer's check comes at 40 ms, the answer at 80 ms; the repeated check went at 50 ms.
    exchange(a, b)
    wire.run(until=0.081)
    pair = next(iter(a.agent.stats().pairs))
    assert pair.state is PairState.SUCCEEDED
    assert pair.current_round_trip_time == pytest.approx(0.08)


@pytest.mark.parametrize("role", [Role.CONTROLLING, Role.CONTROLLED])
@pytest.mark.parametrize(("tie_a", "tie_b"), [(5, 5), (9, 5), (5, 9)])
def test_a_role_conflict_is_repaired(role: Role, tie_a: int, tie_b: int) -> None:
    a, b, wire = sides(role, role)
    a.agent._roles.tiebreaker, b.agent._roles.tiebreaker = tie_a, tie_b
    exchange(a, b)
    wire.run(until=2.0)
    connected(a, b)
    assert a.agent.role is b.agent.role.other
    if tie_a != tie_b:
        winner = a if tie_a > tie_b else b
        assert winner.agent.role is Role.CONTROLLING
    for side in (a, b):
        assert len(side.of_type(RoleChanged)) == side.agent.stats().role_switches


def test_an_answer_from_elsewhere_fails_the_pair() -> None:
    # RFC 8445 section 7.2.5.2.1
    a, b, wire = sides()
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    tell_candidates(a, b)
    wire.flush()
    [(_, check, path)] = wire.log
    b.agent.receive_datagram(check.wire, FiveTuple(B, A), 0.0)
    answer = b.agent.next_effect()
    assert answer is not None
    a.agent.receive_datagram(answer.data, FiveTuple(A, STRANGER), 0.0)
    assert [pair.state for pair in a.agent.stats().pairs] == [PairState.FAILED]
    assert not a.agent.is_valid_path(A, STRANGER)
    assert not a.agent.is_valid_path(path.local, path.remote)


def test_both_sides_learn_addresses_that_nobody_told() -> None:
    # A sits behind an address translator that nobody asked.
    outside = TransportAddress("203.0.113.9", 9999)
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    describe(a, b)
    tell_candidates(a, b)
    for _ in range(20):
        while (sent := a.agent.next_effect()) is not None:
            b.agent.receive_datagram(sent.data, FiveTuple(B, outside), 0.0)
        while (sent := b.agent.next_effect()) is not None:
            assert sent.path.remote == outside
            a.agent.receive_datagram(sent.data, FiveTuple(A, B), 0.0)
    ours, theirs = a.agent.selected_pair, b.agent.selected_pair
    assert ours is not None
    assert theirs is not None
    assert (ours.local.type, ours.local.address) == (CandidateType.PEER_REFLEXIVE, outside)
    assert (theirs.remote.type, theirs.remote.address) == (CandidateType.PEER_REFLEXIVE, outside)
    assert ours.path == FiveTuple(A, B)
    assert ours.priority == theirs.priority
    assert ours.local.priority == theirs.remote.priority


def test_an_answer_for_a_pair_that_was_dropped_changes_nothing() -> None:
    a, b, wire = sides()
    exchange(a, b)
    a.agent.add_remote_candidate(b.candidates[0], 0.0)
    wire.run(until=0.0)
    first = next(message for _, message, path in wire.log if path.local == A)
    response = first.success((att.XOR_MAPPED_ADDRESS, STRANGER))
    data = response.serialize(short_term_key(b.agent.local_description.pwd), fingerprint=True)
    before = a.agent.stats().pairs
    a.agent.receive_datagram(data, FiveTuple(A, B), 0.0)
    assert a.agent.stats().pairs == before
    assert a.agent.stats().dropped["response: unknown or not authentic"] == 1
