from __future__ import annotations

import pytest

from signalling.errors import ConnectionClosed, LimitExceeded, StreamClosed, StreamReset
from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.roles import Role
from signalling.libp2p.yamux import Yamux
from signalling.libp2p.yamux_events import (
    GoAwayReceived,
    SessionEnded,
    StreamOpened,
    StreamReadable,
    StreamWritable,
    YamuxEvent,
)
from signalling.libp2p.yamux_frames import HEADER, FrameType, GoAwayCode, encode_header
from signalling.libp2p.yamux_stream import YamuxStream

SYN, ACK, FIN, RST = 1, 2, 4, 8
WINDOW = 256 * 1024


def sides(a: YamuxConfig | None = None, b: YamuxConfig | None = None) -> tuple[Yamux, Yamux]:
    return Yamux(Role.INITIATOR, 0.0, a), Yamux(Role.RESPONDER, 0.0, b)


def flush(sender: Yamux, receiver: Yamux, now: float = 0.0) -> bytes:
    data = sender.next_effect() or b""
    if data:
        receiver.receive_data(data, now)
    return data


def settle(a: Yamux, b: Yamux) -> None:
    for _ in range(1000):
        if not flush(a, b) and not flush(b, a):
            return
    raise AssertionError("the two sides never stop talking")


def drain(machine: Yamux) -> list[YamuxEvent]:
    events = list(machine.events)
    machine.events.clear()
    return events


def frames(data: bytes) -> list[tuple[int, int, int, int]]:
    """Return type, flags, stream id and length of every frame."""
    out = []
    while data:
        version, kind, flags, stream_id, length = HEADER.unpack_from(data)
        assert version == 0
        out.append((kind, flags, stream_id, length))
        data = data[12 + (length if kind == FrameType.DATA else 0) :]
    return out


def pair(a: Yamux, b: Yamux) -> tuple[YamuxStream, YamuxStream]:
    """Return both ends of a new stream, acknowledged."""
    ours = a.open_stream()
    flush(a, b)
    theirs = b.accept(0.0)
    assert theirs is not None
    b.handle_timeout(1.0)
    settle(a, b)
    drain(a)
    drain(b)
    return ours, theirs


def ended(machine: Yamux) -> SessionEnded:
    events = [event for event in drain(machine) if isinstance(event, SessionEnded)]
    assert len(events) == 1
    return events[0]


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


def test_syn_and_ack_ride_on_data() -> None:
    a, b = sides()
    ours = a.open_stream()
    assert ours.send(b"hello") == 5
    assert frames(flush(a, b)) == [(FrameType.DATA, SYN, 1, 5)]
    assert drain(b) == [StreamOpened(), StreamReadable(b._streams[1])]
    theirs = b.accept(0.0)
    assert theirs is not None
    assert theirs.read(100) == b"hello"
    theirs.send(b"hi")
    theirs.send(b"!")
    assert frames(flush(b, a)) == [(FrameType.DATA, ACK, 1, 2), (FrameType.DATA, 0, 1, 1)]
    assert ours.acknowledged
    assert ours.read(1) == b"h"
    assert ours.read(100) == b"i!"
    assert ours.read(100) is None


def test_an_acknowledgement_without_data_goes_out_when_it_is_due() -> None:
    a, b = sides()
    a.open_stream()
    flush(a, b)
    assert b.accept(1.0) is not None
    assert b.next_effect() is None
    deadline = b.next_timeout()
    assert deadline is not None
    assert deadline == (1.0 + YamuxConfig().ack_delay, "yamux acknowledgement")
    b.handle_timeout(deadline.at)
    assert frames(flush(b, a)) == [(FrameType.WINDOW_UPDATE, ACK, 1, 0)]


def test_a_stream_that_nobody_accepts_is_not_acknowledged() -> None:
    a, b = sides()
    a.open_stream()
    flush(a, b)
    b.handle_timeout(10.0)
    assert b.next_effect() is None


def test_half_close_leaves_the_other_half_open() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    ours.send(b"request")
    ours.close_write()
    settle(a, b)
    assert theirs.read(100) == b"request"
    assert theirs.read(100) == b""
    with pytest.raises(StreamClosed):
        ours.send(b"more")
    theirs.send(b"answer")
    theirs.close_write()
    settle(a, b)
    assert ours.read(100) == b"answer"
    assert ours.read(100) == b""
    assert len(a) == len(b) == 0


def test_fin_may_ride_on_data() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.DATA, SYN | FIN, 1, 3) + b"abc", 0.0)
    stream = b.accept(0.0)
    assert stream is not None
    assert stream.read(2) == b"ab"
    assert stream.read(2) == b"c"
    assert stream.read(2) == b""


def test_a_reset_reaches_both_halves_and_drops_what_is_unread() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    ours.send(b"lost")
    flush(a, b)
    ours.reset()
    assert frames(flush(a, b)) == [(FrameType.WINDOW_UPDATE, RST, 1, 0)]
    for stream in (ours, theirs):
        with pytest.raises(StreamReset):
            stream.read(1)
        with pytest.raises(StreamReset):
            stream.send(b"x")
        stream.reset()
        stream.close_write()
        stream.close_read()
    assert a.next_effect() is None
    assert b.next_effect() is None
    assert len(a) == len(b) == b.buffered == 0
    assert StreamReadable(theirs) in drain(b)


def test_a_stream_reset_before_its_syn_left_never_existed() -> None:
    a, _ = sides()
    a.open_stream().reset()
    assert a.next_effect() is None
    assert len(a) == 0


def test_the_window_holds_a_writer_back_until_the_reader_reads() -> None:
    config = YamuxConfig(max_window=WINDOW)
    a, b = sides(config, config)
    ours, theirs = pair(a, b)
    assert ours.send(bytes(WINDOW + 1)) == WINDOW
    assert ours.starved
    assert ours.send(b"x") == 0
    settle(a, b)
    assert theirs.buffered == WINDOW
    assert drain(a) == []
    read = 0
    while read < WINDOW // 2:
        read += len(theirs.read(65536) or b"")
    assert frames(flush(b, a)) == [(FrameType.WINDOW_UPDATE, 0, 1, read)]
    assert drain(a) == [StreamWritable(ours)]
    assert ours.send(bytes(WINDOW)) == read


def test_a_fast_reader_gets_a_wider_window_up_to_the_maximum() -> None:
    config = YamuxConfig(max_window=4 * WINDOW)
    a, b = sides(config, config)
    ours, theirs = pair(a, b)
    widest = 0
    for _ in range(200):
        ours.send(bytes(16 * 1024))
        settle(a, b)
        while theirs.read(65536):
            pass
        settle(a, b)
        widest = max(widest, ours.send_window)
    assert widest == 4 * WINDOW


def test_a_slow_reader_keeps_the_narrow_window() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    sent = read = 0
    for _ in range(300):
        sent += ours.send(bytes(16 * 1024))
        settle(a, b)
        if theirs.buffered > WINDOW // 2:
            read += len(theirs.read(8192) or b"")
            settle(a, b)
        assert theirs.buffered + theirs.receive_window <= WINDOW
    assert sent - read == theirs.buffered


def test_a_peer_that_overruns_the_window_is_cut_off() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.DATA, SYN, 1, WINDOW + 1), 0.0)
    assert ended(b).code is GoAwayCode.PROTOCOL_ERROR
    assert frames(b.next_effect() or b"")[-1] == (FrameType.GO_AWAY, 0, 0, 1)
    assert b.next_timeout() is None


def test_the_window_is_counted_over_frames() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.DATA, SYN, 1, WINDOW) + bytes(WINDOW), 0.0)
    assert b.ended is None
    b.receive_data(encode_header(FrameType.DATA, 0, 1, 1), 0.0)
    assert ended(b).code is GoAwayCode.PROTOCOL_ERROR


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


def test_data_behind_fin_is_dropped() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.DATA, SYN | FIN, 1, 1) + b"a", 0.0)
    b.receive_data(encode_header(FrameType.DATA, 0, 1, 1) + b"b", 0.0)
    stream = b.accept(0.0)
    assert stream is not None
    assert stream.read(10) == b"a"
    assert stream.read(10) == b""


def test_close_read_discards_and_lets_the_writer_finish() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    theirs.close_read()
    sent = 0
    while sent < 4 * WINDOW:
        sent += ours.send(bytes(65536))
        settle(a, b)
        assert theirs.buffered == b.buffered == 0
    with pytest.raises(StreamClosed):
        theirs.read(1)
    theirs.send(b"still writing")
    settle(a, b)
    assert ours.read(100) == b"still writing"


def test_a_stream_closed_both_ways_lingers_until_the_peer_has_closed_it() -> None:
    a, b = sides()
    ours, theirs = pair(a, b)
    theirs.send(b"answer")
    theirs.close_write()
    theirs.close_read()
    settle(a, b)
    for _ in range(8):
        assert ours.send(bytes(WINDOW // 2)) == WINDOW // 2
        settle(a, b)
    assert b.buffered == 0
    assert ours.read(100) == b"answer"
    assert len(b) == 1
    ours.close_write()
    settle(a, b)
    assert ours.read(1) == b""
    assert len(a) == len(b) == 0


def test_a_stream_that_the_peer_never_closes_is_reset_in_the_end() -> None:
    a, b = sides(None, YamuxConfig(linger=7.0))
    ours, theirs = pair(a, b)
    theirs.close_write()
    theirs.close_read()
    settle(a, b)
    deadline = b.next_timeout()
    assert deadline == (8.0, "yamux lingering stream")
    b.handle_timeout(7.9)
    assert len(b) == 1
    b.handle_timeout(8.0)
    assert len(b) == 0
    settle(a, b)
    with pytest.raises(StreamReset):
        ours.send(b"x")
    assert len(a) == 0


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


def test_single_bytes_do_not_cost_an_object_each() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.WINDOW_UPDATE, SYN, 1, 0), 0.0)
    for _ in range(100_000):
        b.receive_data(encode_header(FrameType.DATA, 0, 1, 1) + b"x", 0.0)
    stream = b.accept(0.0)
    assert stream is not None
    assert stream.buffered == 100_000
    assert len(stream._chunks) == 2


def test_pings_are_answered_with_their_own_value() -> None:
    a, b = sides()
    b.receive_data(encode_header(FrameType.PING, SYN, 0, 0xDEADBEEF), 0.0)
    assert (b.next_effect() or b"").hex() == "000200020000000" + "0" + "deadbeef"
    a.receive_data(encode_header(FrameType.PING, ACK, 0, 5), 0.0)
    assert a.ended is None


def test_a_flood_of_provocations_that_is_not_read_is_cut_off() -> None:
    _, b = sides(None, YamuxConfig(max_pending_answers=100))
    b.receive_data(encode_header(FrameType.PING, SYN, 0, 1) * 100, 0.0)
    assert b.ended is None
    assert len(b.next_effect() or b"") == 1200
    b.receive_data(encode_header(FrameType.PING, SYN, 0, 1) * 101, 0.0)
    assert ended(b).code is GoAwayCode.PROTOCOL_ERROR
    assert len(b.next_effect() or b"") == 1224


def test_a_silent_peer_is_pinged_and_then_given_up() -> None:
    config = YamuxConfig(keepalive=30.0, keepalive_timeout=20.0)
    a, b = sides(config)
    assert a.next_timeout() == (30.0, "yamux keepalive")
    a.handle_timeout(29.9)
    assert a.next_effect() is None
    a.handle_timeout(30.0)
    flush(a, b)
    assert a.next_timeout() == (50.0, "yamux ping timeout")
    b_answer = b.next_effect() or b""
    a.receive_data(b_answer, 30.25)
    assert a.round_trip == 0.25
    assert a.next_timeout() == (60.25, "yamux keepalive")
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
    assert a.next_timeout() == (65.0, "yamux ping timeout")


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


def test_large_writes_are_cut_into_frames_that_fit_a_noise_message() -> None:
    a, b = sides()
    ours, _ = pair(a, b)
    ours.send(bytes(200_000))
    data = a.next_effect() or b""
    assert all(length + 12 <= 65519 for _, _, _, length in frames(data))
    assert sum(length for _, _, _, length in frames(data)) == 200_000
