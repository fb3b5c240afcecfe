"""When credentials are to be fetched again: before they run out, when they are refused, and after a failure."""

from __future__ import annotations

from stun.machine import Deadline
from turn.config import TurnClientConfig

__all__ = ["Renewal"]

_LEAST_LIFETIME = 1.0
"""Seconds; credentials of less are as good as run out."""


class Renewal:
    """The clock of credentials that expire."""

    def __init__(self, config: TurnClientConfig) -> None:
        self._config = config
        self._at: float | None = None
        self._asked = False

    def known(self, lifetime: float | None, now: float) -> None:
        """Credentials that are good for ``lifetime`` seconds (None: for ever) are in hand."""
        self._asked = False
        self._at = None
        if lifetime is not None:
            # Whoever hands out what has run out already is not asked again at once.
            spent = lifetime < _LEAST_LIFETIME
            margin = min(self._config.credentials_margin, lifetime / 2)
            self._at = now + (self._config.credentials_retry if spent else lifetime - margin)

    def failed(self, now: float) -> None:
        """None could be had: try again."""
        self._asked = False
        self._at = now + self._config.credentials_retry

    def stop(self) -> None:
        """They are needed no more."""
        self._at = None
        self._asked = True

    def is_due(self, now: float, urgent: bool) -> bool:
        """Whether to ask for credentials now; True once, until :meth:`known` or :meth:`failed`."""
        if self._asked or not (urgent or (self._at is not None and self._at <= now)):
            return False
        if urgent and self._at is not None and self._at > now and self._at - now <= self._config.credentials_retry:
            return False  # a try has just failed
        self._asked = True
        self._at = None
        return True

    def next_timeout(self) -> Deadline | None:
        """Return when to ask."""
        return None if self._at is None else Deadline(self._at, "credentials")
