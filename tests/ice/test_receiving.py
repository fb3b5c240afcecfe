"""What an agent does with what arrives and means nothing, or comes from strangers."""

from __future__ import annotations

from ice.config import IceConfig
from ice.description import Description
from ice.events import State
from ice.roles import Role
from stun.address import FiveTuple, TransportAddress
from stun.message import Message, MessageClass, Method, parse
from tests.ice.builders import request
from tests.ice.stepper import A, B, Side, exchange, sides

STRANGER = TransportAddress("203.0.113.66", 666)
THEIRS = Description("theirs", "their-password-their-password")


def test_datagrams_that_mean_nothing_are_counted_and_change_nothing() -> None:
    a, b, wire = sides()
    exchange(a, b)
    wire.run(until=0.0)
    before = b.agent.stats()
    local = b.agent.local_description
    stray = Message(Method.BINDING, MessageClass.SUCCESS, bytes(12)).serialize()
    for data in (
        b"",
        b"\0",
        b"hello",
        b"\x80" * 100,
        b"\x00\x01\x00\x00" + bytes(16),  # RFC 3489, which is not spoken here (RFC 8445 section 7.3).
        stray,
        Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize(),
    ):
        b.agent.receive_datagram(data, FiveTuple(B, STRANGER), 0.1)
    b.agent.receive_datagram(stray, FiveTuple(STRANGER, A), 0.1)
    assert b.agent.next_effect() is None
    b.agent.receive_datagram(request(f"{local.ufrag}:x", "wrong-password-wrong-password"), FiveTuple(B, STRANGER), 0.1)
    refusal = b.agent.next_effect()
    assert refusal is not None
    assert parse(refusal.data).error is not None
    after = b.agent.stats()
    assert after.pairs == before.pairs
    assert sum(after.dropped.values()) == sum(before.dropped.values()) + 9
    assert b.agent.state is State.COMPLETED


def test_a_keepalive_indication_is_silently_fine() -> None:
    b = Side(Role.CONTROLLED, B)
    b.agent.receive_datagram(
        Message(Method.BINDING, MessageClass.INDICATION, bytes(12)).serialize(), FiveTuple(B, A), 0.0
    )
    assert b.agent.next_effect() is None
    assert not b.agent.stats().dropped


def test_a_check_of_another_generation_is_answered_but_has_no_effect() -> None:
    b = Side(Role.CONTROLLED, B)
    b.agent.set_remote_description(THEIRS, 0.0)
    local = b.agent.local_description
    b.agent.receive_datagram(request(f"{local.ufrag}:older", local.pwd), FiveTuple(B, A), 0.0)
    sent = b.agent.next_effect()
    assert sent is not None
    assert parse(sent.data).message_class is MessageClass.SUCCESS
    assert b.agent.next_effect() is None
    assert b.agent.remote_candidates == []


def test_a_peer_that_checks_from_everywhere_is_answered_but_remembered_within_limits() -> None:
    b = Side(Role.CONTROLLED, B, config=IceConfig(max_peer_reflexive=8, max_pairs=5))
    b.agent.set_remote_description(THEIRS, 0.0)
    local = b.agent.local_description
    answers = 0
    for port in range(1, 101):
        data = request(f"{local.ufrag}:theirs", local.pwd, transaction_id=port.to_bytes(12, "big"))
        b.agent.receive_datagram(data, FiveTuple(B, TransportAddress("192.0.2.1", port)), 0.0)
        answers += sum(
            parse(sent.data).message_class is MessageClass.SUCCESS for sent in iter(b.agent.next_effect, None)
        )
    assert answers == 100
    assert len(b.agent.remote_candidates) == 8
    assert len(b.agent.accepted_sources(B)) == 8
    stats = b.agent.stats()
    assert len(stats.pairs) == 5
    assert stats.dropped == {"remote candidate: too many": 92}
