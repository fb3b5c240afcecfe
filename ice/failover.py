"""Is the selected path still alive? Data heard says yes; silence while we send is looked into (beside RFC 7675)."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Final

from ice.consent import Consent
from ice.life_config import FailoverConfig
from stun.machine import Deadline, Transmit

__all__ = ["Doubt", "Liveness"]


_NEVER: Final = -math.inf


class Doubt(enum.Enum):
    """What a check of the peer on another path than the selected one says about that one."""

    NONE = enum.auto()
    HINT = enum.auto()
    """It came on a spare pair: it may be its turn, or the peer's way out of a dead one."""
    STRONG = enum.auto()
    """It came from an address that is new."""


class Liveness:
    """Watches one selected path at a time, by counters that are looked at now and then: data makes no calls here.

    What is heard never renews the consent to send, which answers to our checks alone do (RFC 7675 section 5.1). It only
    spares the path a probe. Nor is a path dead because nothing comes back: only when probes go unanswered.
    """

    __slots__ = (
        "_busy",
        "_config",
        "_hinted_at",
        "_probe_at",
        "_probes",
        "_received",
        "_sampled_at",
        "_sent",
        "_silent_since",
        "_suspected_at",
        "traffic",
    )

    def __init__(self, config: FailoverConfig) -> None:
        self._config = config
        self.traffic: Callable[[], tuple[int, int]] = _no_traffic
        """Returns how many datagrams were ever received from the peer, and sent to it; a driver puts its own here."""
        self._received = 0
        self._sent = 0
        self._busy = False
        self._sampled_at = 0.0
        self._silent_since: float | None = None
        self._suspected_at = _NEVER
        self._hinted_at = _NEVER
        self._probes = 0
        self._probe_at = 0.0

    def watch(self, now: float) -> None:
        """Another path is selected: begin anew."""
        self._received, self._sent = self.traffic()
        self._sampled_at = now
        self._busy = False
        self._heard()

    def _heard(self) -> None:
        self._silent_since = None
        self._probes = 0

    def doubt(self, doubt: Doubt, now: float) -> None:
        """There is a reason to doubt that the path is alive: probe it, but not again and again."""
        if doubt is Doubt.NONE:
            return
        self._hinted_at = now
        if self._silent_since is not None:
            self._probe_at = min(self._probe_at, now)
        elif doubt is Doubt.STRONG and now >= self._suspected_at + self._config.silence_after:
            self._silent_since = self._probe_at = self._suspected_at = now

    def _sample(self, consent: Consent, now: float) -> None:
        received, sent = self.traffic()
        self._busy = sent != self._sent
        if received != self._received:
            self._heard()
            consent.is_dead = False
        elif self._silent_since is not None and consent.granted_at >= self._silent_since:
            self._heard()
        elif self._busy and self._silent_since is None:
            self._silent_since = now
            is_hinted = now < self._hinted_at + 2 * self._config.sample_interval
            self._probe_at = now if is_hinted else now + self._config.silence_after
        self._received, self._sent, self._sampled_at = received, sent, now

    def handle_timeout(self, consent: Consent, now: float) -> Transmit | None:
        """Return the probe that is due, or None; a path that answers none of them is marked dead."""
        if not self._config.enabled:
            return None
        self._sample(consent, now)
        if self._silent_since is None or consent.is_dead or now < self._probe_at:
            return None
        if self._probes >= self._config.probes:
            consent.is_dead = True
            return None
        self._probes += 1
        self._probe_at = now + self._config.probe_interval
        return consent.probe(now)

    def next_timeout(self, consent: Consent) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None: an idle path is looked at with its consent checks."""
        if not self._config.enabled:
            return None
        if self._silent_since is not None and not consent.is_dead:
            at = self._probe_at
            if self._probes == 0 and self._busy:
                at = min(at, self._sampled_at + self._config.sample_interval)
            return Deadline(at, "silence under load")
        return Deadline(self._sampled_at + self._config.sample_interval, "data on the path") if self._busy else None


def _no_traffic() -> tuple[int, int]:
    return 0, 0
