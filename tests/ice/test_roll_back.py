"""Restarts that nobody answered, given up: the description before is ours again (RFC 8829 section 4.1.10.2)."""

from __future__ import annotations

from ice.events import Restarted, RestartWanted
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple
from stun.message import parse
from tests.ice.builders import request
from tests.ice.stepper import A, B, Side
from tests.ice.test_restart import signalled


def test_one_that_is_not_answered_is_rolled_back_and_the_next_one_has_another_description() -> None:
    a, b, wire = signalled()
    before = a.agent.local_description
    vain = a.agent.restart(wire.now)
    a.drain_events()
    a.events = [event for event in a.events if not isinstance(event, Restarted)]  # The peer never hears of it.
    a.agent.roll_back(wire.now)
    assert a.agent.local_description == before
    assert wire.agrees
    fresh = a.agent.restart(wire.now)
    assert fresh not in (vain, before)
    wire.run(until=2.0)
    assert wire.agrees
    assert wire.is_one_generation
    assert a.agent.local_description == fresh
    assert len(b.of_type(Restarted)) == 1


def test_where_nothing_waits_for_an_answer_nothing_is_rolled_back() -> None:
    fresh = Side(Role.CONTROLLING, A)
    first = fresh.agent.local_description
    fresh.agent.roll_back(0.0)
    assert fresh.agent.local_description == first
    a, _, wire = signalled()
    before = a.agent.local_description
    a.agent.roll_back(wire.now)
    assert a.agent.local_description == before
    assert len(a.agent.local_ufrags) == 1


def test_a_session_whose_restart_was_rolled_back_asks_for_another_when_its_path_dies() -> None:
    a, _, wire = signalled()
    wire.signalling = 1e9
    a.agent.restart(wire.now)
    wire.run(until=5.0)
    a.agent.roll_back(wire.now)
    wire.passes = lambda data, path: False
    wire.run(until=30.0)
    assert a.of_type(RestartWanted)


def test_a_peer_that_goes_by_what_was_rolled_back_is_answered_as_long_as_it_does() -> None:
    a, _, wire = signalled()
    vain = a.agent.restart(wire.now)
    a.agent.roll_back(wire.now)

    def answer(now: float) -> int | None:
        wire.run(until=now)
        data = request(f"{vain.ufrag}:nobodyKnows", vain.pwd, role=(att.ICE_CONTROLLED, 1))
        a.agent.receive_datagram(data, FiveTuple(A, B), now)
        sent = a.agent.next_effect()
        assert sent is not None
        message = parse(sent.data)
        return None if message.error is None else message.error.code

    wire.signalling = 1e9
    assert [answer(at) for at in (20.0, 40.0, 60.0)] == [None] * 3
    assert answer(95.0) == 401
    assert wire.agrees


def test_a_pair_that_only_the_peer_is_on_survives_the_next_restart() -> None:
    # Our answer got lost on the way: we are on the new pair, and the peer checks the old one.
    a, b, wire = signalled()
    old_a, old_b = a.agent.local_description, b.agent.local_description
    for _ in range(2):
        a.agent.restart(wire.now)
        wire.run(until=wire.now + 1.0)
    data = request(f"{old_a.ufrag}:{old_b.ufrag}", old_a.pwd, role=(att.ICE_CONTROLLED, 1))
    a.agent.receive_datagram(data, FiveTuple(A, B), wire.now)
    sent = a.agent.next_effect()
    assert sent is not None
    assert parse(sent.data).error is None
