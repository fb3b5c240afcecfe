"""How sessions end: in a pair, in another pair, in failure, in silence (RFC 8445 section 8, RFC 8863, RFC 7675)."""

from __future__ import annotations

import pytest

from ice.config import IceConfig
from ice.description import Description
from ice.errors import (
    ConsentLostError,
    FailureReason,
    IceError,
    NoPathError,
    RelayLostError,
    SessionClosedError,
    error_for,
)
from ice.events import PairSelected, State, StateChanged
from ice.life_config import UpgradeConfig
from ice.pair import PairState
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import MessageClass, parse
from tests.ice.builders import request
from tests.ice.stepper import A, B, Side, Wire, describe, tell_candidates

THEIRS = Description("theirs", "their-password-their-password")
THEIR_KEY = short_term_key(THEIRS.pwd)
HIGH = 1_845_501_695
LOW = 1_000_000


def pair_of_sides(**settings: object) -> tuple[Side, Side, Wire]:
    config = IceConfig(**settings)  # type: ignore[arg-type]
    a, b = Side(Role.CONTROLLING, A, config=config), Side(Role.CONTROLLED, B, seed=2, config=config)
    return a, b, Wire(a, b)


def connect(a: Side, b: Side, wire: Wire) -> None:
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=wire.now)
    assert a.agent.selected_pair is not None
    assert b.agent.selected_pair is not None


# -- a peer that nominates aggressively --


class Aggressor:
    """A controlling peer by hand, on two addresses, that puts USE-CANDIDATE into every check."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.local = side.agent.local_description
        self.count = 0

    def check(self, source: TransportAddress, priority: int, now: float = 0.0, nominate: bool = True) -> None:
        self.count += 1
        extra = [(att.USE_CANDIDATE, True)] if nominate else []
        data = request(
            f"{self.local.ufrag}:theirs",
            self.local.pwd,
            *extra,
            priority=priority,
            transaction_id=self.count.to_bytes(12, "big"),
        )
        self.side.agent.receive_datagram(data, FiveTuple(B, source), now)

    def answer_all(self, now: float = 0.0) -> list[TransportAddress]:
        """Answer what the other side sends; return where its checks went."""
        asked = []
        while (sent := self.side.agent.next_effect()) is not None:
            message = parse(sent.data)
            if message.message_class is MessageClass.REQUEST:
                asked.append(sent.path.remote)
                response = message.success((att.XOR_MAPPED_ADDRESS, sent.path.local))
                self.side.agent.receive_datagram(response.serialize(THEIR_KEY, True), sent.path, now)
        return asked


FIRST = TransportAddress("192.0.2.1", 1)
SECOND = TransportAddress("192.0.2.1", 2)


def aggressor() -> tuple[Side, Aggressor]:
    side = Side(Role.CONTROLLED, B)
    side.agent.set_remote_description(THEIRS, 0.0)
    return side, Aggressor(side)


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
    a, b, wire = pair_of_sides()
    wire.passes = lambda data, path: att.USE_CANDIDATE not in parse(data) or wire.now > 39.0
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=45.0)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)


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
