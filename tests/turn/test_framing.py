from __future__ import annotations

import pytest

from tests.stun import vectors
from turn.errors import TurnFramingError, TurnParseError
from turn.framing import ChannelData, TurnStreamDecoder, cut_read, encode_channel_data, parse_channel_data


def test_on_the_wire() -> None:
    assert encode_channel_data(0x4001, b"abcde", padded=False) == bytes.fromhex("40010005") + b"abcde"
    assert encode_channel_data(0x4001, b"abcde", padded=True) == bytes.fromhex("40010005") + b"abcde\0\0\0"
    assert encode_channel_data(0x4FFF, b"", padded=True) == bytes.fromhex("4fff0000")


@pytest.mark.parametrize("size", range(9))
@pytest.mark.parametrize("padded", [False, True])
def test_round_trip(size: int, padded: bool) -> None:
    data = encode_channel_data(0x4000, b"x" * size, padded=padded)
    assert parse_channel_data(data) == ChannelData(0x4000, b"x" * size)


@pytest.mark.parametrize("wire", ["", "400100", "40010001", "3fff0000", "50000000", "00010000", "4001000261"])
def test_what_is_no_channel_data(wire: str) -> None:
    with pytest.raises(TurnParseError):
        parse_channel_data(bytes.fromhex(wire))


def test_what_cannot_be_sent() -> None:
    for channel in (0x3FFF, 0x5000):
        with pytest.raises(ValueError):
            encode_channel_data(channel, b"", padded=True)
    with pytest.raises(ValueError):
        encode_channel_data(0x4000, bytes(65536), padded=True)


@pytest.mark.parametrize("chunk", [1, 3, 4, 7, 1000])
def test_a_stream_of_both(chunk: int) -> None:
    first = encode_channel_data(0x4001, b"12345", padded=True)
    second = encode_channel_data(0x4002, b"", padded=True)
    stream = first + vectors.REQUEST + second + first
    decoder = TurnStreamDecoder()
    found = [message for at in range(0, len(stream), chunk) for message in decoder.receive(stream[at : at + chunk])]
    assert found == [first, vectors.REQUEST, second, first]
    assert decoder.pending == 0
    assert parse_channel_data(found[0]) == ChannelData(0x4001, b"12345")


@pytest.mark.parametrize("head", [b"POST", b"\x50\0\0\0", b"\0\1\0\2"])
def test_other_protocols_break_the_stream(head: bytes) -> None:
    with pytest.raises(TurnFramingError):
        TurnStreamDecoder().receive(head)


def test_the_limit() -> None:
    with pytest.raises(TurnFramingError, match="1004"):
        TurnStreamDecoder(1000).receive(bytes.fromhex("400103e8"))


def test_no_piece_of_a_read_completes_more_messages_than_asked_for() -> None:
    wire = b"".join(encode_channel_data(0x4000, bytes(number % 2), padded=True) for number in range(1000))
    decoder = TurnStreamDecoder()
    decoder.receive(wire[:3])
    pieces = list(cut_read(wire[3:], 7))
    assert b"".join(pieces) == wire[3:]
    counts = [len(decoder.receive(piece)) for piece in pieces]
    assert sum(counts) == 1000
    assert max(counts) <= 7
    assert list(cut_read(b"", 7)) == [b""]
