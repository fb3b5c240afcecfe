"""Streams, texts and channel data: whatever the cuts and the damage."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from stun.framing import FrameDecoder, StunStreamDecoder, encode_frame
from stun.message import Message
from tests.properties import targets_stun as targets
from tests.properties.strategies_stun import messages
from turn.framing import ChannelData, TurnStreamDecoder, encode_channel_data, parse_channel_data


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:stop] for start, stop in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 10**6), max_size=10)
channels = st.builds(ChannelData, st.integers(0x4000, 0x4FFF), st.binary(max_size=100))


@given(st.lists(messages(), max_size=5), CUTS)
def test_stun_streams(sent: list[Message], cuts: list[int]) -> None:
    wires = [message.serialize() for message in sent]
    decoder = StunStreamDecoder()
    assert [wire for piece in pieces(b"".join(wires), cuts) for wire in decoder.receive(piece)] == wires
    assert decoder.pending == 0


@given(st.lists(st.binary(max_size=300), max_size=5), CUTS)
def test_frames(packets: list[bytes], cuts: list[int]) -> None:
    decoder = FrameDecoder()
    stream = b"".join(map(encode_frame, packets))
    assert [packet for piece in pieces(stream, cuts) for packet in decoder.receive(piece)] == packets


@given(st.lists(messages() | channels, max_size=6), CUTS)
def test_turn_streams(sent: list[Message | ChannelData], cuts: list[int]) -> None:
    wires = [
        item.serialize() if isinstance(item, Message) else encode_channel_data(*item, padded=True) for item in sent
    ]
    decoder = TurnStreamDecoder()
    assert [wire for piece in pieces(b"".join(wires), cuts) for wire in decoder.receive(piece)] == wires
    assert decoder.pending == 0


@given(channels, st.booleans())
def test_channel_data(item: ChannelData, padded: bool) -> None:
    assert parse_channel_data(encode_channel_data(*item, padded=padded)) == item


@given(st.binary(max_size=300) | st.builds(Message.serialize, messages()))
def test_any_bytes(data: bytes) -> None:
    targets.fuzz_stun_stream(data)
    targets.fuzz_turn_stream(data)
    targets.fuzz_turn_channel_data(data)
    targets.fuzz_stun_demux(data)
    targets.fuzz_stun_nonce(data)
    targets.fuzz_stun_strings(data)


@given(st.text(max_size=60) | st.from_regex(r"(stun|turn)s?:[a-z0-9.:\[\]?=]{0,40}", fullmatch=True))
@example("stun:[::1]:5")
@example("turn:٣.example:٣")
def test_any_text_is_a_server_or_a_uri_error(text: str) -> None:
    targets.fuzz_stun_uri(text.encode("utf-8", "replace"))
