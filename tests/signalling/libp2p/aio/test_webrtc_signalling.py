from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from signalling.errors import ConnectionClosed, ProtocolViolation
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.webrtc_signalling import SignallingStream
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.varint import encode_varint
from signalling.libp2p.webrtc_signalling import (
    EndOfCandidates,
    IceCandidate,
    MessageType,
    RemoteDescription,
    SignallingRole,
    answer_message,
    candidate_message,
    offer_message,
)
from tests.signalling.libp2p.memory import pipe
from tests.simulation.loop import virtual_time

CONFIG = SignallingConfig(max_message=1000)
CANDIDATE = IceCandidate(candidate="candidate:1 1 udp 1 192.0.2.1 5 typ host", sdp_mid="0", sdp_mline_index=0)


@contextlib.asynccontextmanager
async def conversation(role: SignallingRole) -> AsyncIterator[tuple[SignallingStream, Stream]]:
    """Yield our side, and the bare stream of the other."""
    ours, theirs = (Stream(end, "/webrtc-signaling/0.0.1", None) for end in pipe())  # type: ignore[arg-type]
    yield SignallingStream(ours, role, CONFIG), theirs
    await ours.reset()


@virtual_time
async def test_both_sides_meet() -> None:
    ours, theirs = (Stream(end, "/webrtc-signaling/0.0.1", None) for end in pipe())  # type: ignore[arg-type]
    dialler, listener = (
        SignallingStream(ours, SignallingRole.DIALLER),
        SignallingStream(theirs, SignallingRole.LISTENER),
    )
    await dialler.send_offer("the offer")
    await dialler.send_candidate(CANDIDATE)
    assert await listener.receive() == RemoteDescription(MessageType.SDP_OFFER, "the offer")
    await listener.send_answer("the answer")
    await listener.send_candidate(CANDIDATE)
    await listener.send_candidate(None)
    await listener.close_write()
    assert await dialler.receive() == RemoteDescription(MessageType.SDP_ANSWER, "the answer")
    assert await dialler.receive() == CANDIDATE
    assert await dialler.receive() == EndOfCandidates()
    assert await dialler.receive() is None
    await dialler.send_candidate(CANDIDATE)
    assert await listener.receive() == CANDIDATE
    assert await listener.receive() == CANDIDATE
    await dialler.close()
    assert await listener.receive() == EndOfCandidates()
    assert await listener.receive() is None


@virtual_time
async def test_strange_messages_between_are_passed_over() -> None:
    async with conversation(SignallingRole.LISTENER) as (listener, peer):
        for message in (
            b"\x08\x09",
            candidate_message(CANDIDATE),
            b"\xff",
            offer_message("o"),
            b"\x08\x02\x12\x04{}[]",
            candidate_message(None),
        ):
            await peer.write_delimited(message)
        assert await listener.receive() == RemoteDescription(MessageType.SDP_OFFER, "o")
        assert await listener.receive() == CANDIDATE
        assert await listener.receive() == EndOfCandidates()
        assert listener.counters == {"unreadable message": 1, "unknown type": 1, "unreadable candidate": 1}


@pytest.mark.parametrize(
    "data",
    [
        encode_varint(len(answer_message("a"))) + answer_message("a"),
        encode_varint(1001) + bytes(1001),
        b"\xff" * 20,
    ],
)
def test_a_peer_that_breaks_the_conversation_is_reset(data: bytes) -> None:
    @virtual_time
    async def run() -> None:
        async with conversation(SignallingRole.LISTENER) as (listener, peer):
            await peer.write(data)
            with pytest.raises(ProtocolViolation):
                await listener.receive()
            with pytest.raises(ConnectionClosed):
                await peer.read()

    run()


@virtual_time
async def test_a_peer_that_leaves_in_the_middle_of_a_message() -> None:
    async with conversation(SignallingRole.LISTENER) as (listener, peer):
        await peer.write(b"\x20abc")
        await peer.close()
        with pytest.raises(ConnectionClosed):
            await listener.receive()


@virtual_time
async def test_a_peer_that_leaves_before_its_description() -> None:
    async with conversation(SignallingRole.DIALLER) as (dialler, peer):
        await dialler.send_offer("o")
        await peer.close()
        with pytest.raises(ProtocolViolation):
            await dialler.receive()
