"""``/webrtc-signaling/0.0.1`` on a stream."""

from __future__ import annotations

from signalling.errors import DecodeError, ProtocolViolation
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.host_config import SignallingConfig
from signalling.libp2p.webrtc_signalling import (
    EndOfCandidates,
    IceCandidate,
    MessageType,
    RemoteDescription,
    SignallingFailed,
    SignallingItem,
    SignallingRole,
    SignallingSession,
)

__all__ = ["SignallingStream"]


class SignallingStream:
    """One signalling conversation. One task may send while another receives."""

    def __init__(self, stream: Stream, role: SignallingRole, config: SignallingConfig | None = None) -> None:
        """Speak on ``stream`` as the side that dialled or listened."""
        self._stream = stream
        self._config = config or SignallingConfig()
        self._session = SignallingSession(role, self._config)

    @property
    def stream(self) -> Stream:
        """The stream below."""
        return self._stream

    @property
    def counters(self) -> dict[str, int]:
        """What the peer sent that was passed over, by reason."""
        return dict(self._session.counters)

    async def send_offer(self, sdp: str) -> None:
        """Send the dialler's offer.

        Raises:
            RuntimeError: this is the listener, or the offer was sent before.
            ConnectionClosed: the stream is gone.
        """
        self._session.send_description(MessageType.SDP_OFFER, sdp)
        await self._flush()

    async def send_answer(self, sdp: str) -> None:
        """Send the listener's answer, after the offer came.

        Raises:
            RuntimeError: this is the dialler, there is no offer yet, or the answer was sent before.
            ConnectionClosed: the stream is gone.
        """
        self._session.send_description(MessageType.SDP_ANSWER, sdp)
        await self._flush()

    async def send_candidate(self, candidate: IceCandidate | None) -> None:
        """Send a candidate; None, the end of candidates, sends nothing, as js-libp2p does.

        Raises:
            RuntimeError: our description was not sent yet.
            ConnectionClosed: the stream is gone.
        """
        self._session.send_candidate(candidate)
        await self._flush()

    async def receive(self) -> RemoteDescription | IceCandidate | EndOfCandidates | None:
        """Return what the peer says next; None once it closed its half. A description always comes first.

        Raises:
            ProtocolViolation: the peer broke the conversation; the stream is reset.
            ConnectionClosed: the stream is gone.
        """
        while True:
            item = self._session.next_event()
            if item is not None:
                return await self._checked(item)
            if self._session.ended:
                return None
            await self._feed()

    async def close_write(self) -> None:
        """Say that nothing more comes; js-libp2p does so when it is connected."""
        await self._stream.close_write()

    async def close(self) -> None:
        """Close the stream: the connection stands."""
        await self._stream.close()

    async def reset(self) -> None:
        """Abort the stream: there will be no connection."""
        await self._stream.reset()

    async def _feed(self) -> None:
        try:
            message = await self._stream.read_delimited(self._config.max_message)
        except DecodeError as error:
            await self._stream.reset()
            raise ProtocolViolation(str(error)) from None
        if message is None:
            self._session.receive_eof()
        else:
            self._session.receive_message(message)

    async def _checked(self, item: SignallingItem) -> RemoteDescription | IceCandidate | EndOfCandidates:
        if isinstance(item, SignallingFailed):
            await self._stream.reset()
            raise ProtocolViolation(item.reason)
        return item

    async def _flush(self) -> None:
        while (effect := self._session.next_effect()) is not None:
            await self._stream.write_delimited(effect.message)
