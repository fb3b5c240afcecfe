from __future__ import annotations

import pytest

from signalling.errors import ConnectionClosed, LimitExceeded, StreamReset
from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.yamux_events import (
    GoAwayReceived,
    StreamWritable,
)
from signalling.libp2p.yamux_frames import FrameType, GoAwayCode, encode_header
from stun.machine import Deadline
from tests.signalling.libp2p.yamux_sides import (
    ACK,
    FIN,
    RST,
    SYN,
    WINDOW,
    drain,
    ended,
    flush,
    frames,
    pair,
    settle,
    sides,
)


def test_the_specification_s_bytes() -> None:
    a, _ = sides()
    stream = a.open_stream()
    assert (a.next_effect() or b"").hex() == "000100010000000100000000"
    stream.close_write()
    assert (a.next_effect() or b"").hex() == "000100040000000100000000"
    a.close()
    assert (a.next_effect() or b"").hex() == "000300000000000000000000"


def test_the_initiator_opens_odd_streams_and_the_responder_even_ones() -> None:
    a, b = sides()
    assert [a.open_stream().id, a.open_stream().id] == [1, 3]
    assert [b.open_stream().id, b.open_stream().id] == [2, 4]


def test_an_acknowledgement_without_data_goes_out_when_it_is_due() -> None:
    a, b = sides()
    a.open_stream()
    flush(a, b)
    assert b.accept(1.0) is not None
    assert b.next_effect() is None
    deadline = b.next_timeout()
    assert deadline is not None
    assert deadline == Deadline(1.0 + YamuxConfig().ack_delay, "yamux acknowledgement")
    b.handle_timeout(deadline.at)
    assert frames(flush(b, a)) == [(FrameType.WINDOW_UPDATE, ACK, 1, 0)]


def test_a_stream_that_nobody_accepts_is_not_acknowledged() -> None:
    a, b = sides()
    a.open_stream()
    flush(a, b)
    b.handle_timeout(10.0)
    assert b.next_effect() is None


@pytest.mark.parametrize(
    "header",
    [
        b"\x01" + bytes(11),
        b"\x00\x04" + bytes(10),
        encode_header(FrameType.DATA, SYN, 2, 0),
        encode_header(FrameType.DATA, SYN, 0, 0),
        encode_header(FrameType.WINDOW_UPDATE, SYN, 7, 0) * 2,
    ],
)
def test_a_broken_protocol_ends_the_session(header: bytes) -> None:
    _, b = sides()
    b.receive_data(header, 0.0)
    assert ended(b).code is GoAwayCode.PROTOCOL_ERROR
    b.receive_data(encode_header(FrameType.DATA, SYN, 9, 0), 0.0)
    assert drain(b) == []
    with pytest.raises(ConnectionClosed):
        b.open_stream()


def test_frames_for_nobody_are_skipped_and_a_writer_is_told() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.WINDOW_UPDATE, 0, 5, 10), 0.0)
    b.receive_data(encode_header(FrameType.DATA, FIN, 5, 3) + b"abc", 0.0)
    assert b.next_effect() is None
    b.receive_data(encode_header(FrameType.DATA, 0, 5, 3) + b"abc", 0.0)
    assert frames(b.next_effect() or b"") == [(FrameType.WINDOW_UPDATE, RST, 5, 0)]
    assert b.dropped_frames == 3
    assert b.ended is None


def test_a_thousand_streams_of_a_peer_stay_bounded() -> None:
    config = YamuxConfig(max_streams=500, max_unaccepted=100)
    _, b = sides(None, config)
    accepted = []
    for index in range(1000):
        b.receive_data(encode_header(FrameType.WINDOW_UPDATE, SYN, 2 * index + 1, 0), 0.0)
        if index % 2 and (stream := b.accept(0.0)) is not None:
            accepted.append(stream)
    assert len(b) == 500
    assert len(accepted) <= 500
    assert b.refused_streams == 500
    refusals = [frame for frame in frames(b.next_effect() or b"") if frame[1] == RST]
    assert len(refusals) == 500
    assert b.ended is None


def test_unaccepted_streams_have_their_own_limit() -> None:
    _, b = sides()
    for index in range(300):
        b.receive_data(encode_header(FrameType.WINDOW_UPDATE, SYN, 2 * index + 1, 0), 0.0)
    assert len(b) == 256
    assert b.refused_streams == 44


def test_a_peer_that_resets_what_it_opened_leaves_nothing() -> None:
    _, b = sides()
    for index in range(1000):
        opened = encode_header(FrameType.WINDOW_UPDATE, SYN, 2 * index + 1, 0)
        b.receive_data(opened + encode_header(FrameType.WINDOW_UPDATE, RST, 2 * index + 1, 0), 0.0)
        drain(b)
        b.next_effect()
    assert len(b) == 0
    assert b.accept(0.0) is None


def test_opening_waits_for_acknowledgements() -> None:
    config = YamuxConfig(max_unacknowledged=2)
    a, b = sides(config)
    first, _ = a.open_stream(), a.open_stream()
    assert not a.ready_to_open()
    with pytest.raises(LimitExceeded):
        a.open_stream()
    flush(a, b)
    theirs = b.accept(0.0)
    assert theirs is not None
    theirs.send(b"x")
    flush(b, a)
    assert StreamWritable(None) in drain(a)
    assert first.acknowledged
    assert a.ready_to_open()
    a.open_stream()


def test_a_refused_stream_is_not_waited_for() -> None:
    a, b = sides(YamuxConfig(max_unacknowledged=1), YamuxConfig(max_streams=0))
    ours = a.open_stream()
    settle(a, b)
    with pytest.raises(StreamReset):
        ours.read(1)
    assert a.ready_to_open()


def test_unread_data_of_a_session_is_bounded() -> None:
    config = YamuxConfig(max_session_buffer=3 * WINDOW)
    _, b = sides(None, config)
    for index in range(10):
        b.receive_data(encode_header(FrameType.DATA, SYN, 2 * index + 1, WINDOW) + bytes(WINDOW), 0.0)
        assert b.buffered <= 3 * WINDOW
    assert len(b) == 3
    assert b.ended is None
    assert len([frame for frame in frames(b.next_effect() or b"") if frame[1] & RST]) == 7


def test_a_flood_of_provocations_that_is_not_read_is_cut_off() -> None:
    _, b = sides(None, YamuxConfig(max_pending_answers=100))
    b.receive_data(encode_header(FrameType.PING, SYN, 0, 1) * 100, 0.0)
    assert b.ended is None
    assert len(b.next_effect() or b"") == 1200
    b.receive_data(encode_header(FrameType.PING, SYN, 0, 1) * 101, 0.0)
    assert ended(b).code is GoAwayCode.PROTOCOL_ERROR
    assert len(b.next_effect() or b"") == 1224


def test_go_away_lets_existing_streams_finish() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    a.receive_data(encode_header(FrameType.GO_AWAY, 0, 0, 0) * 3, 0.0)
    assert drain(a) == [GoAwayReceived(), StreamWritable(None)]
    assert a.going_away
    with pytest.raises(ConnectionClosed):
        a.open_stream()
    ours.send(b"still here")
    settle(a, b)
    assert theirs.read(100) == b"still here"


def test_go_away_with_an_error_ends_the_session() -> None:
    a, b = sides()
    ours, _ = pair(a, b)
    a.receive_data(encode_header(FrameType.GO_AWAY, 0, 0, 2), 0.0)
    assert "code 2" in ended(a).reason
    with pytest.raises(StreamReset, match="code 2"):
        ours.read(1)


def test_what_arrived_before_the_end_can_still_be_read() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    finished, also_theirs = pair(a, b)
    ours.send(b"cut")
    finished.send(b"whole")
    finished.close_write()
    settle(a, b)
    b.receive_data(b"", 0.0)
    assert ended(b).reason == "the peer closed the connection"
    assert theirs.read(100) == b"cut"
    with pytest.raises(StreamReset, match="closed the connection"):
        theirs.read(100)
    assert also_theirs.read(100) == b"whole"
    assert also_theirs.read(100) == b""
    with pytest.raises(StreamReset):
        also_theirs.send(b"x")


def test_closing_tells_the_peer_and_keeps_what_was_queued_in_order() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    ours.send(b"last words")
    ours.close_write()
    a.close()
    a.close()
    data = flush(a, b)
    assert frames(data)[-1] == (FrameType.GO_AWAY, 0, 0, 0)
    assert theirs.read(100) == b"last words"
    assert theirs.read(100) == b""
    assert ended(a).code is GoAwayCode.NORMAL


def test_stream_ids_run_out() -> None:
    a, _ = sides()
    a._next_id = 2**32 - 1
    assert a.open_stream().id == 2**32 - 1
    with pytest.raises(ConnectionClosed):
        a.open_stream()
