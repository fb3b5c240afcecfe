"""The SCTP association: what a peer may not do to it, flow control, and the private names that it stands on."""

from __future__ import annotations

import asyncio
import inspect
from struct import pack

import pytest
from aiortc import RTCSctpTransport
from aiortc.rtcsctptransport import Chunk, DataChunk, SackChunk

from tests.simulation.loop import virtual_time
from tests.webrtc_bridge.peers import Pair, connected_pair
from tests.webrtc_bridge.sctp_wire import BINARY, DCEP, inject, open_message
from webrtc_bridge.config import PeerConfig, SctpConfig
from webrtc_bridge.sctp import SctpAssociation


def data(
    pair: Pair, ahead: int, user_data: bytes, stream: int = 1, flags: int = 3, protocol: int = BINARY
) -> DataChunk:
    """Return a chunk of the offerer for the answerer, ``ahead`` of the last that it has (1 is the next)."""
    chunk = DataChunk(flags=flags)
    chunk.tsn = (target(pair)._last_received_tsn + ahead) % 2**32  # type: ignore[operator]
    chunk.stream_id = stream
    chunk.stream_seq = 0
    chunk.protocol = protocol
    chunk.user_data = user_data
    return chunk


def target(pair: Pair) -> SctpAssociation:
    return pair.answerer.sctp


@pytest.mark.parametrize(
    "messages",
    [
        [open_message(label=b"\xff\xfe")],
        [b"\x02"],
        [pack("!BBHLHH", 3, 0, 0, 0, 1, 0)[:12] + b"\xff"],
    ],
    ids=["label is not UTF-8", "acknowledged without an opening", "half a character"],
)
@virtual_time
async def test_what_makes_stock_aiortc_raise_ends_the_association_with_a_reason(messages: list[bytes]) -> None:
    async with connected_pair() as pair:
        for message in messages:
            await inject(target(pair), data(pair, 1, message, protocol=DCEP))
        await asyncio.gather(pair.answerer.wait_closed(), pair.offerer.wait_closed())
        assert pair.answerer.close_reason == "the peer broke SCTP"
        assert pair.offerer.close_reason in ("closed by the peer", "the peer broke SCTP")  # it gets acknowledgements


@virtual_time
async def test_a_channel_that_is_opened_twice_is_closed_and_the_others_go_on() -> None:
    async with connected_pair() as pair:
        sctp = target(pair)
        for stream in (1, 3):
            await inject(target(pair), data(pair, 1, open_message(b"x"), stream=stream, protocol=DCEP))
        twice, other = sctp._data_channels[1], sctp._data_channels[3]
        await inject(target(pair), data(pair, 1, open_message(b"x"), stream=1, protocol=DCEP))
        assert twice.readyState == "closing"
        assert other.readyState == "open"
        assert sctp.dropped == 1
        assert pair.answerer.close_reason is None


@pytest.mark.parametrize("kind", [1, 2, 4, 5, 6, 9, 130])
@virtual_time
async def test_a_parameter_of_length_zero_does_not_hang_us(kind: int) -> None:
    async with connected_pair() as pair:
        sctp = target(pair)
        chunk = Chunk(body=bytes(16 if kind in (1, 2) else 0) + bytes(8))
        chunk.type = kind
        await inject(sctp, chunk)
        assert sctp.dropped == 1
        assert not pair.answerer.closed


@virtual_time
async def test_more_channels_than_allowed() -> None:
    async with connected_pair(PeerConfig(sctp=SctpConfig(max_channels=10))) as pair:
        for number in range(11):
            await inject(target(pair), data(pair, 1, open_message(b"x"), stream=2 * number + 1, protocol=DCEP))
        await pair.answerer.wait_closed()
        assert pair.answerer.close_reason == "the peer broke SCTP: more than 10 data channels"


@virtual_time
async def test_data_on_more_streams_than_channels() -> None:
    async with connected_pair(PeerConfig(sctp=SctpConfig(max_channels=10))) as pair:
        for number in range(30):
            await inject(target(pair), data(pair, 1, b"x", stream=number, flags=2))
        await pair.answerer.wait_closed()
        assert "more streams" in str(pair.answerer.close_reason)


@virtual_time
async def test_chunks_outside_the_window_are_dropped() -> None:
    config = SctpConfig(receive_window=10_000, window_overrun=1000, max_misordered=100)
    async with connected_pair(PeerConfig(sctp=config)) as pair:
        sctp = target(pair)
        await inject(target(pair), data(pair, 102, b"x"))
        assert sctp.dropped == 1
        for ahead in range(2, 90):
            await inject(target(pair), data(pair, ahead, bytes(1000), flags=2))
        assert sctp.window >= -config.window_overrun
        assert sctp.dropped > 70
        assert not pair.answerer.closed


@virtual_time
async def test_sacks_that_make_no_sense_are_passed_over() -> None:
    async with connected_pair() as pair:
        sctp = target(pair)
        before = (sctp._last_sacked_tsn, sctp._cwnd)
        for ahead, gaps in ((0, [(5, 3)]), (0, [(2, 65535)] * 200), (1000, []), (0, [(0, 0)])):
            sack = SackChunk()
            sack.cumulative_tsn = (sctp._local_tsn - 1 + ahead) % 2**32
            sack.advertised_rwnd = 100_000
            sack.gaps = gaps
            await inject(target(pair), sack)
        assert (sctp._last_sacked_tsn, sctp._cwnd) == before
        assert not pair.answerer.closed


@virtual_time
async def test_the_peers_window_is_respected_and_probed() -> None:
    async with connected_pair() as pair:
        sctp = pair.offerer.sctp
        channel = pair.offerer.create_data_channel()
        await asyncio.sleep(1)
        held = target(pair).config.receive_window
        target(pair).hold(held)
        assert target(pair).window_shut
        await target(pair)._send_sack()
        await asyncio.sleep(0.1)
        assert sctp._peer_window == 0
        channel.send(bytes(50_000))
        await asyncio.sleep(0.1)
        assert sctp._flight_size <= 1200  # one chunk, which probes the window
        target(pair).release(held)
        await asyncio.sleep(5)
        assert sctp._flight_size == 0
        assert channel.bufferedAmount == 0


@virtual_time
async def test_giving_room_back_is_told_once_a_quarter_of_the_window() -> None:
    async with connected_pair() as pair:
        sctp = target(pair)
        sctp.hold(sctp.config.receive_window)
        await sctp._send_sack()
        before = pair.below_answerer.sent
        for _ in range(64):
            sctp.release(sctp.config.receive_window // 64)
            await asyncio.sleep(0)
        assert pair.below_answerer.sent - before == 4


@virtual_time
async def test_sending_after_the_path_is_gone_raises_nowhere() -> None:
    async with connected_pair() as pair:
        channel = pair.offerer.create_data_channel()
        await asyncio.sleep(1)
        pair.below_offerer._over = "gone"
        channel.send(b"x" * 10_000)
        await asyncio.sleep(10)


@virtual_time
async def test_noise_of_any_length_changes_nothing() -> None:
    async with connected_pair() as pair:
        for length in range(64):
            await target(pair)._handle_data(bytes(length))
            await target(pair)._handle_data(b"\xff" * length)
        assert not pair.answerer.closed


def test_the_private_names_of_aiortc_are_there() -> None:
    """Each is overridden or read by ``webrtc_bridge.sctp``: when aiortc drops or changes one, this says which."""
    coroutines = [
        "_handle_data",
        "_receive_data_chunk",
        "_receive_sack_chunk",
        "_reset_deferred_streams",
        "_transmit",
        "_send_sack",
        "_send_chunk",
        "_data_channel_receive",
        "_abort",
    ]
    for name in coroutines:
        assert inspect.iscoroutinefunction(getattr(RTCSctpTransport, name)), name
    assert list(inspect.signature(RTCSctpTransport._set_state).parameters) == ["self", "state"]
    assert {"ESTABLISHED", "CLOSED"} <= set(RTCSctpTransport.State.__members__)


async def test_the_private_attributes_of_aiortc_are_there() -> None:
    async with connected_pair() as pair:
        attributes = vars(pair.offerer.sctp)
        for name in (
            "_advertised_rwnd",
            "_association_state",
            "_cwnd",
            "_data_channel_queue",
            "_data_channels",
            "_inbound_streams",
            "_last_received_tsn",
            "_local_tsn",
            "_reconfig_deferred",
            "_sack_needed",
        ):
            assert name in attributes
        channel = pair.offerer.create_data_channel()
        for name in ("_setReadyState", "_addBufferedAmount"):
            assert callable(getattr(channel, name))
