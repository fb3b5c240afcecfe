"""How a NAT behaves, in the terms of RFC 4787: every behaviour is a switch of its own, the forbidden settings too."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "Filtering",
    "Hairpin",
    "Mapping",
    "NatBehaviour",
    "PayloadRewriting",
    "Pooling",
    "PortAllocation",
    "PortSharing",
    "Refresh",
    "StrayInput",
    "StraySyn",
    "Translation",
]


class Mapping(enum.IntEnum):
    """When two sessions of one inner endpoint share an outer endpoint (RFC 4787 section 4.1); larger is worse."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2


class Filtering(enum.IntEnum):
    """Whose packets may come in through a mapping (RFC 4787 section 5); larger is stricter."""

    ENDPOINT_INDEPENDENT = 0
    ADDRESS_DEPENDENT = 1
    ADDRESS_AND_PORT_DEPENDENT = 2


class PortAllocation(enum.Enum):
    """Which outer port a new mapping gets (RFC 4787 section 4.2)."""

    PRESERVE = "the inner port when it is free, else a random one"
    SEQUENTIAL = "the next free one"
    RANDOM = "any free one"


class PortSharing(enum.Enum):
    """Whether two mappings may have one outer port (RFC 4787 REQ-3)."""

    NEVER = "an outer port belongs to one mapping"
    BY_REMOTE = "mappings with different remote endpoints may share an outer port, as Linux conntrack does"


class Pooling(enum.Enum):
    """Which of several outer addresses an inner host gets (RFC 4787 REQ-2)."""

    PAIRED = "always the same one"
    ARBITRARY = "any one per mapping"


class Hairpin(enum.Enum):
    """What becomes of a packet from inside to an outer endpoint of the same NAT (RFC 4787 REQ-9)."""

    NONE = "dropped"
    EXTERNAL_SOURCE = "delivered, and comes from the sender's outer endpoint"
    INTERNAL_SOURCE = "delivered, and comes from the sender's inner endpoint"


class Refresh(enum.Enum):
    """Which direction keeps a mapping alive (RFC 4787 REQ-6)."""

    OUTBOUND = "packets from inside"
    BOTH = "packets from inside and admitted packets from outside"
    INBOUND = "admitted packets from outside only"


class PayloadRewriting(enum.Enum):
    """Whether an application layer gateway edits addresses inside payloads (RFC 4787 REQ-10)."""

    NONE = "payloads are left alone"
    ADDRESSES = "the inner endpoint in a payload becomes the outer one, and back"


class StrayInput(enum.Enum):
    """What an unexpected packet from outside leaves behind in the NAT."""

    NOTHING = "no state"
    OWN_SESSION = "a session of the router itself, which then blocks that port towards that remote endpoint"


class StraySyn(enum.Enum):
    """How a NAT meets a SYN from outside that it does not let in (RFC 5382 REQ-4)."""

    DROP = "silently"
    RESET = "with an RST, which the RFC forbids in the first 6 seconds"


class Translation(enum.Enum):
    """Whether addresses change at all."""

    ADDRESS_AND_PORT = "both (a NAT)"
    NOTHING = "neither: a stateful firewall, as in front of IPv6 hosts"


@dataclass(frozen=True, kw_only=True, slots=True)
class NatBehaviour:
    """The switches of one NAT. The default is the NAT that RFC 4787 asks for, with its stricter filtering."""

    mapping: Mapping = Mapping.ENDPOINT_INDEPENDENT
    """REQ-1 asks for endpoint-independent."""
    filtering: Filtering = Filtering.ADDRESS_DEPENDENT
    """REQ-8 asks for endpoint-independent or address-dependent."""
    allocation: PortAllocation = PortAllocation.PRESERVE
    """Which port a new mapping gets."""
    sharing: PortSharing = PortSharing.NEVER
    """REQ-3 forbids sharing."""
    pooling: Pooling = Pooling.PAIRED
    """REQ-2 asks for paired."""
    hairpin: Hairpin = Hairpin.EXTERNAL_SOURCE
    """REQ-9 asks for hairpinning with the external source."""
    refresh: Refresh = Refresh.OUTBOUND
    """REQ-6 asks for outbound; inbound is optional."""
    lifetime: float = 120.0
    """Seconds for which an idle mapping lives; REQ-5 asks for at least 120."""
    rewriting: PayloadRewriting = PayloadRewriting.NONE
    """REQ-10 asks for none."""
    stray_input: StrayInput = StrayInput.NOTHING
    """Linux with an accepting INPUT chain makes a session of its own."""
    translation: Translation = Translation.ADDRESS_AND_PORT
    """A firewall changes no address."""
    udp_blocked: bool = False
    """Whether UDP does not pass at all."""
    tcp_blocked: bool = False
    """Whether TCP does not pass at all."""
    stray_syn: StraySyn = StraySyn.DROP
    """How a SYN is met that nobody inside has asked for (RFC 5382 REQ-4)."""
    reset_ends_session: bool = False
    """Whether an RST from outside makes the NAT forget that it let the sender in (RFC 5382 section 5)."""
    tcp_lifetime: float = 7440.0
    """Seconds for which an idle TCP mapping lives; RFC 5382 REQ-5 asks for at least 2 hours and 4 minutes."""
    max_mappings: int = 65_536
    """Mappings that fit; the oldest makes room."""

    @classmethod
    def full_cone(cls) -> NatBehaviour:
        """EIM/EIF: who knows the outer endpoint gets in."""
        return cls(filtering=Filtering.ENDPOINT_INDEPENDENT)

    @classmethod
    def restricted_cone(cls) -> NatBehaviour:
        """EIM/ADF."""
        return cls(filtering=Filtering.ADDRESS_DEPENDENT)

    @classmethod
    def port_restricted_cone(cls) -> NatBehaviour:
        """EIM/APDF: the common home router."""
        return cls(filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)

    @classmethod
    def address_dependent(cls) -> NatBehaviour:
        """ADM/APDF with random ports."""
        return cls(
            mapping=Mapping.ADDRESS_DEPENDENT,
            filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
            allocation=PortAllocation.RANDOM,
        )

    @classmethod
    def symmetric(cls, allocation: PortAllocation = PortAllocation.RANDOM) -> NatBehaviour:
        """APDM/APDF: a new outer port per remote endpoint."""
        return cls(
            mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
            filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
            allocation=allocation,
        )

    @classmethod
    def linux_masquerade(cls, stray_input: StrayInput = StrayInput.NOTHING) -> NatBehaviour:
        """Linux ``masquerade``: per-session state that keeps the port, so it looks like EIM/APDF; no hairpin."""
        return cls(
            mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
            filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
            allocation=PortAllocation.PRESERVE,
            sharing=PortSharing.BY_REMOTE,
            hairpin=Hairpin.NONE,
            refresh=Refresh.BOTH,
            stray_input=stray_input,
        )

    @classmethod
    def linux_masquerade_random(cls) -> NatBehaviour:
        """Linux ``masquerade random,fully-random``: APDM/APDF."""
        return cls(
            mapping=Mapping.ADDRESS_AND_PORT_DEPENDENT,
            filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT,
            allocation=PortAllocation.RANDOM,
            hairpin=Hairpin.NONE,
            refresh=Refresh.BOTH,
        )

    @classmethod
    def carrier_grade(cls) -> NatBehaviour:
        """A carrier NAT as RFC 6888 asks for: EIM/EIF, random ports, hairpin."""
        return cls(filtering=Filtering.ENDPOINT_INDEPENDENT, allocation=PortAllocation.RANDOM)

    @classmethod
    def firewall(cls) -> NatBehaviour:
        """A stateful firewall without translation: what IPv6 hosts stand behind."""
        return cls(filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT, translation=Translation.NOTHING)

    @classmethod
    def blocks_udp(cls) -> NatBehaviour:
        """A firewall that lets no UDP pass."""
        return cls(translation=Translation.NOTHING, udp_blocked=True)
