"""What a NAT's behaviour means: which peers are reached directly, by punching, by prediction, or only by a relay.

The table was measured in a laboratory with real sockets (see ``docs/nat.md``); it is symmetric in the pair.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

from stun.behaviour import Allocation, Filtering, Mapping, NatReport

__all__ = ["PeerClass", "Way", "outlook", "peer_class"]


class PeerClass(enum.Enum):
    """What a peer may be behind, over UDP."""

    OPEN = "no NAT, or one that lets everybody in (EIM/EIF)"
    RESTRICTED = "a NAT that lets in who was written to (EIM/ADF)"
    PUNCHABLE = "the usual home router (EIM/APDF)"
    ADDRESS_DEPENDENT = "a NAT with a mapping per address (ADM/APDF)"
    SEQUENTIAL = "a NAT with a mapping per peer, ports in sequence (APDM)"
    RANDOM = "a NAT with a mapping per peer, random ports (APDM)"
    BLOCKED = "a firewall that lets no UDP pass"


class Way(enum.Enum):
    """How a peer is reached."""

    DIRECTLY = "directly"
    PUNCHING = "by punching"
    PREDICTION = "by predicting a port"
    RELAY = "only by a relay"


_D, _U, _P, _R = Way
_COLUMNS = tuple(PeerClass)
_TABLE = {
    PeerClass.OPEN: (_D, _D, _D, _D, _D, _D, _R),
    PeerClass.RESTRICTED: (_D, _U, _U, _U, _U, _U, _R),
    PeerClass.PUNCHABLE: (_D, _U, _U, _R, _P, _R, _R),
    PeerClass.ADDRESS_DEPENDENT: (_D, _U, _R, _R, _R, _R, _R),
    PeerClass.SEQUENTIAL: (_D, _U, _P, _R, _P, _R, _R),
    PeerClass.RANDOM: (_D, _U, _R, _R, _R, _R, _R),
    PeerClass.BLOCKED: (_R, _R, _R, _R, _R, _R, _R),
}


def peer_class(report: NatReport) -> PeerClass | None:
    """Return the row of the table that we are in; None when the mapping could not be told.

    Where only part was told, the worse of what it may be is taken.
    """
    if report.mapped is None:
        return PeerClass.BLOCKED
    match report.mapping:
        case None:
            return None
        case Mapping.ENDPOINT_INDEPENDENT:
            return _with_filtering(report.filtering)
        case Mapping.ADDRESS_DEPENDENT:
            return PeerClass.ADDRESS_DEPENDENT
        case Mapping.ADDRESS_AND_PORT_DEPENDENT | Mapping.ENDPOINT_DEPENDENT:
            sequential = report.allocation is Allocation.SEQUENTIAL
            return PeerClass.SEQUENTIAL if sequential else PeerClass.RANDOM


def _with_filtering(filtering: Filtering | None) -> PeerClass:
    match filtering:
        case Filtering.ENDPOINT_INDEPENDENT:
            return PeerClass.OPEN
        case Filtering.ADDRESS_DEPENDENT | Filtering.NOT_PORT_DEPENDENT:
            return PeerClass.RESTRICTED
        case _:
            return PeerClass.PUNCHABLE


def outlook(ours: PeerClass) -> Sequence[tuple[PeerClass, Way]]:
    """Return for every class of peer how it is reached from behind ``ours``."""
    return list(zip(_COLUMNS, _TABLE[ours], strict=True))
