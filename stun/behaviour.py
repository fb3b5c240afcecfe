"""What a NAT does, in the words of RFC 4787 and RFC 5780: the classes, what is told of them, and how they are inferred.

The tests themselves are in :mod:`stun.behaviour_tests`; :mod:`stun.behaviour_client` runs them. What they find holds
for the NAT's state at that time (RFC 5780 section 1.1): it is for people and for the order of tries, never the only
ground for not trying something.
"""

from __future__ import annotations

import enum
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from stun.address import TransportAddress

__all__ = [
    "Allocation",
    "Filtering",
    "Hairpin",
    "Lifetime",
    "Mapping",
    "NatReport",
    "NatTest",
    "Sample",
    "allocation_pattern",
    "classify_mapping",
]


class NatTest(enum.Enum):
    """What can be tested, with why a test may have no result in :attr:`NatReport.untold`."""

    MAPPING = "mapping"
    FILTERING = "filtering"
    ALLOCATION = "allocation"
    HAIRPIN = "hairpin"
    FRAGMENTS = "fragments"
    LIFETIME = "lifetime"


class Mapping(enum.Enum):
    """When two destinations see one mapped address (RFC 4787 section 4.1)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    ENDPOINT_DEPENDENT = "address-dependent, or address-and-port-dependent"
    """All that two servers of one address each can tell."""


class Filtering(enum.Enum):
    """Whose packets come in through a mapping (RFC 4787 section 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"
    NOT_PORT_DEPENDENT = "endpoint-independent, or address-dependent"
    """All that a server with one address and two ports can tell."""


class Allocation(enum.Enum):
    """Which outer port a new mapping gets (RFC 4787 section 4.2)."""

    PRESERVING = "preserving"
    SEQUENTIAL = "sequential"
    RANDOM = "random"


class Hairpin(enum.Enum):
    """What becomes of a packet to our own mapped address (RFC 4787 section 6)."""

    NONE = "no"
    EXTERNAL_SOURCE = "yes"
    INTERNAL_SOURCE = "yes, with the inner source address"


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long an idle mapping lives, in seconds (RFC 4787 section 4.3)."""

    alive: float
    """The longest silence after which a mapping was still there; 0 for none that was tried."""
    dead: float | None
    """The shortest silence after which it was gone; None when all that were tried were survived."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One new mapping: where it is inside, whom it is for, and where the NAT put it."""

    local: TransportAddress
    remote: TransportAddress
    mapped: TransportAddress


@dataclass(frozen=True, kw_only=True, slots=True)
class NatReport:
    """What the tests told of the NATs between ``local`` and ``server``. None stands for *not told*, see ``untold``."""

    server: TransportAddress
    local: TransportAddress
    mapped: TransportAddress | None = None
    """Our address as the server sees it; None when it does not answer."""
    other_address: TransportAddress | None = None
    """OTHER-ADDRESS of the server, or the second server that was asked in its place."""
    mapping: Mapping | None = None
    filtering: Filtering | None = None
    allocation: Allocation | None = None
    delta: int | None = None
    """The usual step from one port to the next, with SEQUENTIAL."""
    preserves_port: bool | None = None
    """Whether the first mapping of a fresh port keeps its number."""
    hairpin: Hairpin | None = None
    fragments: bool | None = None
    """Whether fragmented datagrams pass, both ways (RFC 5780 section 3.5)."""
    lifetime: Lifetime | None = None
    rewrites_payload: bool | None = None
    """Whether a gateway edits addresses in payloads (RFC 5780 section 3.6)."""
    samples: tuple[Sample, ...] = ()
    """The mappings seen, in the order in which they were made."""
    untold: tuple[tuple[NatTest, str], ...] = ()
    """The tests that could not tell, each with why."""

    @property
    def translated(self) -> bool | None:
        """Whether there is a NAT that changes our address or port; None when the server does not answer."""
        return None if self.mapped is None else self.mapped != self.local


def classify_mapping(
    first: TransportAddress, other_host: TransportAddress | None, other_both: TransportAddress | None
) -> Mapping | None:
    """Return the class of the mapped addresses that one inner port was seen at (RFC 5780 section 4.3).

    Args:
        first: by the primary address and port.
        other_host: by the other address and the primary port.
        other_both: by the other address and the other port; None when that could not be asked.
    """
    if other_host is None:
        return None
    if other_host == first:
        return Mapping.ENDPOINT_INDEPENDENT
    if other_both is None:
        return Mapping.ENDPOINT_DEPENDENT
    return Mapping.ADDRESS_DEPENDENT if other_both == other_host else Mapping.ADDRESS_AND_PORT_DEPENDENT


def allocation_pattern(samples: Sequence[Sample], near: int = 32) -> tuple[Allocation | None, int | None]:
    """Return how the NAT picks ports, and the usual step when it picks them in sequence.

    Args:
        samples: new mappings in the order in which they were made; at least three are needed.
        near: the longest step that still counts as a sequence, because others take ports in between.
    """
    ports = _distinct(samples)
    if len(ports) < 3:
        return None, None
    if all(sample.mapped.port == sample.local.port for sample in samples):
        return Allocation.PRESERVING, None
    # A NAT that keeps a port where it can shows its habit only where it cannot.
    moved = _distinct([sample for sample in samples if sample.mapped.port != sample.local.port])
    if len(moved) < 3:
        return Allocation.PRESERVING, None
    steps = [after - before for before, after in itertools.pairwise(moved)]
    step, _ = Counter(steps).most_common(1)[0]
    usual = min(steps, key=abs) if Counter(steps)[step] == 1 else step
    in_sequence = sum(0 < other * (1 if usual > 0 else -1) <= near for other in steps)
    # One wild step is the end of a NAT's port range, or a port that was taken.
    if in_sequence >= max(2, len(steps) - 1):
        return Allocation.SEQUENTIAL, usual
    return Allocation.RANDOM, None


def _distinct(samples: Sequence[Sample]) -> list[int]:
    ports: list[int] = []
    for sample in samples:
        if not ports or ports[-1] != sample.mapped.port:
            ports.append(sample.mapped.port)
    return ports
