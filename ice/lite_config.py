"""Settings of a lite agent (RFC 8445 section 2.5)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LiteConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LiteConfig:
    """Whether this side is ICE-lite: it answers checks and sends none. For hosts that everybody can reach."""

    enabled: bool = False
    """Whether the agent is a lite one: host candidates only (RFC 8445 section 5.2), never in control of a full peer
    (section 6.1.1), passive over TCP (RFC 6544 section 4.3)."""
    unchecked_peers: bool = False
    """Whether a peer that is lite, too, is sent data although no check has shown that it wants them (RFC 8445 section
    8.2). Whoever can write the peer's candidates chooses then where the data goes, so the signalling has to be
    trusted; without this two lite agents have no pair."""
    settle_time: float = 1.0
    """Seconds after the last nomination of the selected pair during which one of a lower priority does not move the
    session: the tail of an aggressively nominating peer (RFC 5245 section 8.1.1.2), whose best pair is the one. Later
    ones are a peer that has changed its mind."""

    def __post_init__(self) -> None:
        if self.settle_time < 0:
            raise ValueError("settle_time must not be negative")
