"""Who can reach whom through which NATs: what every traversal test is measured against.

The table comes from a laboratory with real sockets; the rules for the classes that it leaves out come from asking, step
by step, which mapping each side can learn. ``tests/simulation/test_oracle.py`` plays it all through the NATs.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Sequence
from dataclasses import replace

from stun.address import TransportProtocol
from tests.simulation.nat_behaviour import Filtering, Mapping, NatBehaviour, PortAllocation, PortSharing

__all__ = ["NatClass", "Outcome", "Reach", "best_outcome", "combine", "direct_path_possible", "nat_class", "reach"]


class Reach(enum.Enum):
    """What it takes to get a direct path."""

    DIRECT = "D: plain simultaneous punching"
    PREDICTION = "P: predicting a sequential port"
    BIRTHDAY = "B: birthday probing from one side"
    BIRTHDAY_BOTH = "BB: birthday probing from both sides"
    PRACTICALLY_NEVER = "X"
    NEVER = "N: never over UDP"


class Outcome(enum.StrEnum):
    """What two agents end on, the best first."""

    DIRECT = "direct"
    """One of them is reached at its own address."""
    PUNCHED = "punched"
    """Each is reached through what it opened in its own NATs."""
    RELAYED = "relayed"
    NONE = "none"


class NatClass(enum.Enum):
    """The rows of the table."""

    OPEN = "no NAT, or EIM with EIF or ADF"
    PUNCHABLE = "EIM/APDF"
    ADDRESS_DEPENDENT = "ADM/APDF with random ports"
    RANDOM = "APDM with random ports"
    SEQUENTIAL = "APDM with sequential ports"
    BLOCKED = "UDP blocked"


_D, _P, _B, _BB, _X, _N = Reach
_ORDER = tuple(NatClass)
_TABLE = {
    NatClass.OPEN: (_D, _D, _D, _D, _D, _N),
    NatClass.PUNCHABLE: (_D, _D, _B, _B, _P, _N),
    NatClass.ADDRESS_DEPENDENT: (_D, _B, _BB, _BB, _BB, _N),
    NatClass.RANDOM: (_D, _B, _BB, _X, _X, _N),
    NatClass.SEQUENTIAL: (_D, _P, _BB, _X, _P, _N),
    NatClass.BLOCKED: (_N, _N, _N, _N, _N, _N),
}


def combine(nats: Sequence[NatBehaviour]) -> NatBehaviour | None:
    """Return the one NAT that nested ``nats`` behave like; None when there is none."""
    if not nats:
        return None
    worst = max(nats, key=lambda nat: _seen_mapping(nat))
    return replace(
        worst,
        filtering=max(nat.filtering for nat in nats),
        udp_blocked=any(nat.udp_blocked for nat in nats),
    )


def nat_class(nat: NatBehaviour | None) -> NatClass:
    """Return the row of the table that ``nat`` belongs to."""
    if nat is None:
        return NatClass.OPEN
    if nat.udp_blocked:
        return NatClass.BLOCKED
    match _seen_mapping(nat):
        case Mapping.ENDPOINT_INDEPENDENT:
            strict = nat.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT
            return NatClass.PUNCHABLE if strict else NatClass.OPEN
        case Mapping.ADDRESS_DEPENDENT:
            return NatClass.ADDRESS_DEPENDENT
        case Mapping.ADDRESS_AND_PORT_DEPENDENT:
            return NatClass.SEQUENTIAL if nat.allocation is PortAllocation.SEQUENTIAL else NatClass.RANDOM


def reach(a: NatBehaviour | None, b: NatBehaviour | None) -> Reach:
    """Return what a direct path between hosts behind two different NATs takes; None stands for no NAT.

    A pair that the table calls worse than direct is called direct when open filtering makes up for its mapping.
    """
    if nat_class(a) is not NatClass.BLOCKED and nat_class(b) is not NatClass.BLOCKED and _punches(a, b):
        return Reach.DIRECT
    return _TABLE[nat_class(a)][_ORDER.index(nat_class(b))]


def direct_path_possible(a: NatBehaviour | None, b: NatBehaviour | None) -> bool:
    """Whether plain simultaneous punching, as ICE does it, ends on a direct path."""
    return reach(a, b) is Reach.DIRECT


def best_outcome(
    a: Sequence[NatBehaviour], b: Sequence[NatBehaviour], transports: Collection[TransportProtocol], *, relay: bool
) -> Outcome:
    """Return what agents behind ``a`` and ``b`` (the NATs of each side; none stands for the open internet) end on.

    Over UDP they punch. Over TCP the side behind NATs calls the open one, or both call at the same time (simultaneous
    open, RFC 6544), which takes of mapping and filtering what punching takes; that UDP is blocked is no matter then.

    Args:
        a: the NATs of one side.
        b: the NATs of the other, which are others.
        transports: what both sides have host and reflexive candidates for.
        relay: whether each side reaches a TURN server, over whatever passes its NATs.
    """
    found = {_without_relay(combine(a), combine(b), transport) for transport in transports}
    if relay:
        found.add(Outcome.RELAYED)
    return next((outcome for outcome in Outcome if outcome in found), Outcome.NONE)


def _without_relay(a: NatBehaviour | None, b: NatBehaviour | None, transport: TransportProtocol) -> Outcome:
    if transport.is_stream:
        a, b = (nat and replace(nat, udp_blocked=False) for nat in (a, b))
    if not direct_path_possible(a, b):
        return Outcome.NONE
    return Outcome.DIRECT if a is None or b is None else Outcome.PUNCHED


def _seen_mapping(nat: NatBehaviour) -> Mapping:
    """The mapping that peers see: per-session state that keeps and shares the port looks endpoint-independent."""
    if nat.allocation is PortAllocation.PRESERVE and nat.sharing is PortSharing.BY_REMOTE:
        return Mapping.ENDPOINT_INDEPENDENT
    return nat.mapping


def _traits(nat: NatBehaviour | None) -> tuple[Mapping, Filtering]:
    if nat is None:
        return Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT
    return _seen_mapping(nat), nat.filtering


def _punches(a: NatBehaviour | None, b: NatBehaviour | None) -> bool:
    """Whether a pair of outer endpoints exists that each side can learn and each filter lets through."""
    (mapping_a, filtering_a), (mapping_b, filtering_b) = sorted((_traits(a), _traits(b)))
    match mapping_a, mapping_b:
        case Mapping.ENDPOINT_INDEPENDENT, Mapping.ENDPOINT_INDEPENDENT:
            return True  # Both endpoints are known from the STUN server, and both filters open outwards.
        case Mapping.ENDPOINT_INDEPENDENT, _:
            return filtering_a is not Filtering.ADDRESS_AND_PORT_DEPENDENT  # b's port comes as a surprise to a.
        case Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_DEPENDENT:
            return _learns_and_answers(filtering_a, filtering_b) or _learns_and_answers(filtering_b, filtering_a)
        case Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT:
            # Only b's last mapping, made towards a's endpoint, is stable; b must learn that endpoint first.
            learns = filtering_b is Filtering.ENDPOINT_INDEPENDENT or (
                filtering_a is Filtering.ENDPOINT_INDEPENDENT and filtering_b is Filtering.ADDRESS_DEPENDENT
            )
            return learns and filtering_a is not Filtering.ADDRESS_AND_PORT_DEPENDENT
        case _:
            return False  # Each answer to a new endpoint makes another new endpoint.


def _learns_and_answers(learner: Filtering, other: Filtering) -> bool:
    """Whether an address-dependent side hears of the other's endpoint, and the other hears the answer."""
    return learner is Filtering.ENDPOINT_INDEPENDENT and other is not Filtering.ADDRESS_AND_PORT_DEPENDENT
