"""ALTERNATE-SERVER: which redirects are followed (RFC 8489 section 10)."""

from __future__ import annotations

from stun.address import TransportAddress
from turn.config import RedirectPolicy, TurnServerConfig
from turn.errors import TurnRedirectError

__all__ = ["Redirects"]


class Redirects:
    """Remembers who was asked, so that servers cannot send us round in circles."""

    def __init__(self, config: TurnServerConfig) -> None:
        self._policy = config.redirects
        self._config = config.client
        self._asked: dict[TransportAddress, float] = {}
        self._followed = 0

    def asked(self, server: TransportAddress, now: float) -> None:
        """A server is asked now."""
        self._asked[server] = now

    def follow(self, error: TurnRedirectError, now: float) -> TransportAddress | None:
        """Return where to go, or None when the redirect is not to be followed.

        A server that was asked in the last five minutes is not asked again.
        """
        allowed = self._policy is RedirectPolicy.ANY or (self._policy is RedirectPolicy.SIGNED and error.is_signed)
        if not allowed or self._followed >= self._config.max_redirects:
            return None
        for alternate in error.alternates:
            asked = self._asked.get(alternate)
            if asked is None or now - asked > self._config.redirect_memory:
                self._followed += 1
                return alternate
        return None
