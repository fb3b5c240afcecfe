"""A network in a box: virtual time, lossy links, NATs after RFC 4787, hosts. See docs/simulation.md."""

from __future__ import annotations

from tests.simulation.host import Host, SimulatedNetwork, SimulatedSocket
from tests.simulation.link import Link, LinkProfile
from tests.simulation.loop import Stalled, VirtualTimeLoop, run_virtual, virtual_time
from tests.simulation.machines import Driven
from tests.simulation.nat import Nat, NatMapping, Packet, Segment
from tests.simulation.nat_behaviour import (
    Filtering,
    Hairpin,
    Mapping,
    NatBehaviour,
    PayloadRewriting,
    Pooling,
    PortAllocation,
    PortSharing,
    Refresh,
    StrayInput,
    StraySyn,
    Translation,
)
from tests.simulation.oracle import (
    NatClass,
    Outcome,
    Reach,
    best_outcome,
    combine,
    direct_path_possible,
    nat_class,
    reach,
)
from tests.simulation.realm import Fate, Realm
from tests.simulation.router import NatRouter
from tests.simulation.tcp import SimulatedConnection, SimulatedTcp
from tests.simulation.world import World

__all__ = [
    "Driven",
    "Fate",
    "Filtering",
    "Hairpin",
    "Host",
    "Link",
    "LinkProfile",
    "Mapping",
    "Nat",
    "NatBehaviour",
    "NatClass",
    "NatMapping",
    "NatRouter",
    "Outcome",
    "Packet",
    "PayloadRewriting",
    "Pooling",
    "PortAllocation",
    "PortSharing",
    "Reach",
    "Realm",
    "Refresh",
    "Segment",
    "SimulatedConnection",
    "SimulatedNetwork",
    "SimulatedSocket",
    "SimulatedTcp",
    "Stalled",
    "StrayInput",
    "StraySyn",
    "Translation",
    "VirtualTimeLoop",
    "World",
    "best_outcome",
    "combine",
    "direct_path_possible",
    "nat_class",
    "reach",
    "run_virtual",
    "virtual_time",
]
