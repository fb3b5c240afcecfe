"""Properties of the bridge's parsers and machines: whatever comes, they say so and go on."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.properties import targets_bridge as targets
from webrtc_bridge.config import StreamConfig
from webrtc_bridge.framing import Flag, Frame, FrameDecoder, encode_frame
from webrtc_bridge.sdp import DataDescription, Fingerprint, SdpType, Setup, parse, serialize
from webrtc_bridge.stream_machine import (
    CloseChannel,
    DataReceived,
    ReadFinished,
    ReadState,
    SendMessage,
    StreamMachine,
    WriteState,
)

ICE_CHARS = st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
FRAMES = st.builds(Frame, st.none() | st.sampled_from(Flag), st.binary(max_size=40))
NOISE = st.binary(max_size=200)
# Bytes that look like frames: what a random string never gets to.
FRAMED = st.lists(FRAMES.map(lambda frame: encode_frame(frame.message, frame.flag)) | NOISE, max_size=8).map(b"".join)
CHUNKS = st.builds(
    lambda kind, flags, body: bytes([kind, flags]) + (4 + len(body)).to_bytes(2) + body + bytes(-len(body) % 4),
    st.integers(0, 15) | st.sampled_from([130, 192, 193]),
    st.integers(0, 255),
    st.binary(max_size=60),
)

SDP_LINES = st.sampled_from(
    [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        "a=ice-lite",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0",
        "m=application 9 DTLS/SCTP 5000",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:abcdefghijklmnopqrstuvwx",
        "a=ice-options:trickle ice2",
        "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
        "a=setup:actpass",
        "a=setup:active",
        "a=mid:0",
        "a=mid:a",
        "a=sctp-port:5000",
        "a=max-message-size:0",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host",
        "a=end-of-candidates",
        "a=",
        "=",
    ]
)

USABLE = ["a=ice-ufrag:abcde", "a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=mid:0", "a=sctp-port:5000"]


@given(
    st.builds(
        DataDescription,
        type=st.just(SdpType.ANSWER),
        ufrag=st.text(ICE_CHARS, min_size=4, max_size=32),
        pwd=st.text(ICE_CHARS, min_size=22, max_size=64),
        fingerprints=st.just((Fingerprint("sha-256", ":".join(["0A"] * 32)),)),
        setup=st.sampled_from([Setup.ACTIVE, Setup.PASSIVE]),
        tls_id=st.none() | st.from_regex(r"[A-Za-z0-9+/_-]{20,255}", fullmatch=True),
        ice_lite=st.booleans(),
        ice_options=st.sampled_from([(), ("trickle",), ("trickle", "ice2")]),
        sctp_port=st.integers(1, 65535),
        max_message_size=st.just(0) | st.integers(256, 2**53),
        mid=st.from_regex(r"[0-9a-z]{1,16}", fullmatch=True),
        candidates=st.lists(st.just("candidate:1 1 udp 1 192.0.2.1 9 typ host"), max_size=3).map(tuple),
        end_of_candidates=st.booleans(),
        session_id=st.integers(0, 2**62),
        session_version=st.integers(0, 2**31),
    )
)
def test_a_description_reads_back_as_it_was(description: DataDescription) -> None:
    assert parse(serialize(description), SdpType.ANSWER) == description


@given(st.lists(SDP_LINES, max_size=25))
def test_lines_in_any_order(lines: list[str]) -> None:
    text = "\r\n".join(["v=0", *lines]).encode()
    targets.fuzz_bridge_sdp(text)
    targets.fuzz_bridge_later_description(text)


@given(st.permutations(USABLE), st.sampled_from(["actpass", "active", "passive"]), st.text(ICE_CHARS, max_size=30))
def test_later_descriptions_that_are_nearly_right(lines: list[str], setup: str, pwd: str) -> None:
    head = ["v=0", "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", f"a=setup:{setup}", f"a=ice-pwd:{pwd}"]
    targets.fuzz_bridge_later_description("\r\n".join(head + lines).encode())


@given(NOISE)
def test_noise_is_no_description(data: bytes) -> None:
    targets.fuzz_bridge_sdp(data)


@given(FRAMED)
def test_frames_do_not_depend_on_the_cut(data: bytes) -> None:
    targets.fuzz_bridge_frames(data)


@given(st.lists(FRAMES, max_size=20), st.integers(1, 50))
def test_frames_read_back_as_they_were(frames: list[Frame], step: int) -> None:
    data = b"".join(encode_frame(frame.message, frame.flag) for frame in frames)
    decoder = FrameDecoder(1000)
    got = [frame for index in range(0, len(data), step) for frame in decoder.feed(data[index : index + step])]
    assert got == frames


@given(FRAMED)
def test_no_message_upsets_a_stream(data: bytes) -> None:
    targets.fuzz_bridge_stream(data)


@given(NOISE | st.text(max_size=100).map(str.encode))
def test_no_text_upsets_the_gateway(data: bytes) -> None:
    targets.fuzz_bridge_gateway_message(data)


@settings(max_examples=40)
@given(NOISE | st.lists(CHUNKS, max_size=5).map(b"".join))
def test_no_packet_upsets_an_association(data: bytes) -> None:
    targets.fuzz_bridge_sctp(data)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["send", "close_write", "close_read", "reset", "wait"])),
    max_size=30,
)


@given(ACTIONS, st.integers(1, 30))
def test_two_streams_agree_whatever_their_owners_do(actions: list[tuple[str, str]], step: int) -> None:
    """Data comes in order and whole, no end is told before it, and after all is said both channels are closed."""
    pair = Pair(step)
    for side, action in actions:
        pair.act(side, action)
    for side in ("a", "b"):
        pair.act(side, "close_write")
        pair.act(side, "close_read")
        pair.act(side, "wait")
    pair.act("a", "wait")
    for side, other in (("a", "b"), ("b", "a")):
        machine = pair.machines[side]
        assert machine.done
        if machine.read_state is ReadState.FINISHED and not pair.stopped[side]:
            assert pair.received[side] == pair.sent[other]
        assert pair.sent[other].startswith(pair.received[side])


class Pair:
    """Two stream machines whose channels deliver messages in order, cut in pieces of ``step`` bytes."""

    def __init__(self, step: int) -> None:
        self.machines = {side: StreamMachine(StreamConfig(fin_ack_timeout=10.0)) for side in "ab"}
        self.sent = {"a": b"", "b": b""}
        self.received = {"a": b"", "b": b""}
        self.stopped = {"a": False, "b": False}
        self.finished = {"a": False, "b": False}
        self.closing: set[str] = set()
        self._step = step
        self._now = 0.0

    def act(self, side: str, action: str) -> None:
        machine = self.machines[side]
        self._now += 0.01
        if action == "send" and machine.write_state is WriteState.OPEN:
            data = f"{side}{len(self.sent[side])};".encode()
            machine.send(data)
            self.sent[side] += data
        elif action == "close_write":
            machine.close_write(self._now)
        elif action == "close_read":
            machine.close_read(self._now)
            self.stopped[side] = True
        elif action == "reset":
            machine.reset()
            self.stopped = {"a": True, "b": True}
        elif action == "wait":
            self.deliver()
        self.take_events(side)

    def deliver(self) -> None:
        for _ in range(20):
            for side, other in (("a", "b"), ("b", "a")):
                while (effect := self.machines[side].next_effect()) is not None:
                    if isinstance(effect, SendMessage):
                        for index in range(0, len(effect.data), self._step):
                            self.machines[other].receive_data(effect.data[index : index + self._step], self._now)
                    elif isinstance(effect, CloseChannel):
                        self.machines[other].channel_closed()
                self.take_events(other)

    def take_events(self, side: str) -> None:
        while (event := self.machines[side].next_event()) is not None:
            if isinstance(event, DataReceived):
                assert not self.finished[side]
                self.received[side] += event.data
            elif isinstance(event, ReadFinished):
                self.finished[side] = True
