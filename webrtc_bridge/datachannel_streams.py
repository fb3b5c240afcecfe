"""libp2p streams over the data channels of a peer connection: what a libp2p host uses in the place of yamux.

One stream is one ordered, reliable channel with an empty label (libp2p WebRTC specification, "Multiplexing"). Flow
control is SCTP's and so is shared by the streams of a connection: unread bytes shut the association's receive window.
A stream that nobody reads would then hold up the others, so :class:`DataChannelMuxer` resets it after a while.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from aiortc import RTCDataChannel

from signalling.errors import ConnectionClosed, LimitExceeded, StreamClosed, StreamReset
from webrtc_bridge.config import StreamConfig
from webrtc_bridge.errors import PeerFailed
from webrtc_bridge.framing import Flag, encode_frame
from webrtc_bridge.peer import DataPeer
from webrtc_bridge.stream_machine import (
    CloseChannel,
    DataReceived,
    ReadState,
    StreamMachine,
    WasReset,
    WriteLost,
    WriteState,
)

__all__ = ["INIT_LABEL", "DataChannelMuxer", "DataChannelStream"]

logger = logging.getLogger("webrtc_bridge")

INIT_LABEL = "init"
"""The channel that a ``/webrtc`` dialler makes so that its offer has a data section; it carries nothing."""


class DataChannelStream:
    """A :class:`~signalling.libp2p.aio.streams.RawStream` on one data channel."""

    def __init__(
        self,
        channel: RTCDataChannel,
        peer: DataPeer,
        config: StreamConfig,
        on_done: Callable[[DataChannelStream], None],
    ) -> None:
        self._channel = channel
        self._peer = peer
        self._config = config
        self._on_done = on_done
        self._machine = StreamMachine(config)
        self._loop = asyncio.get_running_loop()
        self._unread: deque[bytes] = deque()
        self._unread_bytes = 0
        self._held = 0
        self._reason = "the stream was reset"
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._timer: asyncio.TimerHandle | None = None
        self.last_read = self._loop.time()
        """When the application last read, on the loop's clock."""
        channel.bufferedAmountLowThreshold = config.send_buffer_low
        channel.on("message", self._receive)
        channel.on("bufferedamountlow", self._drained.set)
        channel.on("close", self._channel_closed)

    def __repr__(self) -> str:
        states = f"read {self._machine.read_state.name} write {self._machine.write_state.name}"
        return f"<DataChannelStream {self._channel.id} {states}>"

    @property
    def held(self) -> int:
        """Bytes of the shared receive window that this stream's unread data takes."""
        return self._held

    async def read(self, max_bytes: int = 65536) -> bytes:
        """Return 1 to ``max_bytes`` bytes, or ``b""`` once the peer closed its writing half.

        Raises:
            StreamReset: the stream was reset, or the connection ended before it.
            StreamClosed: :meth:`close_read` was called.
        """
        while not self._unread:
            if self._machine.read_state is ReadState.FINISHED:
                return b""
            if self._machine.read_state is ReadState.RESET:
                raise StreamReset(self._reason)
            if self._machine.read_state is ReadState.STOPPED:
                raise StreamClosed("the reading half was closed")
            self.last_read = self._loop.time()
            self._changed.clear()
            await self._changed.wait()
        chunk = self._unread.popleft()
        if len(chunk) > max_bytes:
            self._unread.appendleft(chunk[max_bytes:])
            chunk = chunk[:max_bytes]
        self._unread_bytes -= len(chunk)
        self.last_read = self._loop.time()
        self._account()
        return chunk

    async def write(self, data: bytes) -> None:
        """Send ``data`` in frames; waits while more than ``send_buffer`` bytes are queued on the channel.

        Raises:
            StreamReset: the stream was reset, the peer stopped reading, or the connection ended.
            StreamClosed: our writing half was closed.
        """
        view = memoryview(data)
        step = self._machine.max_payload
        for start in range(0, len(view), step):
            await self._wait_for_room()
            self._check_writable()
            self._machine.send(bytes(view[start : start + step]))
            self._pump()

    async def close_write(self) -> None:
        """Send FIN behind what was written; does not wait for the peer's answer. Harmless twice."""
        self._machine.close_write(self._loop.time())
        self._pump()

    async def close_read(self) -> None:
        """Tell the peer to stop sending, and drop what was not read. Harmless twice."""
        self._machine.close_read(self._loop.time())
        self._drop_unread()
        self._pump()

    async def close(self) -> None:
        """Close both halves, and return when the peer has acknowledged all that was written, or did not in time."""
        self._machine.close_write(self._loop.time())
        await self.close_read()
        while self._machine.write_state is WriteState.FIN_SENT:
            self._changed.clear()
            await self._changed.wait()

    async def reset(self) -> None:
        """Abort both halves. Harmless twice."""
        self.abort("reset by us")

    def abort(self, reason: str) -> None:
        """Reset the stream without waiting; readers and writers get ``reason``."""
        self._machine.reset(reason)
        self._pump()

    async def _wait_for_room(self) -> None:
        while self._channel.bufferedAmount > self._config.send_buffer:
            if self._machine.write_state is not WriteState.OPEN:
                return
            self._drained.clear()
            await self._drained.wait()

    def _check_writable(self) -> None:
        state = self._machine.write_state
        if state is WriteState.RESET:
            raise StreamReset(self._reason)
        if state is not WriteState.OPEN:
            raise StreamClosed("the writing half is closed")

    def _receive(self, message: bytes | str) -> None:
        data = message.encode() if isinstance(message, str) else message
        self._machine.receive_data(data, self._loop.time())
        self._pump()

    def _channel_closed(self) -> None:
        self._machine.channel_closed(self._peer.close_reason or "the channel was closed")
        self._pump()

    def _pump(self) -> None:
        """Execute the machine's effects, take its events, re-arm its timer."""
        while (effect := self._machine.next_effect()) is not None:
            if isinstance(effect, CloseChannel):
                if effect.at_once:
                    self._peer.sctp.discard(self._channel)
                self._channel.close()
            elif self._channel.readyState == "open":
                self._channel.send(effect.data)
        while (event := self._machine.next_event()) is not None:
            if isinstance(event, DataReceived):
                self._unread.append(event.data)
                self._unread_bytes += len(event.data)
            elif isinstance(event, WasReset | WriteLost):
                self._reason = event.reason
                if isinstance(event, WasReset):
                    self._drop_unread()
        self._changed.set()
        if self._machine.write_state is not WriteState.OPEN:
            self._drained.set()
        self._account()
        self._arm()

    def _account(self) -> None:
        """Take from, or give back to, the receive window what has changed in our buffers."""
        held = self._unread_bytes + (0 if self._machine.done else self._machine.buffered)
        change, self._held = held - self._held, held
        if change > 0:
            self._peer.sctp.hold(change)
        elif change < 0:
            self._peer.sctp.release(-change)
        if self._machine.done and not held:
            self._on_done(self)

    def discard_unread(self, reason: str) -> None:
        """Reset the stream and drop what nobody read, even when the peer has finished writing."""
        self.abort(reason)
        self._drop_unread()
        self._account()

    def _drop_unread(self) -> None:
        self._unread.clear()
        self._unread_bytes = 0

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._machine.next_timeout()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline.at, self._timed_out)

    def _timed_out(self) -> None:
        self._timer = None
        self._machine.handle_timeout(self._loop.time())
        self._pump()


class DataChannelMuxer:
    """A :class:`~signalling.libp2p.aio.streams.Muxer` on a :class:`~webrtc_bridge.peer.DataPeer`.

    Make it before the connection is up, so that no early channel is missed.
    """

    def __init__(self, peer: DataPeer, config: StreamConfig | None = None) -> None:
        self.peer = peer
        self.config = config or StreamConfig()
        self.refused = 0
        """Streams of the peer that were reset because of a limit."""
        self.stalled = 0
        """Streams that were reset because nobody read them while the receive window was shut."""
        self._loop = asyncio.get_running_loop()
        self._streams: set[DataChannelStream] = set()
        self._unaccepted: deque[DataChannelStream] = deque()
        self._arrived = asyncio.Event()
        self._stall_timer: asyncio.TimerHandle | None = None
        peer.on("datachannel", self._accept)
        peer.on("closed", self._ended)
        peer.sctp.on_window_shut = self._window_shut

    @property
    def closed(self) -> bool:
        """Whether the connection has ended or is about to."""
        return self.peer.closed

    @property
    def streams(self) -> int:
        """How many streams are open, both directions together."""
        return len(self._streams)

    async def open_stream(self) -> DataChannelStream:
        """Open a channel to the peer and return the stream on it at once: RFC 8832 section 6 lets data follow the
        opening message without waiting for its acknowledgement.

        Raises:
            ConnectionClosed: the connection is gone.
            LimitExceeded: as many streams are open as the configuration allows.
        """
        try:
            await self.peer.wait_connected()
        except PeerFailed as error:
            raise ConnectionClosed(str(error)) from None
        if self.closed:
            raise ConnectionClosed(self.peer.close_reason or "closed")
        if (
            len(self._streams) >= self.config.max_streams
            or self.peer.sctp.channels >= self.peer.config.sctp.max_channels
        ):
            raise LimitExceeded(f"{len(self._streams)} streams are open")
        channel = self.peer.create_data_channel()
        self.peer.sctp.open_early(channel)
        return self._adopt(channel)

    async def accept_stream(self) -> DataChannelStream:
        """Wait for the next stream of the peer.

        Raises:
            ConnectionClosed: the connection is gone.
        """
        while not self._unaccepted:
            if self.closed:
                raise ConnectionClosed(self.peer.close_reason or "closed")
            self._arrived.clear()
            await self._arrived.wait()
        return self._unaccepted.popleft()

    async def close(self) -> None:
        """Close the peer connection; streams that are not closed are reset. Harmless twice."""
        await self.peer.close()

    async def wait_closed(self) -> None:
        """Return when the peer connection has ended."""
        await self.peer.wait_closed()

    def _accept(self, channel: RTCDataChannel) -> None:
        if channel.label == INIT_LABEL:
            return  # its maker closes it, and aiortc then closes our side (RFC 8831 section 6.7)
        if len(self._streams) >= self.config.max_streams or len(self._unaccepted) >= self.config.max_unaccepted:
            self.refused += 1
            channel.send(encode_frame(flag=Flag.RESET))
            channel.close()
            return
        self._unaccepted.append(self._adopt(channel))
        self._arrived.set()

    def _adopt(self, channel: RTCDataChannel) -> DataChannelStream:
        remote = self.peer.remote_description
        limit = remote.max_message_size if remote is not None and remote.max_message_size else self.config.max_frame
        config = replace(self.config, max_frame=min(self.config.max_frame, limit))
        stream = DataChannelStream(channel, self.peer, config, self._streams.discard)
        self._streams.add(stream)
        return stream

    def _ended(self, _reason: str) -> None:
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        for stream in tuple(self._streams):
            stream.abort(self.peer.close_reason or "the connection is gone")
        self._arrived.set()

    def _window_shut(self) -> None:
        if self._stall_timer is None and not self.closed:
            self._stall_timer = self._loop.call_later(self.config.stall_timeout, self._check_stall)

    def _check_stall(self) -> None:
        """Free the shut window from the stream that holds most of it, when that one is not being read."""
        self._stall_timer = None
        if not self.peer.sctp.window_shut or self.closed:
            return
        holder = max(self._streams, key=lambda stream: stream.held, default=None)
        if holder is None or holder.held == 0:
            self.peer.sctp.abort("the receive window is full of messages that never end")
        elif self._loop.time() - holder.last_read >= self.config.stall_timeout:
            self.stalled += 1
            logger.debug("resetting a stream that holds the receive window shut: %r", holder)
            holder.discard_unread("nobody read the stream while it held the receive window shut")
        if self.peer.sctp.window_shut:
            self._window_shut()
