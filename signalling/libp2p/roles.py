"""The one role bit of a connection, from which every layer takes its own (libp2p connections specification)."""

from __future__ import annotations

import enum

__all__ = ["Role"]


class Role(enum.Enum):
    """Who started: decides who proposes in multistream-select, who is initiator in Noise, who opens odd streams."""

    INITIATOR = "initiator"
    """The dialling side; under simultaneous open, the side that was told so."""
    RESPONDER = "responder"

    @property
    def other(self) -> Role:
        """The peer's role."""
        return Role.RESPONDER if self is Role.INITIATOR else Role.INITIATOR
