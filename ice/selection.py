"""Changing the selected pair: which one takes over, and what the standards allow for it (RFC 8445 section 8.1.1)."""

from __future__ import annotations

import enum
from typing import Final

from ice.description import Description
from ice.pair import CandidatePair

__all__ = ["RENOMINATION", "MoveBy", "how_to_move", "takes_over"]

RENOMINATION: Final = "renomination"
"""The ice-option of draft-thatcher-ice-renomination."""


class MoveBy(enum.Enum):
    """How the controlling side gets from one pair to another."""

    RENOMINATION = enum.auto()
    """Both sides know it: the last nomination wins."""
    NOMINATION = enum.auto()
    """The peer follows RFC 5245 (it does not say ``ice2``): of all nominated pairs the one of highest priority is used
    (section 8.1.1.2 there), so a second nomination moves both sides up, and never down."""
    RESTART = enum.auto()
    """RFC 8445 section 8.1.1 allows one nomination in a session, and section 9 a restart."""


def how_to_move(selected: CandidatePair, better: CandidatePair, ours: Description, theirs: Description) -> MoveBy:
    """Return how to move from ``selected`` to ``better``."""
    if RENOMINATION in ours.options and RENOMINATION in theirs.options:
        return MoveBy.RENOMINATION
    if "ice2" not in theirs.options and not theirs.lite and better.priority > selected.priority:
        return MoveBy.NOMINATION
    return MoveBy.RESTART


def takes_over(
    selected: CandidatePair | None, nominated: CandidatePair, selected_is_fresh: bool, newer: int = 0
) -> bool:
    """Whether ``nominated`` takes the place of ``selected``.

    Of several nominated pairs the one of highest priority is used (section 8.1.1); a selected pair whose peer has
    fallen silent gives way to any. ``newer`` is over 0 when the nomination's number is higher than that of the selected
    pair, which then wins in any case, and under 0 when it is lower: old news, sent again or overtaken.
    """
    if selected is None:
        return True
    if selected.path == nominated.path or newer < 0:
        return False
    return newer > 0 or nominated.priority > selected.priority or not selected_is_fresh
