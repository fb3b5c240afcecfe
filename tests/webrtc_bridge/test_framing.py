"""The frames of data-channel streams: vectors, limits, and bytes in any cut."""

from __future__ import annotations

import pytest

from webrtc_bridge.errors import FramingError
from webrtc_bridge.framing import Flag, Frame, FrameDecoder, encode_frame, payload_limit


@pytest.mark.parametrize(
    ("frame", "encoded"),
    [
        (Frame(Flag.FIN, b""), "020800"),
        (Frame(Flag.STOP_SENDING, b""), "020801"),
        (Frame(Flag.RESET, b""), "020802"),
        (Frame(Flag.FIN_ACK, b""), "020803"),
        (Frame(None, b"hi"), "0412026869"),
        (Frame(Flag.FIN, b"hi"), "06080012026869"),
        (Frame(None, b""), "00"),
    ],
)
def test_vectors_of_the_specification(frame: Frame, encoded: str) -> None:
    assert encode_frame(frame.message, frame.flag).hex() == encoded
    assert list(FrameDecoder(100).feed(bytes.fromhex(encoded))) == [frame]


def test_the_largest_payload_fills_a_frame_of_16_kib() -> None:
    assert payload_limit(16384) == 16379
    assert len(encode_frame(bytes(16379))) <= 16384 < len(encode_frame(bytes(16380)))


def test_a_frame_too_small_for_data_is_a_callers_mistake() -> None:
    with pytest.raises(ValueError, match="no data fits"):
        payload_limit(2)


def test_prefix_and_body_may_come_in_two_messages_as_js_libp2p_sends_them() -> None:
    decoder = FrameDecoder(1000)
    encoded = encode_frame(b"x" * 300)
    assert list(decoder.feed(encoded[:2])) == []
    assert len(decoder) == 2
    assert list(decoder.feed(encoded[2:])) == [Frame(None, b"x" * 300)]
    assert len(decoder) == 0


def test_many_frames_in_one_message() -> None:
    decoder = FrameDecoder(1000)
    data = encode_frame(b"a") + encode_frame(flag=Flag.FIN) + encode_frame(b"b")[:-1]
    assert list(decoder.feed(data)) == [Frame(None, b"a"), Frame(Flag.FIN, b"")]
    assert list(decoder.feed(b"b")) == [Frame(None, b"b")]


def test_an_unknown_flag_is_passed_over() -> None:
    assert list(FrameDecoder(100).feed(bytes.fromhex("020809"))) == [Frame(None, b"")]


def test_unknown_fields_are_passed_over() -> None:
    assert list(FrameDecoder(100).feed(bytes.fromhex("06120268691801"))) == [Frame(None, b"hi")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("ffffffffffffffffff01", "bad frame length"),
        ("8000", "bad frame length"),
        ("e907", "exceeds the limit of 1000"),
        ("021205", "not a protobuf message"),
    ],
)
def test_what_breaks_the_framing(data: str, reason: str) -> None:
    decoder = FrameDecoder(1000)
    with pytest.raises(FramingError, match=reason):
        list(decoder.feed(bytes.fromhex(data) + b"\xff" * 2))


def test_a_frame_of_the_limit_is_taken() -> None:
    body = encode_frame(b"x" * 996)
    assert list(FrameDecoder(len(body) - 2).feed(body)) == [Frame(None, b"x" * 996)]
