"""What a port mapper tells its owner, and what it wants of its driver besides datagrams."""

from __future__ import annotations

from dataclasses import dataclass

from ice.candidate import Base
from ice.portmap.protocol import PortMapperProtocol
from stun.address import TransportAddress

__all__ = ["MapperEvent", "PortMapped", "PortMappingFailed", "PortUnmapped", "UpnpMap", "UpnpUnmap"]


@dataclass(frozen=True, slots=True)
class PortMapped:
    """Event: what is sent to ``external`` arrives at ``base``."""

    base: Base
    external: TransportAddress
    gateway: str
    protocol: PortMapperProtocol


@dataclass(frozen=True, slots=True)
class PortUnmapped:
    """Event: that is so no longer."""

    base: Base
    external: TransportAddress
    reason: str
    """Why, for people."""


@dataclass(frozen=True, slots=True)
class PortMappingFailed:
    """Event: the gateway does not map ``base``, for now or for ever."""

    base: Base
    reason: str
    """Why, for people."""


MapperEvent = PortMapped | PortUnmapped | PortMappingFailed


@dataclass(frozen=True, slots=True)
class UpnpMap:
    """Effect: map ``base`` by UPnP IGD; ``upnp_mapped`` or ``upnp_failed`` answers."""

    base: Base
    suggested: int
    """The outer port to ask for first."""
    lifetime: int
    """Seconds."""


@dataclass(frozen=True, slots=True)
class UpnpUnmap:
    """Effect: delete the mapping of ``base``; ``upnp_unmapped`` answers."""

    base: Base
    external_port: int
