"""Sending a connectivity check: over which connection, under which number, how many bytes (RFC 8445 section 7.2.4)."""

from __future__ import annotations

from ice.pair import CandidatePair
from ice.pairing import Pairing
from stun.machine import Transmit

__all__ = ["Sending"]


class Sending(Pairing):
    """The pairs, and checks on them: over a connection where the pair has one, within what its address may be sent."""

    __slots__ = ()

    def _check(
        self, pair: CandidatePair, now: float, *, nominates: bool = False, schedule: tuple[int, int] | None = None
    ) -> bool:
        """Begin a check on ``pair``; return False while there is no connection to send it on.

        ``schedule`` is as of :meth:`CheckClient.start <ice.checks.CheckClient.start>`.
        """
        assert self._client is not None
        if pair.path.protocol.is_stream and not self._tcp.reach(pair, now):
            if pair.is_opened_by_peer:
                self.unreachable(pair, now)
            return False  # When the connection is there it is checked, and nominated only if that is due then.
        together = self.checklist.together
        crowded_rto = together.ta * together.count_running()
        number = self.moving.take_number() if nominates else 0
        check = self._client.start(pair, nominates, crowded_rto, now, nomination=number, schedule=schedule)
        self._send(check)
        return True

    def _send(self, check: Transmit) -> None:
        """Send a check for the first time or again, unless its address may not be sent as much (section 19.5.1)."""
        pair = self.checklist.find(check.path)
        if pair is None or self._amplification.allows(pair, len(check.data)):
            self.unsent += (check,)

    def connected(self, pair: CandidatePair, now: float) -> None:
        """The connection of ``pair`` is open: check it, now or again (RFC 6544 sections 7.1 and 11.1)."""
        if self._client is not None:
            self._check(pair, now)

    def unreachable(self, pair: CandidatePair, now: float) -> None:
        """The connection of ``pair`` is gone, or cannot be had: so its checks fail."""
        raise NotImplementedError
