from __future__ import annotations

import pytest

from stun.errors import StunFramingError
from stun.framing import FrameDecoder, StunStreamDecoder, encode_frame
from tests.stun import vectors

STREAM = vectors.REQUEST + vectors.IPV4_RESPONSE + vectors.LONG_TERM_REQUEST
MESSAGES = [vectors.REQUEST, vectors.IPV4_RESPONSE, vectors.LONG_TERM_REQUEST]


@pytest.mark.parametrize("chunk", [1, 3, 20, 107, 108, 109, 1000])
def test_stun_messages_come_out_whole(chunk: int) -> None:
    decoder = StunStreamDecoder()
    found = [message for at in range(0, len(STREAM), chunk) for message in decoder.receive(STREAM[at : at + chunk])]
    assert found == MESSAGES
    assert decoder.pending == 0


def test_an_incomplete_message_waits() -> None:
    decoder = StunStreamDecoder()
    assert decoder.receive(vectors.REQUEST[:100]) == []
    assert decoder.pending == 100


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\n", b"\x16\x03\x01\x02", b"\x00\x01\x00\x03"])
def test_other_protocols_break_the_stream(head: bytes) -> None:
    with pytest.raises(StunFramingError):
        StunStreamDecoder().receive(head)


def test_the_limit_is_known_from_the_header() -> None:
    decoder = StunStreamDecoder(108)
    assert decoder.receive(vectors.REQUEST) == [vectors.REQUEST]
    with pytest.raises(StunFramingError, match="116"):
        decoder.receive(vectors.LONG_TERM_REQUEST[:4])


@pytest.mark.parametrize("chunk", [1, 2, 5, 100])
def test_frames(chunk: int) -> None:
    packets = [b"", b"a", b"x" * 300, b"end"]
    stream = b"".join(map(encode_frame, packets))
    decoder = FrameDecoder()
    assert [p for at in range(0, len(stream), chunk) for p in decoder.receive(stream[at : at + chunk])] == packets
    assert decoder.pending == 0


def test_frame_limits() -> None:
    assert encode_frame(bytes(65535))[:2] == b"\xff\xff"
    with pytest.raises(ValueError):
        encode_frame(bytes(65536))
    with pytest.raises(StunFramingError):
        FrameDecoder(10).receive(b"\0\x0b")
