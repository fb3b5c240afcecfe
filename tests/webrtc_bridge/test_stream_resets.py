"""Streams that are reset and used again (RFC 6525, RFC 8831 section 6.7, RFC 8832 section 6), packet by packet."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCDataChannel, RTCSctpTransport
from aiortc.rtcsctptransport import (
    Chunk,
    DataChunk,
    ReconfigChunk,
    SackChunk,
    StreamResetOutgoingParam,
    StreamResetResponseParam,
)

from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.peers import connected_pair
from tests.webrtc_bridge.sctp_wire import BINARY, DCEP, inject, open_message
from webrtc_bridge.sctp import SctpAssociation

PERFORMED, IN_PROGRESS = 1, 6
STREAM = 1
"""What the peer, who is the DTLS server, opens first."""


class Wire:
    """An association whose peer is the test: it writes chunks, and reads what would have been sent."""

    def __init__(self, sctp: SctpAssociation, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sctp = sctp
        self.sent: list[Chunk] = []
        self.opened: list[RTCDataChannel] = []
        self._sequence = sctp._reconfig_response_seq
        self._stream_sequence: dict[int, int] = {}
        monkeypatch.setattr(sctp, "_send_chunk", self._record)
        sctp.on("datachannel", self.opened.append)

    async def _record(self, chunk: Chunk) -> None:
        self.sent.append(chunk)

    async def receive(self, chunk: Chunk) -> None:
        await inject(self.sctp, chunk)
        await asyncio.sleep(0.01)

    async def data(self, user_data: bytes, protocol: int, stream: int = STREAM) -> None:
        """The peer sends a message."""
        chunk = DataChunk(flags=3)
        chunk.tsn = (self.sctp._last_received_tsn + 1) % 2**32  # type: ignore[operator]
        chunk.stream_id, chunk.protocol, chunk.user_data = stream, protocol, user_data
        chunk.stream_seq = self._stream_sequence.get(stream, 0)
        self._stream_sequence[stream] = chunk.stream_seq + 1
        await self.receive(chunk)

    async def acknowledge(self) -> None:
        """The peer acknowledges all that was sent."""
        sack = SackChunk()
        sack.cumulative_tsn = (self.sctp._local_tsn - 1) % 2**32
        sack.advertised_rwnd = 100_000
        await self.receive(sack)

    async def reset(self, stream: int = STREAM) -> None:
        """The peer resets its half of a stream."""
        self._sequence = (self._sequence + 1) % 2**32
        self._stream_sequence.pop(stream, None)
        last = self.sctp._last_received_tsn
        assert last is not None
        await self.reconfigure(13, StreamResetOutgoingParam(self._sequence, 0, last, [stream]))

    async def answer(self, request: StreamResetOutgoingParam, result: int) -> None:
        """The peer answers a request for a reset."""
        await self.reconfigure(16, StreamResetResponseParam(request.request_sequence, result))

    async def reconfigure(self, kind: int, parameter: Any) -> None:
        chunk = ReconfigChunk()
        chunk.params.append((kind, bytes(parameter)))
        await self.receive(chunk)

    def requests(self) -> list[StreamResetOutgoingParam]:
        """Return the requests for a reset that were sent."""
        chunks = [chunk for chunk in self.sent if isinstance(chunk, ReconfigChunk)]
        return [StreamResetOutgoingParam.parse(value) for chunk in chunks for kind, value in chunk.params if kind == 13]

    def messages(self, stream: int = STREAM) -> list[tuple[int, bytes]]:
        """Return sequence number and content of what was sent on a stream."""
        chunks = [chunk for chunk in self.sent if isinstance(chunk, DataChunk) and chunk.stream_id == stream]
        return [(chunk.stream_seq, chunk.user_data) for chunk in chunks]


@asynccontextmanager
async def a_wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    async with connected_pair() as pair:
        with monkeypatch.context() as patched:
            wire = Wire(pair.answerer.sctp, patched)
            yield wire
            assert pair.answerer.close_reason is None


async def closed_under_load(wire: Wire) -> tuple[RTCDataChannel, StreamResetOutgoingParam]:
    """Let both sides close the first channel while data of ours is on its way, so that the peer puts our reset off."""
    await wire.data(open_message(), DCEP)
    (channel,) = wire.opened
    await wire.acknowledge()
    channel.send(b"the last word")
    channel.close()
    await asyncio.sleep(0.01)
    (request,) = wire.requests()
    await wire.reset()
    await wire.answer(request, IN_PROGRESS)
    assert channel.readyState == "closing"
    return channel, request


@virtual_time
async def test_a_reset_that_was_put_off_is_asked_for_again_once_the_peer_has_the_data(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_wire(monkeypatch) as wire:
        channel, request = await closed_under_load(wire)
        assert wire.requests() == [request]
        await wire.acknowledge()
        assert wire.requests() == [request, request]
        await wire.acknowledge()
        assert wire.requests() == [request, request]
        await wire.answer(request, PERFORMED)
        assert channel.readyState == "closed"


@virtual_time
async def test_a_peer_that_puts_a_reset_off_for_ever_is_asked_by_the_timer_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_wire(monkeypatch) as wire:
        _, request = await closed_under_load(wire)
        await wire.acknowledge()
        for _ in range(50):
            await wire.answer(request, IN_PROGRESS)  # each restarts the timer
        assert wire.requests() == [request, request]
        await asyncio.sleep(1.5 * wire.sctp._rto)
        assert wire.requests() == [request, request, request]


@virtual_time
async def test_a_channel_that_is_opened_again_before_the_answer_to_our_reset_is_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_wire(monkeypatch) as wire:
        old, request = await closed_under_load(wire)
        await wire.acknowledge()
        wire.sent.clear()
        await wire.data(open_message(), DCEP)
        assert old.readyState == "closed"
        new = wire.opened[1]
        assert new.readyState == "open"
        assert wire.messages() == [(0, b"\x02")]  # acknowledged, and numbered anew
        await wire.answer(request, PERFORMED)  # of the old one
        new.send(b"hello")
        heard: list[bytes] = []
        new.on("message", heard.append)
        await wire.acknowledge()
        await wire.data(b"and to you", BINARY)
        assert wire.messages()[-1] == (1, b"hello")
        assert heard == [b"and to you"]
        new.close()
        await asyncio.sleep(0.01)
        again = wire.requests()[-1]
        assert again.request_sequence == (request.request_sequence + 1) % 2**32
        await wire.answer(again, PERFORMED)
        assert new.readyState == "closing"
        await wire.reset()
        assert new.readyState == "closed"
        assert wire.sctp.channels == 0


@virtual_time
async def test_other_streams_of_the_same_request_are_closed_by_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_wire(monkeypatch) as wire:
        for stream in (1, 3):
            await wire.data(open_message(), DCEP, stream)
        one, other = wire.opened
        await wire.acknowledge()
        one.close()
        other.close()
        await asyncio.sleep(0.01)
        (request,) = wire.requests()
        assert request.streams == [1, 3]
        for stream in (1, 3):
            await wire.reset(stream)
        await wire.data(open_message(), DCEP, 3)
        assert (one.readyState, other.readyState, wire.opened[2].readyState) == ("closing", "closed", "open")
        await wire.answer(request, PERFORMED)
        assert (one.readyState, wire.opened[2].readyState) == ("closed", "open")


@pytest.mark.parametrize("acknowledged", [True, False])
@virtual_time
async def test_an_opening_while_the_peers_half_is_in_use_closes_the_channel(
    acknowledged: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_wire(monkeypatch) as wire:
        await wire.data(open_message(), DCEP)
        if acknowledged:
            await wire.acknowledge()
        await wire.data(open_message(), DCEP)
        assert len(wire.opened) == 1
        assert wire.sctp.dropped == 1
        assert [request.streams for request in wire.requests()] == [[STREAM]]
        assert wire.opened[0].readyState == "closing"


@virtual_time
async def test_an_opening_while_the_peer_may_still_get_data_of_the_old_channel_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would take the old channel's last words for the new one's; the reset that it has yet to see tells it."""
    async with a_wire(monkeypatch) as wire:
        channel, request = await closed_under_load(wire)
        await wire.data(open_message(), DCEP)
        assert wire.opened == [channel]
        assert wire.sctp.dropped == 1
        await wire.acknowledge()
        assert wire.requests() == [request, request]
        await wire.answer(request, PERFORMED)
        assert channel.readyState == "closed"
        assert wire.sctp.channels == 0


@virtual_time
async def test_a_peer_that_opens_what_only_we_have_reset_is_told_by_another_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with a_wire(monkeypatch) as wire:
        await wire.data(open_message(), DCEP)
        await wire.acknowledge()
        (channel,) = wire.opened
        channel.close()
        await asyncio.sleep(0.01)
        await wire.answer(wire.requests()[0], PERFORMED)
        for number in range(1, 4):
            await wire.data(open_message(), DCEP)
            assert wire.sctp.dropped == number
        assert [request.streams for request in wire.requests()] == [[STREAM], [STREAM]]
        await wire.reset()
        assert channel.readyState == "closing"
        await wire.answer(wire.requests()[1], PERFORMED)
        assert channel.readyState == "closed"
        assert wire.sctp.channels == 0


def test_the_private_names_of_aiortc_are_there() -> None:
    coroutines = ("_receive_reconfig_param", "_send_reconfig_param", "_transmit_reconfig")
    assert all(inspect.iscoroutinefunction(getattr(RTCSctpTransport, name)) for name in coroutines)
    for name in ("_data_channel_close", "_data_channel_closed"):
        assert callable(getattr(RTCSctpTransport, name))


async def test_the_private_attributes_of_aiortc_are_there() -> None:
    async with connected_pair() as pair:
        assert set(vars(pair.offerer.sctp)) >= {
            "_data_channel_inbound_reset",
            "_data_channel_outbound_reset",
            "_forward_tsn_streams",
            "_last_sacked_tsn",
            "_outbound_stream_seq",
            "_reconfig_queue",
            "_reconfig_request",
        }
