"""aiortc's SCTP with limits and flow control (quarantine: the private names of ``RTCSctpTransport``).

What stock aiortc leaves open to the peer on the other side, and what this subclass adds:

- it ignores the peer's receive window when sending, and never shuts its own: :meth:`hold` and :meth:`release` count
  unread bytes, and :meth:`_transmit` respects what the peer announces (RFC 9260 section 6.1, 6.2);
- chunks beyond its window are kept all the same: they are dropped here;
- a parameter of length 0 makes its parser loop for ever: such packets are dropped before it sees them;
- a chunk that its parsers did not expect raises out of the DTLS reading task with a traceback: here the association is
  aborted and the reason is kept;
- a send after the end of the path raises in a task that nobody awaits: here it counts as a lost packet;
- a peer that has put a reset of ours off is asked again only when a timer of a second runs out, and meanwhile no other
  stream is reset and an opening of the same one not understood: :meth:`_ask_again` and :meth:`_is_done_over_there`.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from aiortc import RTCDataChannel, RTCDtlsTransport, RTCSctpTransport
from aiortc.rtcsctptransport import (
    DATA_CHANNEL_OPEN,
    RECONFIG_RESULT_IN_PROGRESS,
    SCTP_COMMON_HEADER_LENGTH,
    WEBRTC_DCEP,
    Chunk,
    DataChunk,
    SackChunk,
    StreamAddOutgoingParam,
    StreamResetOutgoingParam,
    StreamResetResponseParam,
)

from webrtc_bridge.config import SctpConfig

__all__ = ["HostileChunk", "SctpAssociation"]

logger = logging.getLogger("webrtc_bridge")

TSN_MODULO = 2**32


class HostileChunk(ValueError):
    """The peer broke a limit of :class:`~webrtc_bridge.config.SctpConfig`."""


UNPARSEABLE = (AssertionError, AttributeError, LookupError, NameError, TypeError, ValueError, struct.error)
"""What aiortc's SCTP raises on chunks that it did not expect, seen by fuzzing it; never an error of the path."""


class SctpAssociation(RTCSctpTransport):
    """One association: ``state`` and data channels as in aiortc, plus limits, flow control and a reason for its end."""

    def __init__(self, dtls: RTCDtlsTransport, config: SctpConfig | None = None) -> None:
        self.config = config or SctpConfig()
        self.on_established: Callable[[], None] = _nothing
        """Called once when user data can flow."""
        self.on_closed: Callable[[str], None] = _nothing_with_reason
        """Called once, with the reason, when the association ends."""
        self.on_window_shut: Callable[[], None] = _nothing
        """Called when bytes are held and :attr:`window_shut` is true."""
        self.dropped = 0
        """Chunks dropped because they were outside the window, and packets because they were malformed."""
        self._peer_window: int | None = None
        self._announced = self.config.receive_window
        self._reason = "closed by the peer"
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self._reopened: set[int] = set()
        """Streams of the reset request in flight that the peer has reset, as it has opened them again."""
        self._put_off: int | None = None
        """The last request for a reset that the peer has said it will carry out later,"""
        self._asked_again: int | None = None
        """and the last that was sent again for that, which is done once."""
        super().__init__(dtls, self.config.port)
        self._advertised_rwnd = self.config.receive_window

    @property
    def window(self) -> int:
        """Bytes of the receive window that are free; negative when a peer overran it."""
        return self._advertised_rwnd

    @property
    def window_shut(self) -> bool:
        """Whether so little of the window is free that a sender hardly gets on."""
        return self._advertised_rwnd < self.config.receive_window // 16

    @property
    def channels(self) -> int:
        """Data channels in the table: open ones, and those whose closing the peer has not answered."""
        return len(self._data_channels)

    def hold(self, count: int) -> None:
        """Take ``count`` unread bytes out of the window that is announced to the peer."""
        self._advertised_rwnd -= count
        if self.window_shut:
            self.on_window_shut()

    def release(self, count: int) -> None:
        """Give ``count`` bytes back to the window, and tell the peer when that makes a difference to it."""
        self._advertised_rwnd += count
        grown = self._advertised_rwnd - self._announced
        if grown >= self.config.receive_window // 4 and self._association_state == self.State.ESTABLISHED:
            self._announced = self._advertised_rwnd
            self._spawn(self._send_sack())

    def abort(self, reason: str) -> None:
        """End the association at once with an ABORT (RFC 9260 section 9.1)."""
        self._reason = reason
        self._spawn(self._abort_now())

    def open_early(self, channel: RTCDataChannel) -> None:
        """Let data follow the opening message of ``channel`` without waiting for the peer's acknowledgement.

        RFC 8832 section 6 allows it on ordered channels: SCTP delivers the opening first. Saves a round trip a stream.
        """
        if self._association_state == self.State.ESTABLISHED and channel.ordered:
            channel._setReadyState("open")

    def discard(self, channel: RTCDataChannel) -> None:
        """Drop the messages of ``channel`` that are not sent yet, but neither its opening nor the last message."""
        queued = [item for item in self._data_channel_queue if item[0] is channel and item[1] != WEBRTC_DCEP]
        dropped = {id(item) for item in queued[:-1]}
        self._data_channel_queue = deque(item for item in self._data_channel_queue if id(item) not in dropped)
        channel._addBufferedAmount(-sum(len(item[2]) for item in queued[:-1]))

    async def _abort_now(self) -> None:
        if self._association_state != self.State.CLOSED:
            await self._abort()
        self._set_state(self.State.CLOSED)

    def _spawn(self, coroutine: object) -> None:
        task = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]  # a coroutine of an untyped base
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Abort the association and end every task of it; harmless twice."""
        await super().stop()
        for task in tuple(self._tasks):
            task.cancel()

    def _set_state(self, state: RTCSctpTransport.State) -> None:
        super()._set_state(state)
        if state == self.State.ESTABLISHED:
            self.on_established()
        elif state == self.State.CLOSED and not self._ended:
            self._ended = True
            self.on_closed(self._reason)

    async def _handle_data(self, data: bytes) -> None:
        if self._ended:
            return
        if not _parameters_end(data):
            self.dropped += 1
            return
        try:
            await super()._handle_data(data)
        except UNPARSEABLE as error:
            logger.debug("aborting an SCTP association on a bad packet: %r", error)
            self._reason = f"the peer broke SCTP: {error}" if isinstance(error, HostileChunk) else "the peer broke SCTP"
            await self._abort_now()

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        if self._beyond_window(chunk):
            self.dropped += 1
            self._sack_needed = True
            return
        if len(self._inbound_streams) > 2 * self.config.max_channels and chunk.stream_id not in self._inbound_streams:
            raise HostileChunk("data on more streams than channels are allowed")
        await super()._receive_data_chunk(chunk)

    def _beyond_window(self, chunk: DataChunk) -> bool:
        last = self._last_received_tsn
        ahead = (chunk.tsn - last) % TSN_MODULO if last is not None else 0
        if ahead >= TSN_MODULO // 2:
            return False  # a duplicate: it takes no room, and has to be acknowledged
        full = self._advertised_rwnd + self.config.window_overrun < len(chunk.user_data)
        return full or ahead > self.config.max_misordered

    async def _receive_sack_chunk(self, chunk: SackChunk) -> None:
        outstanding = (self._local_tsn - 1 - chunk.cumulative_tsn) % TSN_MODULO
        if outstanding >= TSN_MODULO // 2:
            return  # it acknowledges what was never sent
        chunk.gaps = [gap for gap in chunk.gaps if 1 < gap[0] <= gap[1] <= outstanding]
        self._peer_window = chunk.advertised_rwnd
        await super()._receive_sack_chunk(chunk)
        await self._ask_again()

    # ---------------------------------------------------------------- streams that are reset (RFC 6525) and used again

    async def _receive_reconfig_param(
        self, param: StreamAddOutgoingParam | StreamResetOutgoingParam | StreamResetResponseParam
    ) -> None:
        request = self._reconfig_request
        if not isinstance(param, StreamResetResponseParam) or request is None:
            await super()._receive_reconfig_param(param)
        elif param.response_sequence == request.request_sequence:
            await self._receive_answer(param, request)

    async def _receive_answer(self, answer: StreamResetResponseParam, request: StreamResetOutgoingParam) -> None:
        if answer.result == RECONFIG_RESULT_IN_PROGRESS:
            await super()._receive_reconfig_param(answer)
            self._put_off = request.request_sequence
            await self._ask_again()
            return
        # What the peer has opened again is not to be reset by an answer that is about its predecessor.
        left = [stream_id for stream_id in request.streams if stream_id not in self._reopened]
        self._reconfig_request = replace(request, streams=left)
        self._reopened.clear()
        await super()._receive_reconfig_param(answer)

    async def _ask_again(self) -> None:
        """Ask for the answer to a request that the peer put off, once it has the data that it was waiting for.

        A peer carries the request out then (RFC 6525 section 5.2.2) but says so only when it is asked again, which
        aiortc does after its timer of a second. One request is in flight at a time, so others would wait as long.
        """
        request = self._reconfig_request
        if request is None or self._put_off != request.request_sequence or not self._has_all_before(request):
            return
        if self._asked_again != request.request_sequence:  # A peer that puts it off once more is asked by the timer.
            self._asked_again = request.request_sequence
            await self._send_reconfig_param(request)

    def _has_all_before(self, request: StreamResetOutgoingParam) -> bool:
        """Whether the peer has acknowledged the data that we sent before ``request``."""
        return (self._last_sacked_tsn - request.last_tsn) % TSN_MODULO < TSN_MODULO // 2

    def _is_done_over_there(self, channel: RTCDataChannel) -> bool:
        """Whether an opening that came for the stream of ``channel`` says that the peer has reset both halves of it.

        The peer's half was reset. Ours was asked for, the peer has all that came before, and the stream would not be
        opened (RFC 8831 section 6.7) if it had not carried that out: only its answer is not here yet.
        """
        stream_id, request = channel.id, self._reconfig_request
        if channel.readyState != "closing" or stream_id not in self._data_channel_inbound_reset or request is None:
            return False
        return stream_id in request.streams and self._has_all_before(request)

    def _release(self, stream_id: int) -> None:
        """Take the reset of our half for carried out (RFC 6525 section 5.2.7), before the answer that says so."""
        self._forward_tsn_streams.pop(stream_id, None)
        self._outbound_stream_seq.pop(stream_id, None)
        self._reopened.add(stream_id)
        self._data_channel_closed(stream_id)

    def _refuse_opening(self, used: RTCDataChannel) -> None:
        """Close a channel that was opened twice, by a reset that the peer has yet to see (RFC 8832 section 6)."""
        stream_id = used.id
        self.dropped += 1
        self._data_channel_close(used)
        if stream_id in self._data_channel_outbound_reset:
            # Our half was reset long ago, so the peer would wait for ever: reset it again.
            self._data_channel_outbound_reset.discard(stream_id)
            self._reconfig_queue.append(stream_id)
            self._spawn(self._transmit_reconfig())

    async def _reset_deferred_streams(self) -> None:
        # The base forgets the unfinished messages of a reset stream, but not the room that they took.
        before = dict(self._inbound_streams) if self._reconfig_deferred is not None else {}
        await super()._reset_deferred_streams()
        for stream_id, stream in before.items():
            if self._inbound_streams.get(stream_id) is not stream:
                self.release(sum(len(chunk.user_data) for chunk in stream.reassembly))

    async def _transmit(self) -> None:
        # The base sends while the flight is smaller than the congestion window, so the smaller of the two windows is
        # put in its place. One chunk may always be in flight: it probes a shut window (RFC 9260 section 6.1 A).
        held_back = 0
        if self._peer_window is not None:
            held_back = max(0, self._cwnd - max(self._peer_window, 1))
        self._cwnd -= held_back
        try:
            await super()._transmit()
        finally:
            self._cwnd += held_back

    async def _send_sack(self) -> None:
        self._announced = max(0, self._advertised_rwnd)
        await super()._send_sack()

    async def _send_chunk(self, chunk: Chunk) -> None:
        try:
            await super()._send_chunk(chunk)
        except ConnectionError as error:
            logger.debug("an SCTP packet was not sent: %s", error)

    async def _data_channel_receive(self, stream_id: int, pp_id: int, data: bytes) -> None:
        opens = pp_id == WEBRTC_DCEP and data[:1] == bytes([DATA_CHANNEL_OPEN])
        if opens and (used := self._data_channels.get(stream_id)) is not None:
            if not self._is_done_over_there(used):
                self._refuse_opening(used)
                return
            self._release(stream_id)
        if opens and len(self._data_channels) >= self.config.max_channels:
            raise HostileChunk(f"more than {self.config.max_channels} data channels")
        await super()._data_channel_receive(stream_id, pp_id, data)


def _parameters_end(packet: bytes) -> bool:
    """Whether every parameter of every chunk is at least as long as its own header (RFC 9260 section 3.2.1)."""
    position = SCTP_COMMON_HEADER_LENGTH
    while position + 4 <= len(packet):
        kind, length = packet[position], int.from_bytes(packet[position + 2 : position + 4])
        if length < 4:
            return False
        at, end = position + _PARAMETERS_AT.get(kind, length), min(position + length, len(packet))
        while at + 4 <= end:
            size = int.from_bytes(packet[at + 2 : at + 4])
            if size < 4:
                return False
            at += size + -size % 4
        position += length + -length % 4
    return True


_PARAMETERS_AT = {1: 20, 2: 20, 4: 4, 5: 4, 6: 4, 9: 4, 130: 4}
"""Where the parameters begin in INIT, INIT ACK, HEARTBEAT, HEARTBEAT ACK, ABORT, ERROR and RE-CONFIG chunks."""


def _nothing() -> None:
    """Do nothing."""


def _nothing_with_reason(reason: str) -> None:
    """Do nothing."""
