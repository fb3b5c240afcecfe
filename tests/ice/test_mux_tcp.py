"""Strangers at a shared TCP port, without sockets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ice.mux_stats import Drop
from ice.mux_tcp import Strangers
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.framing import encode_frame
from stun.message import Message, MessageClass, Method
from tests.ice.mux_stage import HERE, Member, Stage, answer, check, question, transaction


def path(number: int = 1, host: str = "198.51.100.7") -> FiveTuple:
    return FiveTuple(HERE, TransportAddress(host, number), TransportProtocol.TCP)


def door(**limits: float) -> tuple[Stage, Strangers]:
    stage = Stage(**limits)
    return stage, Strangers(stage.routes)


def test_the_first_frame_says_whose_a_connection_is() -> None:
    stage, strangers = door()
    first, second = Member(stage, "first"), Member(stage, "second")
    for number, member in enumerate((first, second)):
        assert strangers.opened(path(number), stage.now)
        frames = encode_frame(check(member.ufrag)) + encode_frame(b"more")
        assert strangers.receive(frames, path(number)) is member.seat
    assert len(strangers) == 0
    assert strangers.next_timeout() is None
    assert not stage.routes.dropped


def test_the_first_frame_may_come_byte_by_byte() -> None:
    stage, strangers = door()
    member = Member(stage, "first")
    strangers.opened(path(), stage.now)
    frame = encode_frame(check("first"))
    assert strangers.enough >= len(frame)
    for size in range(len(frame)):
        assert strangers.receive(frame[:size], path()) is None
    assert strangers.receive(frame, path()) is member.seat


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n", Drop.CONNECTION_NOT_ICE),
        (b"\x16\x03\x01\x02\x00\x01", Drop.CONNECTION_NOT_ICE),
        (encode_frame(b""), Drop.CONNECTION_NOT_ICE),
        (encode_frame(b"\x80data"), Drop.CONNECTION_NOT_ICE),
        (encode_frame(question()), Drop.CONNECTION_NOT_ICE),
        (encode_frame(answer(question())), Drop.CONNECTION_NOT_ICE),
        (
            encode_frame(Message(Method.ALLOCATE, MessageClass.REQUEST, transaction()).serialize()),
            Drop.CONNECTION_NOT_ICE,
        ),
        (encode_frame(check("nobody")), Drop.CONNECTION_UFRAG),
        ((1281).to_bytes(2, "big"), Drop.CONNECTION_NOT_ICE),
    ],
)
def test_whoever_does_not_begin_with_a_check_is_thrown_out(data: bytes, reason: Drop) -> None:
    stage, strangers = door()
    Member(stage, "first")
    strangers.opened(path(), stage.now)
    assert strangers.receive(data, path()) is reason
    assert len(strangers) == 0
    assert stage.routes.dropped == {reason: 1}
    assert strangers.receive(data, path()) is None, "it is gone"


def test_silence_is_thrown_out_after_its_time() -> None:
    stage, strangers = door(stranger_timeout=10.0)
    Member(stage, "first")
    strangers.opened(path(1), stage.now)
    strangers.opened(path(2), stage.now + 4)
    strangers.receive(encode_frame(check("first"))[:-1], path(2))
    deadline = strangers.next_timeout()
    assert deadline is not None
    assert deadline.at == stage.now + 10
    assert strangers.handle_timeout(stage.now + 9.9) == []
    assert strangers.handle_timeout(deadline.at) == [path(1)]
    assert strangers.handle_timeout(stage.now + 14) == [path(2)]
    assert len(strangers) == 0
    assert stage.routes.dropped == {Drop.CONNECTION_TIMEOUT: 2}


def test_strangers_are_limited_in_all_and_by_source() -> None:
    stage, strangers = door(max_strangers=5, max_strangers_per_source=3)
    assert [strangers.opened(path(number), 0.0) for number in range(5)] == [True] * 3 + [False] * 2
    others = [path(1, f"198.51.100.{host}") for host in (10, 11, 12)]
    assert [strangers.opened(other, 0.0) for other in others] == [True, True, False]
    assert stage.routes.dropped == {Drop.CONNECTION_LIMIT: 3}
    for number in range(3):
        strangers.closed(path(number))
        strangers.closed(path(number))
    assert strangers.opened(others[2], 0.0)
    assert len(strangers) == 3


def test_addresses_of_one_ipv6_network_are_one_source() -> None:
    _, strangers = door(max_strangers_per_source=1)
    assert strangers.opened(path(1, "2001:db8::1"), 0.0)
    assert not strangers.opened(path(1, "2001:db8::2"), 0.0)
    assert strangers.opened(path(1, "2001:db8:0:1::1"), 0.0)


@given(st.lists(st.binary(max_size=1500), max_size=8))
def test_whatever_arrives_there_is_one_verdict_and_it_comes_in_time(chunks: list[bytes]) -> None:
    stage, strangers = door()
    strangers.opened(path(), stage.now)
    arrived = b""
    for chunk in chunks:
        arrived += chunk
        if strangers.receive(arrived, path()) is not None:
            break
        assert len(strangers) == 1
        assert len(arrived) < strangers.enough
    else:
        assert strangers.handle_timeout(stage.now + 10) == [path()]
    assert len(strangers) == 0
    assert sum(stage.routes.dropped.values()) == 1
