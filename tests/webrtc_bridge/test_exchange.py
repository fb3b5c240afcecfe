"""The signalling stream with an owner that must not wait."""

from __future__ import annotations

import asyncio

import pytest

from signalling.errors import ConnectionClosed, ProtocolViolation
from signalling.libp2p.webrtc_signalling import EndOfCandidates, IceCandidate, RemoteDescription, SignallingRole
from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.signalling_pipe import stream_pair
from webrtc_bridge.exchange import SignallingExchange, linger

DIALLER, LISTENER = SignallingRole.DIALLER, SignallingRole.LISTENER


@virtual_time
async def test_description_and_candidates_go_across_in_order() -> None:
    one, other, below, _ = stream_pair()
    got: list[object] = []
    async with SignallingExchange(one, DIALLER) as dialler, SignallingExchange(other, LISTENER) as listener:
        dialler.send_candidate(IceCandidate(candidate="too early"))
        dialler.send_description("v=0")
        for number in range(3):
            dialler.send_candidate(IceCandidate(candidate=f"candidate:{number}"))
        dialler.send_candidate(None)
        async for item in listener.items():
            got.append(item)
            if len(got) == 4:
                break
        listener.send_description("v=1")
        answers = dialler.items()
        answer = await anext(answers)
        assert isinstance(answer, RemoteDescription)
        assert answer.sdp == "v=1"
        await answers.aclose()
    assert isinstance(got[0], RemoteDescription)
    assert [item.candidate for item in got if isinstance(item, IceCandidate)] == [f"candidate:{n}" for n in range(3)]
    assert len(below.wrote) == 4  # the end of candidates is not sent
    assert below.closed_write


@virtual_time
async def test_the_peers_end_of_the_stream_ends_the_items_in_peace() -> None:
    one, other, below, _ = stream_pair()
    async with SignallingExchange(one, DIALLER) as dialler, SignallingExchange(other, LISTENER) as listener:
        dialler.send_description("v=0")
        items = listener.items()
        assert isinstance(await anext(items), RemoteDescription)
        await below.close_write()
        assert [item async for item in items] == [EndOfCandidates()]
        assert listener.broken is None


@virtual_time
async def test_a_reset_after_the_description_is_noted_and_does_not_raise() -> None:
    one, other, below, _ = stream_pair()
    async with SignallingExchange(one, DIALLER) as dialler, SignallingExchange(other, LISTENER) as listener:
        dialler.send_description("v=0")
        items = listener.items()
        await anext(items)
        await below.reset()
        assert [item async for item in items] == []
        assert listener.broken == "the peer reset the stream"
        listener.send_description("v=0")  # goes nowhere, and hurts nobody


@virtual_time
async def test_an_end_before_the_description_is_a_failure() -> None:
    _, other, below, _ = stream_pair()
    async with SignallingExchange(other, LISTENER) as listener:
        await below.reset()
        with pytest.raises(ConnectionClosed):
            await anext(listener.items())
    _, other, below, _ = stream_pair()
    async with SignallingExchange(other, LISTENER) as listener:
        await below.close_write()
        with pytest.raises(ProtocolViolation, match="before its SDP_OFFER"):
            await anext(listener.items())


@virtual_time
async def test_leaving_with_an_exception_resets_the_stream() -> None:
    one, _, below, far = stream_pair()
    with pytest.raises(KeyError):
        async with SignallingExchange(one, DIALLER):
            raise KeyError
    assert below.was_reset
    assert far.was_reset


@virtual_time
async def test_lingering_waits_for_the_peer_but_not_for_ever() -> None:
    one, other, _, _ = stream_pair()
    loop = asyncio.get_running_loop()
    loop.call_later(0.5, lambda: asyncio.ensure_future(other.close_write()))
    await linger(one, 2.0)
    assert loop.time() == pytest.approx(0.5)
    one, other, _, _ = stream_pair()
    await linger(one, 2.0)
    assert loop.time() == pytest.approx(2.5)
