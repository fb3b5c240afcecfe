"""A peer must not make us send more to a third address than it costs: RFC 8445 section 19.5.1, RFC 9000 section 8.1."""

from __future__ import annotations

from ice.candidate import CandidateType
from ice.pair import CandidatePair
from stun.address import FiveTuple

__all__ = ["Amplification"]


class Amplification:
    """How much may go to addresses that only a check's source has named.

    A source can be forged, by a peer that knows the credentials too. Until such an address has answered a check of ours
    at most ``ratio`` times the bytes go there that came from there. An honest peer is not slowed down by it: it sends
    its own check again while it is not answered, and where the address is signalled as well, the limits of signalled
    candidates count.
    """

    __slots__ = ("_ratio", "_received", "_sent", "held_back")

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._received: dict[FiveTuple, int] = {}
        self._sent: dict[FiveTuple, int] = {}
        self.held_back = 0
        """Requests that were not sent for it."""

    def note_check(self, path: FiveTuple, received: int, sent: int) -> None:
        """A check of so many bytes came along ``path``, and was answered with so many."""
        self._received[path] = self._received.get(path, 0) + received
        self._sent[path] = self._sent.get(path, 0) + sent

    def allows(self, pair: CandidatePair, size: int) -> bool:
        """Whether a request of so many bytes may go out on ``pair`` now; it counts as sent then."""
        path = pair.path
        is_named_by_source_only = pair.remote.type is CandidateType.PEER_REFLEXIVE and pair.succeeded_at is None
        if not is_named_by_source_only or path.protocol.is_stream or path not in self._received:
            return True
        sent = self._sent[path] + size
        if sent > self._ratio * self._received[path]:
            self.held_back += 1
            return False
        self._sent[path] = sent
        return True
