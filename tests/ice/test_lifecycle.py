"""How sessions end: in failure, in silence, and why (RFC 8445 section 8, RFC 8863, RFC 7675)."""

from __future__ import annotations

import pytest

from ice.errors import (
    ConsentLostError,
    FailureReason,
    IceError,
    NoPathError,
    RelayLostError,
    SessionClosedError,
    error_for,
)
from ice.events import State, StateChanged
from ice.pair import PairState
from stun.message import MessageClass, parse
from tests.ice.aggressor import FIRST, HIGH, aggressor
from tests.ice.stepper import A, Side, Wire, describe, pair_of_sides, tell_candidates


def connect(a: Side, b: Side, wire: Wire) -> None:
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=wire.now)
    assert a.agent.selected_pair is not None
    assert b.agent.selected_pair is not None


# -- failure --


def test_an_empty_checklist_fails_when_the_patience_ends_and_not_before() -> None:
    # RFC 8863 section 4
    a, b, wire = pair_of_sides()
    a.agent.set_remote_description(b.agent.local_description, 2.0)
    a.agent.end_of_remote_candidates(2.0)
    wire.run(until=41.49)
    assert a.agent.state is State.CHECKING
    wire.run(until=41.5)
    assert a.agent.state is State.FAILED
    assert a.events[-1] == StateChanged(State.CHECKING, State.FAILED, FailureReason.NO_CANDIDATE_PAIRS)


def test_a_check_from_an_unknown_address_saves_an_empty_checklist() -> None:
    # What the patience is for: nothing signalled could be paired, but the peer gets through.
    a, b, wire = pair_of_sides()
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    a.agent.end_of_remote_candidates(0.0)
    wire.run(until=39.0)
    b.agent.set_remote_description(a.agent.local_description, 39.0)
    tell_candidates(b, a, 39.0)
    wire.run(until=39.0)
    assert a.agent.state is State.COMPLETED


def test_checks_that_nobody_answers_fail() -> None:
    a, b, wire = pair_of_sides()
    wire.passes = lambda data, path: False
    describe(a, b)
    tell_candidates(a, b)
    wire.run(until=39.499)
    assert a.agent.state is State.CHECKING
    assert sum(path.local == A for _, _, path in wire.log) == 7
    wire.run(until=39.5)
    assert a.agent.state is State.FAILED
    assert a.agent.failure_reason is FailureReason.CHECKS_FAILED
    assert a.agent.selected_path is None
    assert a.agent.next_timeout() is None
    [pair] = a.agent.stats().pairs  # Still there, to be looked at.
    assert (pair.state, pair.requests_sent, pair.responses_received) == (PairState.FAILED, 7, 0)


def test_without_an_end_of_candidates_it_fails_all_the_same_but_later() -> None:
    a, b, wire = pair_of_sides()
    wire.passes = lambda data, path: False
    describe(a, b)
    tell_candidates(a, b, end=False)
    wire.run(until=59.9)
    assert a.agent.state is State.CHECKING
    wire.run(until=60.0)
    assert a.agent.failure_reason is FailureReason.CHECKS_FAILED


def test_a_crowd_of_dead_pairs_is_given_up() -> None:
    a, b, wire = pair_of_sides()
    wire.passes = lambda data, path: False
    describe(a, b)
    for number in range(1, 101):
        text = f"{number} 1 udp {number} 198.51.100.{number} 5 typ host"
        a.agent.add_remote_candidate(type(b.candidates[0]).from_sdp(text), 0.0)
    a.agent.end_of_remote_candidates(0.0)
    wire.run(until=60.0)
    assert a.agent.failure_reason is FailureReason.CHECKS_TIMED_OUT


def test_a_peer_that_never_nominates() -> None:
    side, peer = aggressor()
    peer.check(FIRST, HIGH, nominate=False)
    peer.answer_all()
    side.agent.handle_timeout(59.9)
    assert side.agent.state is State.CHECKING
    side.agent.handle_timeout(60.0)
    assert side.agent.failure_reason is FailureReason.NOT_NOMINATED


@pytest.mark.parametrize("reason", list(FailureReason))
def test_every_reason_has_its_error(reason: FailureReason) -> None:
    error = error_for(reason)
    assert error.reason is reason
    assert str(error) == reason.value
    assert isinstance(error, IceError)
    assert isinstance(error, ConnectionError)
    lost = reason in (FailureReason.CONSENT_EXPIRED, FailureReason.CONSENT_REVOKED)
    closed = reason is FailureReason.CLOSED
    kind = ConsentLostError if lost else SessionClosedError if closed else NoPathError
    assert type(error) is (RelayLostError if reason is FailureReason.RELAY_LOST else kind)
    assert str(error_for(reason, "and more")) == f"{reason.value}: and more"


# -- consent --


def test_consent_is_asked_for_and_the_session_stays() -> None:
    a, b, wire = pair_of_sides()
    connect(a, b, wire)
    wire.run(until=600.0)
    assert a.agent.state is State.COMPLETED
    assert b.agent.state is State.COMPLETED
    asked = sum(path.local == A and message.message_class == 0 for _, message, path in wire.log) - 2
    assert 100 <= asked <= 150


def test_consent_ends_thirty_seconds_after_the_last_answer() -> None:
    # RFC 7675 section 5.1
    a, b, wire = pair_of_sides()
    connect(a, b, wire)
    wire.run(until=20.0)
    pair = a.agent.selected_pair
    assert pair is not None
    last = pair.succeeded_at
    assert last is not None
    wire.passes = lambda data, path: False
    wire.run(until=last + 9.99)
    assert a.agent.state is State.COMPLETED
    wire.run(until=last + 10.0)
    assert a.agent.state is State.DISCONNECTED
    assert a.agent.selected_path is not None
    wire.run(until=last + 29.99)
    assert a.agent.state is State.DISCONNECTED
    wire.run(until=last + 30.0)
    assert a.agent.state is State.FAILED
    assert a.agent.failure_reason is FailureReason.CONSENT_EXPIRED
    assert a.agent.selected_path is None
    assert not a.agent.accepted_sources(A)
    sent = len(wire.log)
    wire.run(until=last + 300.0)
    assert not [path for _, _, path in wire.log[sent:] if path.local == A]


def test_a_gap_heals() -> None:
    a, b, wire = pair_of_sides()
    connect(a, b, wire)
    wire.passes = lambda data, path: False
    wire.run(until=25.0)
    assert a.agent.state is State.DISCONNECTED
    wire.passes = lambda data, path: True
    wire.run(until=32.0)
    assert a.agent.state is State.COMPLETED
    assert b.agent.state is State.COMPLETED
    assert [change.new for change in a.of_type(StateChanged)][-2:] == [State.DISCONNECTED, State.COMPLETED]


def test_asking_without_being_answered_gives_no_consent() -> None:
    # The peer's own checks arrive all the time; only answers count.
    a, b, wire = pair_of_sides()
    connect(a, b, wire)
    wire.passes = lambda data, path: parse(data).message_class is MessageClass.REQUEST
    wire.run(until=30.0)
    assert a.agent.failure_reason is FailureReason.CONSENT_EXPIRED


def test_consent_can_be_revoked() -> None:
    # RFC 7675 section 5.2
    a, b, wire = pair_of_sides()
    connect(a, b, wire)
    a.agent.revoke_consent(1.0)
    a.drain_events()
    assert a.events[-1] == StateChanged(State.COMPLETED, State.FAILED, FailureReason.CONSENT_REVOKED)
    a.agent.close(2.0)
    a.drain_events()
    assert a.events[-1] == StateChanged(State.FAILED, State.CLOSED, FailureReason.CLOSED)
    assert a.agent.failure_reason is FailureReason.CONSENT_REVOKED
    assert a.agent.state is State.CLOSED


def test_a_sleeping_driver_that_wakes_late_expires_and_sends_nothing() -> None:
    a, b, wire = pair_of_sides()
    connect(a, b, wire)
    a.agent.handle_timeout(4000.0)
    assert a.agent.state is State.FAILED
    assert a.agent.next_effect() is None
