"""Fuzz targets of floor 4. An exception that leaves one of them is a fault."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from struct import pack

from aiortc.rtcsctptransport import DataChunk, serialize_packet
from google_crc32c import value as crc32c

from ice import Description
from tests.simulation.loop import run_virtual
from webrtc_bridge.config import SctpConfig, StreamConfig
from webrtc_bridge.errors import FramingError, SdpError
from webrtc_bridge.framing import Frame, FrameDecoder, encode_frame
from webrtc_bridge.gateway.messages import MessageError, parse_message
from webrtc_bridge.offer_answer import OfferAnswer, Taken
from webrtc_bridge.sctp import SctpAssociation
from webrtc_bridge.sdp import DataDescription, Fingerprint, SdpType, Setup, parse, serialize
from webrtc_bridge.states import SignalingState
from webrtc_bridge.stream_machine import CloseChannel, StreamMachine, WasReset

MAX_FRAME = 4096


def fuzz_bridge_sdp(data: bytes) -> None:
    """Any text is a description or an SdpError, and what is one is written and read again the same."""
    text = data.decode("utf-8", "replace")
    for kind in SdpType:
        try:
            description = parse(text, kind)
        except SdpError:
            continue
        assert parse(serialize(description), kind) == description


def fuzz_bridge_later_description(data: bytes) -> None:
    """No later description upsets the exchange: it is an SdpError, or leaves a state that the next one can follow."""
    text = data.decode("utf-8", "replace")
    for side in SdpType:
        for ours_is_out in (False, True):
            room = _agreed(side)
            if ours_is_out:
                room.offer(LATER, (), False)
            for kind in (None, *SdpType):
                before = room.remote
                try:
                    taken = room.take(text, kind, lambda: True)
                except SdpError:
                    taken = Taken.PASSED_OVER
                if taken is Taken.PASSED_OVER:
                    assert room.remote == before
                assert room.remote is not None
                assert room.remote.fingerprints == _PEER.fingerprints
                if room.state is SignalingState.HAVE_REMOTE_OFFER:
                    parse(room.answer(OURS, (), False), SdpType.ANSWER)


OURS, LATER = Description("ours", "o" * 24), Description("later", "l" * 24)
_PEER = DataDescription(
    type=SdpType.OFFER,
    ufrag="abcd",
    pwd="abcdefghijklmnopqrstuvwx",
    fingerprints=(Fingerprint("sha-256", ":".join(["AB"] * 32)),),
    setup=Setup.ACTPASS,
)


def _agreed(side: SdpType) -> OfferAnswer:
    own = replace(_PEER, type=side, ufrag=OURS.ufrag, pwd=OURS.pwd)
    room = OfferAnswer(own, Counter(), max_description=10_000)
    if side is SdpType.OFFER:
        room.offer(OURS, (), False)
        room.take(serialize(replace(_PEER, type=SdpType.ANSWER, setup=Setup.ACTIVE)), None, lambda: True)
    else:
        room.take(serialize(_PEER), None, lambda: True)
        room.answer(OURS, (), False)
    return room


def fuzz_bridge_frames(data: bytes) -> None:
    """A byte stream gives the same frames however it is cut, and each frame is written and read again the same."""
    whole = _frames([data])
    assert whole == _frames([data[index : index + 1] for index in range(len(data))])
    for frame in whole:
        assert list(FrameDecoder(MAX_FRAME + 16).feed(encode_frame(frame.message, frame.flag))) == [frame]


def _frames(pieces: list[bytes]) -> list[Frame]:
    decoder = FrameDecoder(MAX_FRAME)
    frames: list[Frame] = []
    try:
        for piece in pieces:
            frames += decoder.feed(piece)
            assert len(decoder) <= MAX_FRAME + 2
    except FramingError:
        pass
    return frames


def fuzz_bridge_stream(data: bytes) -> None:
    """No message upsets a stream in any of its states; one that is over says so and closes its channel once."""
    for prepare in (
        lambda machine: None,
        lambda machine: machine.close_write(0.0),
        lambda machine: machine.close_read(0.0),
        lambda machine: (machine.close_write(0.0), machine.close_read(0.0)),
        lambda machine: machine.reset(),
    ):
        machine = StreamMachine(StreamConfig(max_received_frame=MAX_FRAME))
        prepare(machine)
        closings = resets = 0
        for index in range(0, len(data), 7):
            machine.receive_data(data[index : index + 7], 1.0)
        machine.handle_timeout(100.0)
        assert machine.next_timeout() is None
        while (effect := machine.next_effect()) is not None:
            closings += isinstance(effect, CloseChannel)
        while (event := machine.next_event()) is not None:
            resets += isinstance(event, WasReset)
        assert closings <= 1
        assert resets <= closings


def fuzz_bridge_gateway_message(data: bytes) -> None:
    """Any text of a page is a message or a MessageError that can be told."""
    try:
        parse_message(data.decode("utf-8", "replace"), 1000)
    except MessageError as error:
        told = error.to_json()
    else:
        return
    assert told["message"]


def fuzz_bridge_sctp(data: bytes) -> None:
    """No packet makes an association raise, in a task of its own either."""
    run_virtual(_sctp(data), limit=3600.0)


async def _sctp(data: bytes) -> None:
    for established in (False, True):
        dtls = _Dtls()
        association = SctpAssociation(dtls, SctpConfig(max_channels=4, receive_window=4096))  # type: ignore[arg-type]
        association.on("datachannel", lambda channel: None)
        await association.start(None, 5000)
        if established:
            association._last_received_tsn = 0
            association._ssthresh = 4096
            association._remote_verification_tag = 1
            association._set_state(association.State.ESTABLISHED)
        tag = association._local_verification_tag
        await association._handle_data(data)
        await association._handle_data(_packet(tag, data))
        for tsn in range(1, 3):
            chunk = DataChunk(flags=3)
            chunk.tsn, chunk.stream_id, chunk.stream_seq, chunk.protocol = tsn, 0, tsn - 1, 50 + len(data) % 8
            chunk.user_data = data[:1000]
            await association._handle_data(serialize_packet(5000, 5000, tag, chunk))
        await asyncio.sleep(1.0)
        await association.stop()


def _packet(tag: int, chunks: bytes) -> bytes:
    header = pack("!HHL", 5000, 5000, tag)
    checksum = crc32c(header + bytes(4) + chunks)
    return header + pack("<L", checksum) + chunks


class _Dtls:
    """A DTLS transport that is connected to nothing."""

    state = "connected"
    _role = "client"

    def _register_data_receiver(self, receiver: object) -> None:
        pass

    def _unregister_data_receiver(self, receiver: object) -> None:
        pass

    async def _send_data(self, data: bytes) -> None:
        pass
