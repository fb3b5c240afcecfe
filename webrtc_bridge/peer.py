"""A data-only peer connection: our ICE session under aiortc's DTLS and SCTP, with real trickle (ORTC style).

The order of use is that of a browser's ``RTCPeerConnection``: the offering side calls :meth:`DataPeer.create_offer`,
sends it, and :meth:`DataPeer.start_gathering`; the answering side :meth:`DataPeer.set_remote_description`,
:meth:`DataPeer.create_answer`, sends it, and gathers. Candidates are told by the event ``"icecandidate"`` as they are
found, and taken by :meth:`DataPeer.add_ice_candidate` as they come. Later either side restarts ICE with another offer.
"""

from __future__ import annotations

import asyncio

from aiortc import RTCDataChannel, RTCDataChannelParameters

from ice import Candidate, Description, Role
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.offer_answer import Taken
from webrtc_bridge.peer_life import PeerLife
from webrtc_bridge.sdp import DataDescription, SdpType
from webrtc_bridge.states import ConnectionState, SignalingState

__all__ = ["ConnectionState", "DataPeer"]


class DataPeer(PeerLife):
    """One side of a data-only peer connection.

    Events, with W3C names: ``"icecandidate"`` (an :class:`IceCandidate`, or None for the end),
    ``"icegatheringstatechange"``, ``"iceconnectionstatechange"``, ``"connectionstatechange"`` (no arguments: look at
    the attributes), ``"datachannel"`` (an ``RTCDataChannel``), ``"negotiationneeded"`` (no arguments: ICE is to be
    restarted, so send :meth:`create_offer`); and ``"closed"`` (the reason), which is always the last.
    Create it within a running loop; :meth:`close` it, or use it as an asynchronous context manager.
    """

    def __repr__(self) -> str:
        return f"<DataPeer {self.side} {self.connection_state}>"

    @property
    def ice_connection_state(self) -> str:
        """The state of the ICE session, in the W3C's words."""
        return str(self.session.state)

    @property
    def ice_gathering_state(self) -> str:
        """Whether candidates are looked for, in the W3C's words."""
        return self._candidates.state

    @property
    def signaling_state(self) -> SignalingState:
        """Whose offer waits for an answer."""
        return self._offers.state

    @property
    def remote_description(self) -> DataDescription | None:
        """What the other side said last, once it has."""
        return self._offers.remote

    # ---------------------------------------------------------------- descriptions

    def create_offer(self) -> str:
        """Return our offer with the candidates found so far, usually none; a later one restarts ICE if that is wanted.

        Raises:
            RuntimeError: the other side makes the first offer, or has made one that is not answered yet.
            PeerClosed: the connection is closed.
        """
        self._check_open()
        if self._restarts.is_wanted and self.signaling_state is SignalingState.STABLE:
            before = self.session.local_description
            if self.session.restart() != before:
                self._candidates.again()
        return self._offers.offer(*self._local())

    def create_answer(self) -> str:
        """Return our answer, and start to connect.

        Raises:
            RuntimeError: the other side has not offered, or our own offer is not answered yet.
            PeerClosed: the connection is closed.
        """
        self._check_open()
        answer = self._offers.answer(*self._local())
        self._candidates.release()
        self._connect()
        return answer

    def set_remote_description(self, text: str, kind: SdpType | None = None) -> None:
        """Take the other side's answer (the first starts to connect) or offer (which :meth:`create_answer` answers).

        Offers that cross are settled here: the one of the side that made the first offer of all stands. So where both
        may restart ICE, ``kind`` has to come with the text, and an answer is due only when :attr:`signaling_state` says
        so. Without it ``text`` is taken for what is due.

        Raises:
            SdpError: it cannot be used, or the peer restarts ICE too often; the connection is as it was.
            RuntimeError: an answer came before our offer was made.
            PeerClosed: the connection is closed.
        """
        self._check_open()
        taken = self._offers.take(text, kind, self._restarts.admits)
        if taken is not Taken.PASSED_OVER:
            self._follow(taken)

    def _follow(self, taken: Taken) -> None:
        """Do what the description that was taken asks for."""
        remote = self._offers.remote
        assert remote is not None
        if taken is Taken.FIRST and remote.ice_lite and not self.session.local_description.lite:
            self.session.role = Role.CONTROLLING  # RFC 8445 section 6.1.1
        if taken is Taken.SAME:
            self._restarts.offer_again()
        else:
            if taken is Taken.RESTART and remote.type is SdpType.OFFER:
                self._candidates.hold()  # the answer, which the application makes now, goes first
                self.session.roll_back()  # It may have been answered: then the peer has a place for it already.
            before = self.session.local_description
            self.session.set_remote_description(self._offers.remote_ice)
            if self.session.local_description != before:
                self._candidates.again()
            self._restarts.done()
        self._add(self._remote_candidates.describe(remote))
        if taken is Taken.FIRST and remote.type is SdpType.ANSWER:
            self._connect()

    def _local(self) -> tuple[Description, list[str], bool]:
        """Return our credentials, the candidates found with them, and whether these are all."""
        return self.session.local_description, self._candidates.described(), self._candidates.state == "complete"

    def restart_ice(self) -> None:
        """Have ICE restarted (W3C ``restartIce``): ``"negotiationneeded"`` asks for an offer, with new credentials.

        Data stays on the path there is until the new checks have found one; DTLS and the channels do not notice. An
        offer that is not answered is asked for again (``RestartConfig``). Before the first exchange nothing happens.

        Raises:
            PeerClosed: the connection is closed.
        """
        self._check_open()
        if self._offers.is_made:
            self._restarts.want()

    # ---------------------------------------------------------------- candidates

    def start_gathering(self) -> None:
        """Start to look for local candidates; each is told by ``"icecandidate"``, the end as None. Harmless twice."""
        self._check_open()
        self._candidates.start()

    async def gather(self) -> None:
        """Look for local candidates, and return when those worth waiting for are found (signalling without trickle).

        The state ``ice_gathering_state`` is ``"complete"`` when none can follow any more.

        Raises:
            PeerClosed: the connection is closed, or was meanwhile.
        """
        self._check_open()
        # Neither our caller's end nor that of the gathering is the other's.
        await asyncio.wait((self._candidates.start(),))
        self._check_open()

    def add_ice_candidate(self, candidate: IceCandidate | None) -> None:
        """Take a candidate of the other side; None says that there are no more. What cannot be used is counted.

        A candidate may come before the description it belongs to; it then waits for it.
        """
        if self._closing is None:
            self._add(self._remote_candidates.take(candidate))

    def _add(self, candidates: list[Candidate | None]) -> None:
        for candidate in candidates:
            self.session.add_remote_candidate(candidate)

    # ---------------------------------------------------------------- data channels

    def create_data_channel(
        self,
        label: str = "",
        *,
        protocol: str = "",
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_packet_life_time: int | None = None,
    ) -> RTCDataChannel:
        """Return a new channel, announced to the peer in-band (RFC 8832); it opens once the connection is up.

        It is reliable unless ``max_retransmits`` or ``max_packet_life_time`` (milliseconds), not both, says when a
        message is given up (RFC 8831 section 6.4).

        Raises:
            PeerClosed: the connection is closed.
            ValueError: both limits are given, or one that is out of its range.
        """
        self._check_open()
        if max_packet_life_time == 0 or (max_retransmits is not None and max_packet_life_time is not None):
            raise ValueError("a channel has one limit, and a life time of 0 is none")
        if not 0 <= (max_retransmits or 0) < 2**32 or not 0 < (max_packet_life_time or 1) < 2**32:
            raise ValueError("the limit of a channel is out of range")
        parameters = RTCDataChannelParameters(
            label, max_packet_life_time, max_retransmits, ordered=ordered, protocol=protocol
        )
        channel = RTCDataChannel(self.sctp, parameters)
        channel.on("error", self._handler_failed)
        return channel
