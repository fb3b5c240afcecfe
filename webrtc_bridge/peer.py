"""A data-only peer connection: our ICE session under aiortc's DTLS and SCTP, with real trickle (ORTC style).

The order of use is that of a browser's ``RTCPeerConnection``: the offering side calls :meth:`DataPeer.create_offer`,
sends it, and :meth:`DataPeer.start_gathering`; the answering side :meth:`DataPeer.set_remote_description`,
:meth:`DataPeer.create_answer`, sends it, and gathers. Candidates are told by the event ``"icecandidate"`` as they are
found, and taken by :meth:`DataPeer.add_ice_candidate` as they come.
"""

from __future__ import annotations

import asyncio
import enum
import logging
import random
from collections import Counter
from typing import Self

from aiortc import RTCCertificate, RTCDataChannel, RTCDataChannelParameters, RTCSctpCapabilities
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from pyee.asyncio import AsyncIOEventEmitter

from ice import Candidate, Description, Role, Session, State
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.config import PeerConfig
from webrtc_bridge.dtls import DtlsTransport, fingerprint_of
from webrtc_bridge.ending import end_tasks
from webrtc_bridge.errors import PeerClosed, PeerFailed
from webrtc_bridge.ice_transport import IceTransport
from webrtc_bridge.remote_candidates import RemoteCandidates
from webrtc_bridge.sctp import SctpAssociation
from webrtc_bridge.sdp import DataDescription, SdpType, Setup, parse, serialize

__all__ = ["ConnectionState", "DataPeer"]

logger = logging.getLogger("webrtc_bridge")


class ConnectionState(enum.StrEnum):
    """``RTCPeerConnectionState`` of the W3C."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class DataPeer(AsyncIOEventEmitter):
    """One side of a data-only peer connection.

    Events, with W3C names: ``"icecandidate"`` (an :class:`IceCandidate`, or None for the end),
    ``"icegatheringstatechange"``, ``"iceconnectionstatechange"``, ``"connectionstatechange"`` (no arguments: look at
    the attributes), ``"datachannel"`` (an ``RTCDataChannel``); and ``"closed"`` (the reason), which is always the last.
    Create it within a running loop; :meth:`close` it, or use it as an asynchronous context manager.
    """

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
        self.ice_gathering_state = "new"
        self.close_reason: str | None = None
        """Why the connection ended, once it has."""
        offers = side is SdpType.OFFER
        self.session = session or Session(Role.CONTROLLING if offers else Role.CONTROLLED, self.config.ice)
        certificate = certificate or RTCCertificate.generateCertificate()
        self._fingerprint = fingerprint_of(certificate)
        self._dtls = DtlsTransport(IceTransport(self.session), certificate)
        self.sctp = SctpAssociation(self._dtls, self.config.sctp)
        self._session_id = random.SystemRandom().getrandbits(62)
        self._remote: DataDescription | None = None
        self._described = False
        self._remote_candidates = RemoteCandidates(self.config.max_remote_candidates)
        self._ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended = asyncio.Event()
        self._gathering: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._watch()

    def __repr__(self) -> str:
        return f"<DataPeer {self.side} {self.connection_state}>"

    @property
    def counters(self) -> Counter[str]:
        """The candidates of the other side that were read, and those that were passed over, by reason."""
        return self._remote_candidates.counters

    @property
    def ice_connection_state(self) -> str:
        """The state of the ICE session, in the W3C's words."""
        return str(self.session.state)

    @property
    def local_setup(self) -> Setup:
        """The DTLS role that our description states (RFC 8842 section 5.2 and 5.3)."""
        if self.side is SdpType.OFFER:
            return Setup.ACTPASS
        return Setup.PASSIVE if self._remote is not None and self._remote.setup is Setup.ACTIVE else Setup.ACTIVE

    @property
    def remote_description(self) -> DataDescription | None:
        """What the other side said, once it has."""
        return self._remote

    def create_offer(self) -> str:
        """Return our offer with the candidates found so far, usually none.

        Raises:
            RuntimeError: this side answers.
        """
        if self.side is not SdpType.OFFER:
            raise RuntimeError("this side of the connection answers")
        return self._describe()

    def create_answer(self) -> str:
        """Return our answer, and start to connect.

        Raises:
            RuntimeError: this side offers, or the offer is not known yet.
        """
        if self.side is not SdpType.ANSWER or self._remote is None:
            raise RuntimeError("an answer needs an offer from the other side")
        answer = self._describe()
        self._connect()
        return answer

    def set_remote_description(self, text: str) -> None:
        """Take the other side's answer (which starts to connect) or offer.

        Raises:
            SdpError: it cannot be used.
            RuntimeError: there is one already; or an answer came before our offer was made.
            PeerClosed: the connection is closed.
        """
        self._check_open()
        if self._remote is not None:
            raise RuntimeError("the remote description was set before")
        offers = self.side is SdpType.OFFER
        if offers and not self._described:
            raise RuntimeError("an answer needs an offer of ours")
        remote = parse(text, SdpType.ANSWER if offers else SdpType.OFFER, self.config.max_description)
        self._remote = remote
        if remote.ice_lite and not self.session.local_description.lite:
            self.session.role = Role.CONTROLLING  # RFC 8445 section 6.1.1
        self.session.set_remote_description(
            Description(remote.ufrag, remote.pwd, lite=remote.ice_lite, options=remote.ice_options)
        )
        self._add(self._remote_candidates.describe(remote))
        if offers:
            self._connect()

    def _describe(self) -> str:
        self._check_open()
        self._described = True
        local = self.session.local_description
        remote = self._remote
        return serialize(
            DataDescription(
                type=self.side,
                ufrag=local.ufrag,
                pwd=local.pwd,
                fingerprints=(self._fingerprint,),
                setup=self.local_setup,
                ice_lite=local.lite,
                ice_options=local.options,
                sctp_port=self.config.sctp.port,
                max_message_size=self.config.sctp.max_message_size,
                mid="0" if remote is None else remote.mid,
                index=0 if remote is None else remote.index,
                candidates=tuple(candidate.to_sdp() for candidate in self.session.local_candidates),
                end_of_candidates=self.ice_gathering_state == "complete",
                session_id=self._session_id,
                rejected=() if remote is None else remote.rejected,
            )
        )

    # ---------------------------------------------------------------- candidates

    def start_gathering(self) -> None:
        """Start to look for local candidates; each is told by ``"icecandidate"``, the end as None. Harmless twice."""
        self._check_open()
        if self._gathering is None:
            self._gathering = asyncio.create_task(self._gather())

    async def gather(self) -> None:
        """Look for local candidates, and return when those worth waiting for are found (signalling without trickle).

        The state ``ice_gathering_state`` is ``"complete"`` when none can follow any more.

        Raises:
            PeerClosed: the connection is closed, or was meanwhile.
        """
        self.start_gathering()
        assert self._gathering is not None
        await asyncio.wait((self._gathering,))  # Neither our caller's end nor that of the gathering is the other's.
        self._check_open()

    async def _gather(self) -> None:
        self._set_gathering_state("gathering")
        try:
            await self.session.gather()
        except ConnectionError as error:
            logger.debug("gathering ended: %s", error)
            self._set_gathering_state("complete")

    def add_ice_candidate(self, candidate: IceCandidate | None) -> None:
        """Take a candidate of the other side; None says that there are no more. What cannot be used is counted.

        A candidate may come before the description it belongs to; it then waits for it.
        """
        if self._closing is None:
            self._add(self._remote_candidates.take(candidate))

    def _add(self, candidates: list[Candidate | None]) -> None:
        for candidate in candidates:
            self.session.add_remote_candidate(candidate)

    def _found(self, candidate: Candidate | None) -> None:
        if candidate is None:
            self._set_gathering_state("complete")
            self.emit("icecandidate", None)
            return
        remote = self._remote
        self.emit(
            "icecandidate",
            IceCandidate(
                candidate=candidate.to_sdp(),
                sdp_mid="0" if remote is None else remote.mid,
                sdp_mline_index=0 if remote is None else remote.index,
                username_fragment=self.session.local_description.ufrag,
            ),
        )

    # ---------------------------------------------------------------- data channels

    def create_data_channel(self, label: str = "", *, protocol: str = "", ordered: bool = True) -> RTCDataChannel:
        """Return a new channel, announced to the peer in-band (RFC 8832); it opens once the connection is up.

        Raises:
            PeerClosed: the connection is closed.
        """
        self._check_open()
        channel = RTCDataChannel(self.sctp, RTCDataChannelParameters(label=label, protocol=protocol, ordered=ordered))
        channel.on("error", self._handler_failed)
        return channel

    # ---------------------------------------------------------------- life

    async def wait_connected(self) -> None:
        """Return when data can flow.

        Raises:
            PeerFailed: it never will; the text says why.
        """
        if not await asyncio.shield(self._ready):
            raise PeerFailed(self.close_reason or "closed")

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

    def _watch(self) -> None:
        self.session.on("candidate", self._found)
        self.session.on("statechange", self._ice_changed)
        self.session.on("closed", lambda reason: self._end(f"ICE: {reason}", ConnectionState.FAILED))
        self._dtls.on("statechange", self._dtls_changed)
        self.sctp.on("datachannel", self._channel_opened)
        self.on("error", self._handler_failed)
        self.sctp.on_established = self._established
        self.sctp.on_closed = lambda reason: self._end(reason, ConnectionState.CLOSED)

    def _channel_opened(self, channel: RTCDataChannel) -> None:
        channel.on("error", self._handler_failed)
        self.emit("datachannel", channel)

    def _handler_failed(self, error: Exception) -> None:
        """Tell the loop that a handler of the application raised: it is no fault of the peer's, nor of SCTP."""
        context = {"message": "a handler of a peer connection's event failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)

    def _connect(self) -> None:
        if self._connecting is None:
            self._set_state(ConnectionState.CONNECTING)
            self._connecting = asyncio.create_task(self._run())

    async def _run(self) -> None:
        remote = self._remote
        assert remote is not None
        try:
            async with asyncio.timeout(self.config.connect_timeout):
                await self.session.connect()
                self._dtls.choose_role(_effective(self.local_setup, remote.setup))
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

    def _ice_changed(self, state: State) -> None:
        self.emit("iceconnectionstatechange")
        if state is State.DISCONNECTED and self.connection_state is ConnectionState.CONNECTED:
            self._set_state(ConnectionState.DISCONNECTED)
        elif state.is_usable and self.connection_state is ConnectionState.DISCONNECTED:
            self._set_state(ConnectionState.CONNECTED)

    def _dtls_changed(self) -> None:
        if self._dtls.state == "connected":
            self._set_state(ConnectionState.CONNECTED)
        elif self._dtls.state == "closed":
            self._end("closed by the peer", ConnectionState.CLOSED)

    def _set_state(self, state: ConnectionState) -> None:
        if state is not self.connection_state and self._closing is None:
            self.connection_state = state
            self.emit("connectionstatechange")

    def _set_gathering_state(self, state: str) -> None:
        self.ice_gathering_state = state
        self.emit("icegatheringstatechange")

    def _check_open(self) -> None:
        if self._closing is not None:
            raise PeerClosed(self.close_reason or "closed")

    def _end(self, reason: str, state: ConnectionState) -> None:
        """Take note of the first reason to end, and release everything in a task of its own."""
        if self._closing is not None:
            return
        self.close_reason = reason
        self._set_state(state)
        self._closing = asyncio.create_task(self._release(reason))

    async def _release(self, reason: str) -> None:
        await end_tasks(self._gathering, self._connecting)
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


def _effective(local: Setup, remote: Setup) -> Setup:
    """Return our side's DTLS role once both descriptions are known."""
    if local is not Setup.ACTPASS:
        return local
    return Setup.PASSIVE if remote is Setup.ACTIVE else Setup.ACTIVE
