from __future__ import annotations

import pytest

from signalling.errors import StreamClosed, StreamReset
from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.yamux_events import (
    StreamOpened,
    StreamReadable,
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
    assert deadline == Deadline(8.0, "yamux lingering stream")
    b.handle_timeout(7.9)
    assert len(b) == 1
    b.handle_timeout(8.0)
    assert len(b) == 0
    settle(a, b)
    with pytest.raises(StreamReset):
        ours.send(b"x")
    assert len(a) == 0


def test_single_bytes_do_not_cost_an_object_each() -> None:
    _, b = sides()
    b.receive_data(encode_header(FrameType.WINDOW_UPDATE, SYN, 1, 0), 0.0)
    for _ in range(100_000):
        b.receive_data(encode_header(FrameType.DATA, 0, 1, 1) + b"x", 0.0)
    stream = b.accept(0.0)
    assert stream is not None
    assert stream.buffered == 100_000
    assert len(stream._chunks) == 2


def test_large_writes_are_cut_into_frames_that_fit_a_noise_message() -> None:
    a, b = sides()
    ours, _ = pair(a, b)
    ours.send(bytes(200_000))
    data = a.next_effect() or b""
    assert all(length + 12 <= 65519 for _, _, _, length in frames(data))
    assert sum(length for _, _, _, length in frames(data)) == 200_000
