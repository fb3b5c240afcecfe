"""How many requests one address may get of an agent, out of the settings alone and what the address itself has sent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ice.config import IceConfig

__all__ = ["RequestBudget"]


@dataclass(frozen=True)
class RequestBudget:
    """The most Binding requests to one target. A pair here is a base of ours that the target can be sent to from, in
    one generation of ICE.
    """

    config: IceConfig

    def sends_within(self, seconds: float) -> int:
        """Return how often one check is sent within so many seconds at most: at 0, 1, 3, 7 ... initial timeouts."""
        starts = [self.config.rto * (2**sent - 1) for sent in range(self.config.max_sends)]
        return sum(at < seconds for at in starts)

    def to_a_stranger(self, pairs: int) -> int:
        """Return how many a target gets in a whole session that is never heard of: a victim, or nobody at all.

        Each pair is checked once, and as a spare of the selected one until it is given up. A nomination goes to valid
        pairs only, and consent to selected ones, so neither goes there.
        """
        upgrade = self.config.upgrade
        return pairs * (self.config.max_sends + upgrade.rechecks * upgrade.check_sends)

    def within(self, seconds: float, *, pairs: int, heard: int, selections: int, restarts: int) -> int:
        """Return how many a target gets within so many seconds that takes part.

        Args:
            seconds: any so many in a row.
            pairs: of the target.
            heard: its checks, and its 487 responses, in this time and 2 Ta before.
            selections: how often a pair was selected in this time.
            restarts: generations that began in this time.
        """
        return self._checks(seconds, pairs, heard) + self._upkeep(seconds, pairs, selections, restarts)

    def _checks(self, seconds: float, pairs: int, heard: int) -> int:
        # A pair has one ordinary check. Another one takes its place, with each check of the peer (RFC 8445 section
        # 7.3.1.4), but not sooner than Ta after the last (section 6.1.4.2; see the deviations for relays).
        by_pace = pairs * (1 + math.ceil(seconds / self.config.ta))
        begun = min(pairs + heard, by_pace)
        # Resends: of each check that has begun, and of the one before on each pair; no pair has two checks at a time.
        resent = (begun + pairs) * (self.sends_within(seconds) - 1)
        return begun + min(resent, pairs * math.ceil(seconds / self.config.rto)) + pairs

    def _upkeep(self, seconds: float, pairs: int, selections: int, restarts: int) -> int:
        config, upgrade = self.config, self.config.upgrade
        consent = 1 + math.ceil(seconds / (0.8 * config.consent_interval)) + selections
        probes = config.failover.probes * (1 + math.ceil(seconds / config.failover.silence_after))
        spares = pairs * upgrade.check_sends * (1 + math.ceil(seconds / upgrade.recheck_after))
        attempt = self._attempt_lasts
        nominations = (upgrade.check_sends + 1) * (1 + selections + restarts + math.ceil(seconds / attempt))
        return consent + probes + spares + nominations

    @property
    def _attempt_lasts(self) -> float:
        """Seconds until a nomination of another pair that nobody answers has failed."""
        upgrade = self.config.upgrade
        return self.config.rto * (2**upgrade.check_sends - 1 + upgrade.check_final_wait)

    def to_a_server(self, seconds: float, *, bases: int, gatherings: int) -> int:
        """Return how many a STUN server gets: a question of each base in each gathering, and what keeps the binding."""
        questions = bases * gatherings * self.sends_within(seconds)
        return questions + bases * (1 + math.ceil(seconds / self.config.keepalive_interval))
