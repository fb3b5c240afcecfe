"""One signalling session of a tab: a relayed stream on one side, JSON messages to and from the page on the other."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Protocol

from signalling.errors import ConnectionClosed, ProtocolViolation
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.webrtc_signalling import (
    EndOfCandidates,
    IceCandidate,
    RemoteDescription,
    SignallingRole,
)
from webrtc_bridge.ending import end_tasks
from webrtc_bridge.errors import BridgeError
from webrtc_bridge.exchange import SignallingExchange, linger
from webrtc_bridge.gateway.config import GatewayConfig
from webrtc_bridge.gateway.messages import Answer, Bye, CandidateMessage, MessageError

__all__ = ["CONNECTED", "Call"]

logger = logging.getLogger("webrtc_bridge")

CONNECTED = "connected"
"""The reason of a page's bye that ends the signalling in peace; any other gives the session up."""


class Page(Protocol):
    """What a call needs of the page's end."""

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message for the page."""

    async def room(self) -> None:
        """Return when the page has taken enough of its messages to be told what a peer says."""


class _GivenUp(BridgeError):
    """The page gave the session up: the stream is reset, so that the peer notices."""


class Call:
    """Carries one session between the page and the peer until either is done with it."""

    def __init__(self, session: str, peer: PeerId, role: SignallingRole, page: Page, config: GatewayConfig) -> None:
        self.session = session
        self.peer = peer
        self._role = role
        self._page = page
        self._tell = page.tell
        self._config = config
        self._exchange: SignallingExchange | None = None
        self._described = False
        self._early: list[IceCandidate] = []
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()

    # ---------------------------------------------------------------- from the page

    def take(self, message: Answer | CandidateMessage | Bye) -> None:
        """Take a message of the page.

        Raises:
            MessageError: an answer to an own offer, a second one, or too many candidates.
        """
        match message:
            case Answer(sdp=sdp):
                self._take_answer(sdp)
            case CandidateMessage(candidate=candidate):
                self._take_candidate(candidate)
            case Bye(reason=reason):
                self.end(reason)

    def end(self, reason: str) -> None:
        """Stop carrying: in peace when the reason is ``"connected"``. Harmless twice."""
        if not self._over.done():
            self._over.set_result(reason)

    def _take_answer(self, sdp: str) -> None:
        if self._role is not SignallingRole.LISTENER or self._described or self._exchange is None:
            raise MessageError("bad-message", "an answer is not expected in this session", self.session)
        self._describe(sdp)

    def _take_candidate(self, candidate: IceCandidate | None) -> None:
        if candidate is None or self._over.done():
            return
        if self._exchange is not None and self._described:
            self._exchange.send_candidate(candidate)
        elif len(self._early) < self._config.signalling.max_early_candidates:
            self._early.append(candidate)
        else:
            raise MessageError("too-many-candidates", "too many candidates before the description", self.session)

    def _describe(self, sdp: str) -> None:
        assert self._exchange is not None
        self._exchange.send_description(sdp)
        self._described = True
        early, self._early = self._early, []
        for candidate in early:
            self._exchange.send_candidate(candidate)

    # ---------------------------------------------------------------- from the peer

    async def run(self, stream: Stream, offer: str | None = None) -> None:
        """Carry until the page says bye or the peer breaks the conversation; ``offer`` is what a dialler sends first.

        Raises:
            TimeoutError: it took longer than ``session_timeout``.
        """
        role = self._role
        try:
            async with asyncio.timeout(self._config.session_timeout):
                signalling = SignallingExchange(stream, role, self._config.signalling, linger=self._config.linger)
                async with signalling as exchange:
                    self._exchange = exchange
                    self._tell_state("relayed")
                    if offer is not None:
                        self._describe(offer)
                    await self._carry(exchange)
                await linger(stream, self._config.linger)
        except _GivenUp as given_up:
            logger.debug("session %s given up by the page: %s", self.session, given_up)
        finally:
            self._exchange = None
            self._tell_state("closed")

    async def _carry(self, exchange: SignallingExchange) -> None:
        reading = asyncio.create_task(self._read(exchange), name="gateway: signalling")
        try:
            await asyncio.wait((reading, self._over), return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                reading.result()
            # A peer that ended its side may have connected first; the page may still have candidates to send.
            reason = await self._over
        finally:
            await end_tasks(reading)
        if reason != CONNECTED:
            raise _GivenUp(reason)

    async def _read(self, exchange: SignallingExchange) -> None:
        try:
            async for item in exchange.items():
                await self._page.room()
                self._hand_over(item)
            if exchange.broken is not None:
                self._tell({"type": "bye", "session": self.session, "reason": exchange.broken})
                self.end(exchange.broken)
        except (ProtocolViolation, ConnectionClosed) as error:
            self._tell(MessageError("signalling-failed", str(error), self.session).to_json())
            self.end(str(error))

    def _hand_over(self, item: RemoteDescription | IceCandidate | EndOfCandidates) -> None:
        match item:
            case RemoteDescription(sdp=sdp) if self._role is SignallingRole.LISTENER:
                self._tell({"type": "offer", "peer": str(self.peer), "session": self.session, "sdp": sdp})
            case RemoteDescription(sdp=sdp):
                self._tell({"type": "answer", "session": self.session, "sdp": sdp})
            case IceCandidate():
                self._tell({"type": "candidate", "session": self.session, "candidate": _browser_candidate(item)})
            case EndOfCandidates():
                self._tell({"type": "candidate", "session": self.session, "candidate": None})

    def _tell_state(self, state: str) -> None:
        elapsed = round((self._loop.time() - self._started) * 1000, 1)
        self._tell({"type": "signalling", "session": self.session, "state": state, "ms": elapsed})


def _browser_candidate(candidate: IceCandidate) -> dict[str, str | int | None]:
    """Return a candidate that ``addIceCandidate`` of a browser takes: node peers write ``a=`` before it."""
    fields = candidate.to_json()
    fields["candidate"] = candidate.candidate.removeprefix("a=")
    if candidate.sdp_mid is None and candidate.sdp_mline_index is None:
        fields["sdpMLineIndex"] = 0  # a browser wants one of the two; there is one section
    return fields
