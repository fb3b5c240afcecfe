"""The other side's candidates as signalling brings them: which are for us, how many, what waits for a description."""

from __future__ import annotations

from collections import Counter

from ice import Candidate
from ice.errors import CandidateError
from signalling.libp2p.webrtc_signalling import IceCandidate
from webrtc_bridge.sdp import DataDescription

__all__ = ["RemoteCandidates"]


class RemoteCandidates:
    """Reads, filters and counts; holds what comes before the description it belongs to (RFC 8838 section 11)."""

    def __init__(self, limit: int) -> None:
        """Take at most ``limit`` candidates of each generation, and hold as many early ones."""
        self.counters: Counter[str] = Counter()
        """``"candidates"`` that were read, and what was passed over, by reason."""
        self._limit = limit
        self._taken = 0
        self._description: DataDescription | None = None
        self._early: list[IceCandidate | None] = []

    def describe(self, description: DataDescription) -> list[Candidate | None]:
        """Take the description, and return the candidates in it and those that waited for it; None is their end.

        One with other credentials begins a generation: further candidates have to be of that.
        """
        if self._description is None or description.ufrag != self._description.ufrag:
            self._taken = 0
        self._description = description
        items: list[IceCandidate | None] = [IceCandidate(candidate=line) for line in description.candidates]
        if description.end_of_candidates:
            items.append(None)
        early, self._early = self._early, []
        return [usable for item in (*items, *early) for usable in self.take(item)]

    def take(self, candidate: IceCandidate | None) -> list[Candidate | None]:
        """Return what of one signalled candidate (None: their end) is for ICE: one item, or nothing."""
        if self._description is None:
            if len(self._early) < self._limit:
                self._early.append(candidate)
            else:
                self.counters["too many candidates"] += 1
            return []
        if candidate is None:
            return [None]
        if not candidate.candidate:
            return [None] if self._is_for(candidate, candidate.username_fragment, self._description) else []
        self.counters["candidates"] += 1
        self._taken += 1
        if self._taken > self._limit:
            self.counters["too many candidates"] += 1
            return []
        return self._read(candidate, self._description)

    def _read(self, candidate: IceCandidate, description: DataDescription) -> list[Candidate | None]:
        try:
            parsed = Candidate.from_sdp(candidate.candidate)
        except CandidateError:
            self.counters["unreadable candidate"] += 1
            return []
        if not self._is_for(candidate, candidate.username_fragment or parsed.ufrag, description):
            return []
        if parsed.component != 1:
            self.counters["candidate of another component"] += 1
            return []
        return [parsed]

    def _is_for(self, candidate: IceCandidate, generation: str | None, description: DataDescription) -> bool:
        """Whether a candidate, or the end of them, is of the section and the generation that we have; else count it.

        RFC 8829 section 3.5.2: the mid says the section, and the index only where there is no mid.
        """
        if generation is not None and generation != description.ufrag:
            self.counters["candidate of another generation"] += 1
            return False
        if candidate.sdp_mid is not None:
            is_elsewhere = any(media.mid == candidate.sdp_mid for media in description.rejected)
        else:
            is_elsewhere = any(media.index == candidate.sdp_mline_index for media in description.rejected)
        if is_elsewhere:
            self.counters["candidate of another component"] += 1
        return not is_elsewhere
