"""When a yamux session probes a silent peer, and when it gives up on it."""

from __future__ import annotations

from signalling.libp2p.config import YamuxConfig
from signalling.libp2p.yamux_frames import MAX_LENGTH
from stun.machine import Deadline

__all__ = ["Keepalive"]


class Keepalive:
    """Counts the silence: a ping after ``config.keepalive`` seconds, the end ``config.keepalive_timeout`` later.

    Anything that the peer sends counts as a sign of life, because a pong may queue behind bulk data.
    """

    __slots__ = ("_config", "_count", "_heard_at", "_sent_at", "round_trip")

    def __init__(self, config: YamuxConfig, now: float) -> None:
        self._config = config
        self._heard_at = now
        self._count = 0
        self._sent_at: float | None = None
        self.round_trip: float | None = None
        """Seconds that the last answered ping took."""

    def heard(self, now: float) -> None:
        """Note a sign of life."""
        self._heard_at = now

    def answered(self, opaque: int, now: float) -> None:
        """Take a pong; one that answers no ping of ours is ignored."""
        if self._sent_at is not None and opaque == self._count & MAX_LENGTH:
            self.round_trip = now - self._sent_at
            self._sent_at = None

    def next_timeout(self) -> Deadline:
        """When :meth:`expired` or :meth:`next_ping` has something to say."""
        if self._sent_at is None:
            return Deadline(self._heard_at + self._config.keepalive, "yamux keepalive")
        return Deadline(max(self._sent_at, self._heard_at) + self._config.keepalive_timeout, "yamux ping timeout")

    def expired(self, now: float) -> bool:
        """Whether the peer left a ping unanswered for too long."""
        return self._sent_at is not None and now >= self.next_timeout().at

    def next_ping(self, now: float) -> int | None:
        """Return the opaque value of a ping that is due now, or None."""
        if self._sent_at is not None or now < self.next_timeout().at:
            return None
        self._count += 1
        self._sent_at = now
        return self._count & MAX_LENGTH
