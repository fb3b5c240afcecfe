"""ICE restarts: from either side, from both at once, at any moment (RFC 8445 section 9, RFC 8838 section 18)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.candidate import Candidate
from ice.config import IceConfig
from ice.description import Description
from ice.errors import FailureReason
from ice.events import GatheringCompleted, LocalCandidateFound, Restarted, State
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.message import MessageClass, parse
from tests.ice.builders import request
from tests.ice.signalled import SignalledWire, selections
from tests.ice.stepper import A, B, Side, Wire, describe, tell_candidates

A2 = TransportAddress("192.0.2.7", 1007)


def signalled(**config: float) -> tuple[Side, Side, SignalledWire]:
    settings = IceConfig(**config)  # type: ignore[arg-type]
    a, b = Side(Role.CONTROLLING, A, config=settings), Side(Role.CONTROLLED, B, seed=2, config=settings)
    wire = SignalledWire(a, b)
    wire.run(until=1.0)
    assert wire.agrees
    return a, b, wire


@pytest.mark.parametrize("who", [0, 1])
def test_either_side_restarts_and_both_end_on_new_credentials(who: int) -> None:
    a, b, wire = signalled()
    before = {a.agent.local_description, b.agent.local_description}
    asking, asked = (a, b) if who == 0 else (b, a)
    description = asking.agent.restart(wire.now)
    assert asking.agent.selected_path is not None, "the old path stays"
    wire.run(until=2.0)
    assert wire.agrees
    assert wire.is_one_generation
    assert asking.agent.local_description == description
    assert before.isdisjoint({a.agent.local_description, b.agent.local_description})
    assert [event.by_peer for event in asking.of_type(Restarted)] == [False]
    assert [event.by_peer for event in asked.of_type(Restarted)] == [True]
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)
    assert (a.agent.role, b.agent.role) == (Role.CONTROLLING, Role.CONTROLLED)
    assert selections(a) == selections(b) == 2


def test_a_restart_takes_four_messages_as_a_start_does() -> None:
    a, _, wire = signalled()
    sent = len(wire.log)
    a.agent.restart(wire.now)
    wire.run(until=2.0)
    new = [message for _, message, _ in wire.log[sent:]]
    assert [message.message_class.name for message in new].count("REQUEST") == 2
    assert len(new) == 4


def test_restarts_that_cross_are_one_restart() -> None:
    a, b, wire = signalled()
    a.agent.restart(wire.now)
    b.agent.restart(wire.now)
    wire.run(until=2.0)
    assert wire.agrees
    assert wire.is_one_generation
    assert len(a.of_type(Restarted)) == len(b.of_type(Restarted)) == 1


def test_a_restart_that_is_not_answered_yet_is_that_restart() -> None:
    a, b, wire = signalled()
    assert a.agent.restart(wire.now) == a.agent.restart(wire.now)
    assert len(a.of_type(Restarted)) <= 1
    wire.run(until=2.0)
    assert wire.is_one_generation
    assert len(b.of_type(Restarted)) == 1


def test_restarting_before_the_peer_is_known_changes_nothing() -> None:
    side = Side(Role.CONTROLLING, A)
    assert side.agent.restart(0.0) == side.agent.local_description
    side.drain_events()
    assert not side.of_type(Restarted)


@pytest.mark.parametrize("at", [0.015, 0.021, 0.025, 0.031, 0.035, 0.045, 0.055])
def test_a_restart_at_any_moment_of_the_first_checks(at: float) -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = SignalledWire(a, b)
    wire.run(until=at)
    (a if a.agent.remote_description else b).agent.restart(wire.now)
    wire.run(until=at + 0.01)
    b.agent.restart(wire.now)
    wire.run(until=at + 3.0)
    assert wire.agrees
    assert wire.is_one_generation
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)


def test_the_old_pair_carries_data_and_keeps_its_consent_until_the_new_one_is_there() -> None:
    a, b, wire = signalled()
    wire.signalling = 20.0  # The peer hears of it late.
    a.agent.restart(wire.now)
    wire.run(until=19.0)
    assert (a.agent.state, b.agent.state) == (State.CONNECTED, State.COMPLETED)
    assert a.agent.selected_path == FiveTuple(A, B)
    asked = [at for at, message, path in wire.log if at > 1.0 and path.local == A and message.message_class == 0]
    assert 3 <= len(asked) <= 5, "one consent check every five seconds"
    assert b.agent.is_valid_path(B, A)
    wire.signalling = 0.02
    wire.run(until=45.0)
    assert wire.agrees
    assert wire.is_one_generation
    assert State.DISCONNECTED not in {event.new for event in a.events if hasattr(event, "new")}


def test_old_checks_are_answered_while_the_peer_may_still_need_them_and_then_no_more() -> None:
    a, b, wire = signalled()
    old_a, old_b = a.agent.local_description, b.agent.local_description
    a.agent.restart(wire.now)
    wire.run(until=2.0)

    def answer(now: float) -> int | None:
        data = request(f"{old_a.ufrag}:{old_b.ufrag}", old_a.pwd, role=(att.ICE_CONTROLLED, 1))
        a.agent.receive_datagram(data, FiveTuple(A, B), now)
        sent = a.agent.next_effect()
        assert sent is not None
        message = parse(sent.data)
        return None if message.error is None else message.error.code

    assert answer(2.0) is None
    wire.run(until=40.0)
    assert answer(40.0) == 401
    assert len(a.agent._generations.kept) == 1
    assert wire.agrees


def test_each_answer_on_the_old_pair_lets_the_peer_go_on_there_for_as_long_as_consent_lasts() -> None:
    """libwebrtc, when controlled, stays on the old pair until data comes on the new one."""
    a, b, wire = signalled()
    old_a, old_b = a.agent.local_description, b.agent.local_description
    a.agent.restart(wire.now)
    wire.run(until=2.0)
    for until in (20.0, 45.0, 70.0):
        wire.run(until=until)
        data = request(f"{old_a.ufrag}:{old_b.ufrag}", old_a.pwd, role=(att.ICE_CONTROLLED, 1))
        a.agent.receive_datagram(data, FiveTuple(A, B), wire.now)
        sent = a.agent.next_effect()
        assert sent is not None
        assert parse(sent.data).message_class is MessageClass.SUCCESS
    wire.run(until=99.9)
    assert len(a.agent._generations.kept) == 2
    wire.run(until=100.1)
    assert len(a.agent._generations.kept) == 1


def test_data_from_the_old_path_is_taken_until_its_generation_is_forgotten() -> None:
    a, b, wire = signalled()
    wire.passes = lambda data, path: True
    b.agent.add_local_base(A2, wire.now)  # Its candidates had ended, but the next generation has it.
    a.agent.restart(wire.now)
    wire.run(until=2.0)
    assert a.agent.is_valid_path(A, B)
    assert wire.is_one_generation
    wire.run(until=60.0)
    assert a.agent.selected_path is not None
    assert set(a.agent.accepted_sources(A)) >= {tuple(a.agent.selected_path.remote)}
    assert a.agent.state is State.COMPLETED


def test_candidates_are_told_again_for_the_new_generation_and_name_it() -> None:
    a, _, wire = signalled()
    told = len(a.events)
    ufrag = a.agent.restart(wire.now).ufrag
    a.drain_events()
    new = a.events[told:]
    assert isinstance(new[0], Restarted)
    assert [event.candidate.ufrag for event in new if isinstance(event, LocalCandidateFound)] == [ufrag]
    assert [event.ufrag for event in new if isinstance(event, GatheringCompleted)] == [ufrag]


def test_candidates_that_come_before_their_description_wait_for_it() -> None:
    a, b, _ = signalled()
    description = Description("fresh", "fresh-password-fresh-password")
    early = replace(b.candidates[0], extensions=(("ufrag", "fresh"),))
    a.agent.add_remote_candidate(early, 1.0)
    a.agent.end_of_remote_candidates(1.0, "fresh")
    a.agent.set_remote_description(description, 1.1)
    assert [candidate.address for candidate in a.agent.remote_candidates] == [B]
    a.agent.add_remote_candidate(replace(early, address=A2), 1.2)
    assert a.agent.stats().dropped["remote candidate: after the end of candidates"] == 1


def test_early_candidates_are_bounded() -> None:
    a, b, _ = signalled(max_early_candidates=10)
    for number in range(50):
        early = replace(b.candidates[0], extensions=(("ufrag", "fresh"),), address=TransportAddress(B.host, 1 + number))
        a.agent.add_remote_candidate(early, 1.0)
    assert len(a.agent._generations.early) == 10
    assert a.agent.stats().dropped["remote candidate: early, too many"] == 40


def test_late_candidates_of_a_past_generation_are_ignored() -> None:
    a, b, wire = signalled()
    late = replace(b.candidates[0], address=TransportAddress("198.51.100.9", 9))
    a.agent.restart(wire.now)
    wire.run(until=60.0)
    a.agent.add_remote_candidate(late, wire.now)
    assert late.address not in [candidate.address for candidate in a.agent.remote_candidates]
    assert a.agent.stats().dropped["remote candidate: another generation"] == 1


def test_a_description_of_a_past_generation_is_no_restart() -> None:
    a, b, wire = signalled()
    past = b.agent.local_description
    b.agent.restart(wire.now)
    wire.run(until=60.0)
    a.agent.set_remote_description(past, wire.now)
    a.drain_events()
    assert len(a.of_type(Restarted)) == 1
    assert wire.is_one_generation


def test_everything_may_be_told_twice() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = SignalledWire(a, b)
    wire.duplicates = 2
    wire.run(until=1.0)
    a.agent.restart(wire.now)
    wire.run(until=2.0)
    assert wire.agrees
    assert len(a.of_type(Restarted)) == len(b.of_type(Restarted)) == 1


def test_a_restart_that_nobody_answers_ends_with_the_consent_to_the_old_pair() -> None:
    a, _, wire = signalled()
    wire.signalling = 1e6
    wire.passes = lambda data, path: False
    a.agent.restart(wire.now)
    wire.run(until=29.0)
    assert a.agent.state is State.DISCONNECTED
    wire.run(until=40.0)
    assert a.agent.failure_reason is FailureReason.CONSENT_EXPIRED


def test_a_restart_that_was_asked_for_late_may_still_be_answered_after_the_consent() -> None:
    a, b, wire = signalled()
    wire.passes = lambda data, path: False
    wire.run(until=25.0)
    wire.signalling = 1e6
    a.agent.restart(wire.now)
    wire.run(until=34.0)
    assert a.agent.state is State.CHECKING
    assert a.agent.selected_path is None
    wire.run(until=39.99)
    assert a.agent.state is State.CHECKING
    wire.run(until=40.01)
    assert a.agent.failure_reason is FailureReason.CONSENT_EXPIRED
    assert b.agent.failure_reason is FailureReason.CONSENT_EXPIRED


def test_a_restart_after_the_path_died_finds_a_new_one() -> None:
    a, b, wire = signalled()
    wire.passes = lambda data, path: {A, B} != {path.local, path.remote}
    wire.run(until=15.0)
    assert a.agent.state is State.DISCONNECTED
    a.agent.add_local_base(A2, wire.now)
    a.agent.restart(wire.now)
    wire.run(until=17.0)
    assert a.agent.selected_path == FiveTuple(A2, B)
    assert wire.agrees
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)


def test_checks_that_fail_after_a_restart_do_not_end_a_path_that_works() -> None:
    a, b, wire = signalled()
    old = {a.agent.local_description.ufrag, b.agent.local_description.ufrag}

    def passes(data: bytes, path: FiveTuple) -> bool:
        message = parse(data)
        if message.message_class is not MessageClass.REQUEST:
            return True
        return (message.get(att.USERNAME) or "").split(":")[0] in old

    wire.passes = passes
    a.agent.restart(wire.now)
    wire.run(until=120.0)
    assert (a.agent.state, b.agent.state) == (State.CONNECTED, State.CONNECTED)
    assert wire.agrees
    wire.passes = lambda data, path: True
    a.agent.restart(wire.now)
    wire.run(until=122.0)
    assert (a.agent.state, b.agent.state) == (State.COMPLETED, State.COMPLETED)


def test_a_lite_peer_after_a_restart_makes_us_controlling() -> None:
    a, b, _ = signalled()
    b.agent.set_remote_description(Description("lite", "lite-password-lite-password", lite=True), 1.0)
    assert b.agent.role is Role.CONTROLLING
    assert a.agent.role is Role.CONTROLLING


def test_restarts_fill_nothing() -> None:
    a, b, wire = signalled()
    for number in range(50):
        (a if number % 2 else b).agent.restart(wire.now)
        wire.run(until=wire.now + 0.5)
    assert wire.agrees
    for side in (a, b):
        assert len(side.agent._generations.kept) <= side.agent._config.max_generations
        assert len(side.agent.accepted_sources(side.candidates[0].base)) == 1
    wire.run(until=wire.now + 60.0)
    assert len(a.agent._generations.kept) == 1


def test_without_a_generation_named_a_candidate_belongs_to_the_last_description() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = Wire(a, b)
    describe(a, b)
    tell_candidates(a, b)
    tell_candidates(b, a)
    wire.run(until=0.0)
    a.agent.restart(1.0)
    unnamed = Candidate.from_sdp("7 1 udp 77 198.51.100.7 7 typ host")
    a.agent.set_remote_description(Description("fresh", "fresh-password-fresh-password"), 1.0)
    a.agent.add_remote_candidate(unnamed, 1.0)
    assert [candidate.address.port for candidate in a.agent.remote_candidates] == [7]


def test_what_a_generation_has_found_is_not_nominated_once_it_has_stopped() -> None:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B)
    wire = Wire(a, b, delay=0.01)
    describe(a, b)
    tell_candidates(a, b, end=False)
    tell_candidates(b, a)
    better = Candidate.from_sdp("9 1 udp 2147483647 198.51.100.77 9 typ host")
    a.agent.add_remote_candidate(better, 0.0)  # Nobody is there, and the nomination waits for it.
    wire.run(until=0.06)
    stopped = a.agent._generations.current
    assert stopped.checking.checklist.valid
    assert stopped.checking.selected is None
    stopped.retire(30.0)  # As when a newer one has selected a pair.
    wire.run(until=5.0)
    nominations = [(at, path.remote) for at, message, path in wire.log if message.get(att.USE_CANDIDATE)]
    assert nominations == [(0.0, better.address)], "with its first check, and no other"
    assert stopped.consent is None
    assert a.agent.next_timeout() is None or a.agent.next_timeout().at > 5.0  # type: ignore[union-attr]
