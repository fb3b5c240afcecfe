"""The signalling of two data peers: it takes a while, may lose what it is told to, and lets either side restart ICE."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from webrtc_bridge.peer import DataPeer
from webrtc_bridge.sdp import SdpType
from webrtc_bridge.states import SignalingState


class SignallingWire:
    """Carries descriptions with their kind, and candidates, both ways and in order."""

    def __init__(self, offerer: DataPeer, answerer: DataPeer, latency: float = 0.02) -> None:
        self.latency = latency
        self.told: list[tuple[DataPeer, SdpType, str]] = []
        """The descriptions that were sent: who, what, and the text."""
        self._under_way: deque[Callable[[], None]] = deque()
        self.loses: Callable[[SdpType], bool] = lambda kind: False
        """Decides which descriptions get lost."""
        self.detours: Callable[[SdpType], tuple[float, ...]] | None = None
        """Decides after how many seconds each description comes, and how often; without it, once and in order."""
        for one, other in ((offerer, answerer), (answerer, offerer)):
            one.on("icecandidate", lambda candidate, other=other: self._later(other.add_ice_candidate, candidate))
            one.on("negotiationneeded", lambda one=one, other=other: self.offer(one, other))
        self.offer(offerer, answerer)
        offerer.start_gathering()

    def offer(self, one: DataPeer, other: DataPeer) -> None:
        """Have ``one`` make an offer."""
        self._tell(one, other, SdpType.OFFER, one.create_offer())

    def offers(self, peer: DataPeer) -> list[str]:
        """Return the offers that a side has sent, the first one included where it was that side's."""
        return [text for who, kind, text in self.told if who is peer and kind is SdpType.OFFER]

    def _tell(self, one: DataPeer, other: DataPeer, kind: SdpType, text: str) -> None:
        self.told.append((one, kind, text))
        if self.loses(kind):
            return
        if self.detours is None:
            self._later(self._hear, other, one, kind, text)
            return
        for seconds in self.detours(kind):
            asyncio.get_running_loop().call_later(seconds, self._hear, other, one, kind, text)

    def _hear(self, peer: DataPeer, other: DataPeer, kind: SdpType, text: str) -> None:
        if peer.closed:
            return
        peer.set_remote_description(text, kind)
        if peer.signaling_state is SignalingState.HAVE_REMOTE_OFFER:
            self._tell(peer, other, SdpType.ANSWER, peer.create_answer())
            peer.start_gathering()

    def _later(self, function: Callable[..., None], *arguments: object) -> None:
        # Timers of one moment run in any order, what is signalled does not.
        self._under_way.append(lambda: function(*arguments))
        asyncio.get_running_loop().call_later(self.latency, lambda: self._under_way.popleft()())
