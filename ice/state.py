"""The states of a session."""

from __future__ import annotations

import enum

__all__ = ["State"]


class State(enum.StrEnum):
    """The state of a session."""

    NEW = "new"
    """The peer's description is not known yet."""
    CHECKING = "checking"
    """Checks run, or wait for candidates; nothing is nominated yet."""
    CONNECTED = "connected"
    """A pair is nominated and carries data; candidates may still come on one of the sides."""
    COMPLETED = "completed"
    """A pair is nominated and both sides have said that their candidates are complete."""
    DISCONNECTED = "disconnected"
    """The peer has not answered for a while; this may heal until consent expires."""
    FAILED = "failed"
    """No pair was found, or consent to the one in use is gone."""
    CLOSED = "closed"
    """The owner closed the session."""

    is_usable: bool
    """Whether data can be sent."""
    is_over: bool
    """Whether the session has ended."""

    def __init__(self, value: str) -> None:
        # Attributes rather than properties: every input of an agent asks for them.
        self.is_usable = value in ("connected", "completed", "disconnected")
        self.is_over = value in ("failed", "closed")
