from __future__ import annotations

from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.yamux_frames import FrameType, encode_header
from stun.machine import Deadline
from tests.signalling.libp2p.yamux_sides import (
    ACK,
    SYN,
    ended,
    flush,
    sides,
)


def test_pings_are_answered_with_their_own_value() -> None:
    a, b = sides()
    b.receive_data(encode_header(FrameType.PING, SYN, 0, 0xDEADBEEF), 0.0)
    assert (b.next_effect() or b"").hex() == "000200020000000" + "0" + "deadbeef"
    a.receive_data(encode_header(FrameType.PING, ACK, 0, 5), 0.0)
    assert a.ended is None


def test_a_silent_peer_is_pinged_and_then_given_up() -> None:
    config = YamuxConfig(keepalive=30.0, keepalive_timeout=20.0)
    a, b = sides(config)
    assert a.next_timeout() == Deadline(30.0, "yamux keepalive")
    a.handle_timeout(29.9)
    assert a.next_effect() is None
    a.handle_timeout(30.0)
    flush(a, b)
    assert a.next_timeout() == Deadline(50.0, "yamux ping timeout")
    b_answer = b.next_effect() or b""
    a.receive_data(b_answer, 30.25)
    assert a.round_trip == 0.25
    assert a.next_timeout() == Deadline(60.25, "yamux keepalive")
    a.handle_timeout(60.25)
    a.handle_timeout(80.2)
    assert a.ended is None
    a.handle_timeout(80.25)
    assert ended(a).reason == "the peer does not answer"


def test_bulk_data_counts_as_a_sign_of_life() -> None:
    a, _ = sides()
    a.handle_timeout(30.0)
    a.receive_data(encode_header(FrameType.WINDOW_UPDATE, 0, 9, 1), 45.0)
    a.handle_timeout(50.0)
    assert a.ended is None
    assert a.next_timeout() == Deadline(65.0, "yamux ping timeout")
