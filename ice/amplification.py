"""A peer must not make us send more to a third address than it costs: RFC 8445 section 19.5.1, RFC 9000 section 8.1."""

from __future__ import annotations

from typing import Final

from ice.candidate import Candidate, CandidateType
from ice.pair import CandidatePair
from ice.remote import RemoteCandidates
from stun.address import FiveTuple
from stun.nothing import NO_ENTRIES

__all__ = ["Amplification"]

_PEER_REFLEXIVE: Final = CandidateType.PEER_REFLEXIVE


class Amplification:
    """How much may go to addresses that only a check's source has named.

    A source can be forged, by a peer that knows the credentials too. Until such an address has answered a check of ours
    at most ``ratio`` times the bytes go there that came from there. An honest peer is not slowed down by it: it sends
    its own check again while it is not answered, and where the address is signalled as well, the limits of signalled
    candidates count. So they do where only the port is news: a NAT has mapped the peer anew, as symmetric ones do, and
    both the answer to our check and the check sent again may be lost.
    """

    __slots__ = ("_bytes", "_ratio", "_remotes", "held_back")

    def __init__(self, ratio: float, remotes: RemoteCandidates) -> None:
        self._ratio = ratio
        self._remotes = remotes
        self._bytes: dict[FiveTuple, tuple[int, int]] = NO_ENTRIES
        self.held_back = 0
        """Requests that were not sent for it."""

    def note_check(self, path: FiveTuple, remote: Candidate, received: int, sent: int) -> None:
        """A check of so many bytes came along ``path`` from ``remote``, and was answered with so many."""
        if not self._is_unproven(path, remote):
            return
        if self._bytes is NO_ENTRIES:
            self._bytes = {}
        before = self._bytes.get(path, (0, 0))
        self._bytes[path] = before[0] + received, before[1] + sent

    def proven(self, path: FiveTuple) -> None:
        """A check of ours was answered: the peer is there."""
        if self._bytes.pop(path, None) is not None and not self._bytes:
            self._bytes = NO_ENTRIES

    def allows(self, pair: CandidatePair, size: int) -> bool:
        """Whether a request of so many bytes may go out on ``pair`` now; it counts as sent then."""
        path = pair.path
        if pair.succeeded_at is not None or not self._is_unproven(path, pair.remote) or path not in self._bytes:
            return True
        received, sent = self._bytes[path]
        if sent + size > self._ratio * received:
            self.held_back += 1
            return False
        self._bytes[path] = received, sent + size
        return True

    def _is_unproven(self, path: FiveTuple, remote: Candidate) -> bool:
        """Whether nothing but the source of a datagram says that the peer is there."""
        if remote.type is not _PEER_REFLEXIVE or path.protocol.is_stream:
            return False
        return not self._remotes.has_signalled(path.remote.host)
