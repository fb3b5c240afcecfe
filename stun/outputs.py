"""What every machine hands out: when it wants to be woken, and the effects that all drivers know.

These are made for each message. They are plain classes because the compiled build makes those without a call of
Python's, which named tuples and dataclasses need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stun.address import FiveTuple

__all__ = ["Deadline", "Release", "Transmit", "earliest"]


class Deadline:
    """When a machine next wants ``handle_timeout``, in monotonic seconds, and what for."""

    __slots__ = ("at", "why")

    def __init__(self, at: float, why: str) -> None:
        self.at: Final = at
        self.why: Final = why

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Deadline) and self.at == other.at and self.why == other.why

    def __hash__(self) -> int:
        return hash((self.at, self.why))

    def __repr__(self) -> str:
        return f"Deadline(at={self.at!r}, why={self.why!r})"


class Transmit:
    """Effect: send one datagram (or, on a stream path, these bytes) along ``path``."""

    __slots__ = ("data", "path")

    __match_args__: Final = ("data", "path")

    def __init__(self, data: bytes, path: FiveTuple) -> None:
        self.data: Final = data
        self.path: Final = path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transmit) and self.data == other.data and self.path == other.path

    def __hash__(self) -> int:
        return hash((self.data, self.path))

    def __repr__(self) -> str:
        return f"Transmit(data={self.data!r}, path={self.path!r})"


@dataclass(frozen=True, slots=True)
class Release:
    """Effect: close the connection ``path`` after what was already transmitted on it."""

    path: FiveTuple


def earliest(*deadlines: Deadline | None) -> Deadline | None:
    """Return the soonest of several deadlines; None stands for never."""
    soonest: Deadline | None = None
    for deadline in deadlines:
        if deadline is not None and (soonest is None or deadline.at < soonest.at):
            soonest = deadline
    return soonest
