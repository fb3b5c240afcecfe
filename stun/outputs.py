"""What every machine hands out: when it wants to be woken, and the effects that all drivers know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stun.address import FiveTuple
from stun.plain import Plain

__all__ = ["Deadline", "Release", "Transmit", "earliest"]


class Deadline(Plain):
    """When a machine next wants ``handle_timeout``, in monotonic seconds, and what for."""

    __slots__ = ("at", "why")

    __match_args__: Final = ("at", "why")

    def __init__(self, at: float, why: str) -> None:
        self.at: Final = at
        self.why: Final = why


class Transmit(Plain):
    """Effect: send one datagram (or, on a stream path, these bytes) along ``path``."""

    __slots__ = ("data", "path")

    __match_args__: Final = ("data", "path")

    def __init__(self, data: bytes, path: FiveTuple) -> None:
        self.data: Final = data
        self.path: Final = path


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
