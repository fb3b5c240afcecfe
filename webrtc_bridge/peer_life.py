"""The life of a data-only peer connection: ICE, DTLS and SCTP brought up one on the other, watched and ended."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from random import SystemRandom
from typing import Self

from aiortc import RTCCertificate, RTCDataChannel, RTCSctpCapabilities
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from pyee.asyncio import AsyncIOEventEmitter

from ice import Role, Session, State
from ice.events import RestartReason
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.dtls import DtlsTransport, fingerprint_of
from webrtc_bridge.ending import end_tasks
from webrtc_bridge.errors import PeerClosed, PeerFailed
from webrtc_bridge.ice_transport import IceTransport
from webrtc_bridge.local_candidates import LocalCandidates
from webrtc_bridge.offer_answer import OfferAnswer, first_words
from webrtc_bridge.remote_candidates import RemoteCandidates
from webrtc_bridge.restart_timer import RestartTimer
from webrtc_bridge.sctp import SctpAssociation
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.states import ConnectionState

__all__ = ["PeerLife"]

logger = logging.getLogger("webrtc_bridge")


class PeerLife(AsyncIOEventEmitter):
    """What a :class:`~webrtc_bridge.peer.DataPeer`, which has the events explained, consists of, and how it fares."""

    def __init__(
        self,
        side: SdpType,
        config: PeerConfig | None = None,
        *,
        session: Session | None = None,
        certificate: RTCCertificate | None = None,
    ) -> None:
        """Prepare the offering or the answering side; ``session`` and ``certificate`` are made when not given."""
        super().__init__()
        self.side = side
        self.config = config or PeerConfig()
        self.connection_state = ConnectionState.NEW
        self.close_reason: str | None = None
        """Why the connection ended, once it has."""
        offers = side is SdpType.OFFER
        self.session = session or Session(Role.CONTROLLING if offers else Role.CONTROLLED, self.config.ice)
        certificate = certificate or RTCCertificate.generateCertificate()
        self._dtls = DtlsTransport(IceTransport(self.session), certificate)
        self.sctp = SctpAssociation(self._dtls, self.config.sctp)
        self._remote_candidates = RemoteCandidates(self.config.max_remote_candidates)
        fingerprint = fingerprint_of(certificate)
        own = first_words(side, self.session.local_description, fingerprint, self.config.sctp, SystemRandom())
        self._offers = OfferAnswer(own, self.counters, max_description=self.config.max_description)
        self._candidates = LocalCandidates(
            self.session,
            partial(self.emit, "icecandidate"),
            partial(self.emit, "icegatheringstatechange"),
            self._offers.place,
        )
        ask = partial(self.emit, "negotiationneeded")
        self._restarts = RestartTimer(self.config.restart, self.counters, self._offers, ask, self.session.roll_back)
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._watch()

    def _watch(self) -> None:
        self.session.on("statechange", self._ice_changed)
        self.session.on("restartwanted", self._restart_suggested)
        self.session.on("closed", lambda reason: self._end(f"ICE: {reason}", ConnectionState.FAILED))
        self._dtls.on("statechange", self._dtls_changed)
        self.sctp.on("datachannel", self._channel_opened)
        self.on("error", self._handler_failed)
        self.sctp.on_established = self._established
        self.sctp.on_closed = lambda reason: self._end(reason, ConnectionState.CLOSED)

    @property
    def counters(self) -> Counter[str]:
        """What the other side told: candidates that were read or passed over, descriptions that were not taken, why."""
        return self._remote_candidates.counters

    # ---------------------------------------------------------------- connecting

    async def wait_connected(self) -> None:
        """Return when data can flow.

        Raises:
            PeerFailed: it never will; the text says why.
        """
        if not await asyncio.shield(self._ready):
            raise PeerFailed(self.close_reason or "closed")

    def _connect(self) -> None:
        if self._connecting is None:
            self._set_state(ConnectionState.CONNECTING)
            self._connecting = asyncio.create_task(self._run())

    async def _run(self) -> None:
        remote = self._offers.remote
        assert remote is not None
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                await self.session.connect()
                self._dtls.choose_role(self._offers.setup)
                fingerprints = [RTCDtlsFingerprint(item.algorithm, item.value) for item in remote.fingerprints]
                await self._dtls.start(RTCDtlsParameters(fingerprints=fingerprints))
                if self._dtls.state != "connected":
                    self._end(f"DTLS: {self._dtls.failure}", ConnectionState.FAILED)
                    return
                await self.sctp.start(RTCSctpCapabilities(remote.max_message_size), remote.sctp_port)
                await asyncio.shield(self._ready)
        except TimeoutError:
            self._end(f"no connection within {self.config.connect_timeout:g} s", ConnectionState.FAILED)
        except ConnectionError as error:
            self._end(f"ICE: {error}", ConnectionState.FAILED)

    def _established(self) -> None:
        if not self._ready.done():
            self._ready.set_result(True)

    # ---------------------------------------------------------------- what happens to it

    def _ice_changed(self, state: State) -> None:
        self.emit("iceconnectionstatechange")
        if state is State.DISCONNECTED and self.connection_state is ConnectionState.CONNECTED:
            self._set_state(ConnectionState.DISCONNECTED)
        elif state.is_usable and self.connection_state is ConnectionState.DISCONNECTED:
            self._set_state(ConnectionState.CONNECTED)
        if state.is_usable and state is not State.DISCONNECTED:
            self._restarts.healed()

    def _dtls_changed(self) -> None:
        if self._dtls.state == "connected":
            self._set_state(ConnectionState.CONNECTED)
        elif self._dtls.state == "closed":
            self._end("closed by the peer", ConnectionState.CLOSED)

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self.connection_state and self._closing is None:
            self.connection_state = state
            self.emit("connectionstatechange")

    def _restart_suggested(self, reason: RestartReason) -> None:
        if self._closing is not None or not self.config.restart.automatic:
            return
        if not self.listeners("negotiationneeded"):
            self.counters["restart without signalling"] += 1
            return
        logger.debug("%r wants to restart ICE: %s", self, reason)
        self._restarts.suggest()

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        channel.on("error", self._handler_failed)
        self.emit("datachannel", channel)

    def _handler_failed(self, error: Exception) -> None:
        """Tell the loop that a handler of the application raised: it is no fault of the peer's, nor of SCTP."""
        context = {"message": "a handler of a peer connection's event failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    # ---------------------------------------------------------------- ending

    async def wait_closed(self) -> None:
        """Return when the connection has ended and everything of it is released."""
        await self._ended.wait()

    @property
    def closed(self) -> bool:
        """Whether the connection has ended or is about to."""
        return self._closing is not None

    async def close(self) -> None:
        """End the connection: abort SCTP, say goodbye in DTLS, close the ICE session. Harmless twice."""
        self._end("closed by us", ConnectionState.CLOSED)
        await self._ended.wait()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _check_open(self) -> None:
        if self._closing is not None:
            raise PeerClosed(self.close_reason or "closed")

    def _end(self, reason: str, state: ConnectionState) -> None:
        """Take note of the first reason to end, and release everything in a task of its own."""
        if self._closing is not None:
            return
        self.close_reason = reason
        self._set_state(state)
        self._restarts.done()
        self._closing = asyncio.create_task(self._release(reason))

    async def _release(self, reason: str) -> None:
        await end_tasks(self._candidates.task, self._connecting)
        try:
            await self.sctp.stop()
            await self._dtls.shut_down()
            await self.session.close()
        finally:
            if not self._ready.done():
                self._ready.set_result(False)
            self._ended.set()
            self.emit("closed", reason)
            self.remove_all_listeners()
