"""The settings of port mapping: asking the home router to let peers in (RFC 6886, RFC 6887, UPnP IGD)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from ice.portmap.protocol import PortMapperProtocol

__all__ = ["PortmapConfig"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PortmapConfig:
    """Whether and how ports are mapped. Times are in seconds."""

    enabled: bool = False
    """Whether the router is asked at all. Off by default: it opens ports to the whole internet on a device that is
    not the application's, which is its user's to decide, and it tells the local network that the application runs."""
    protocols: Sequence[PortMapperProtocol] = tuple(PortMapperProtocol)
    """What is spoken, the first choice first. UPnP needs the package async-upnp-client (``lastresort[upnp]``)."""
    gateway: str | None = None
    """The router's IPv4 address; None for the one that the default route leads to."""
    gateway_ipv6: str | None = None
    """The router's IPv6 address, with its zone if it is link-local (``fe80::1%eth0``); None as for ``gateway``. It is
    asked to let peers in through its firewall at our own address and port (RFC 6887 section 11), in PCP alone."""
    lifetime: int = 7200
    """How long a mapping is asked for, in whole seconds (RFC 6886 section 3.3); it is renewed from half of that on."""
    max_lifetime: int = 86400
    """The longest that is believed of what a gateway grants (RFC 6887 section 15)."""
    head_start: float = 0.4
    """How long each protocol is waited for before the next one is tried as well."""
    patience: float = 1.0
    """How long gathering waits for the router, at most; a mapping that comes later is still made and used."""
    nat_pmp_sends: int = 9
    """How often a NAT-PMP request is sent, 250 ms apart at first and doubling (RFC 6886 section 3.1)."""
    pcp_sends: int = 7
    """How often a PCP request is sent, 3 s apart at first and doubling. RFC 6887 section 8.1.1 goes on for ever; most
    routers have no PCP."""
    max_mappings: int = 32
    """The most ports that one session has mapped."""
    close_timeout: float = 1.0
    """How long the end of a session waits for the router to confirm that the mappings are gone."""
    description: str = "lastresort"
    """What a router's list of UPnP mappings says."""

    def __post_init__(self) -> None:
        if self.gateway is not None:
            ipaddress.IPv4Address(self.gateway)
        if self.gateway_ipv6 is not None:
            ipaddress.IPv6Address(self.gateway_ipv6)
        if not 120 <= self.lifetime < 86400 or self.max_lifetime < self.lifetime:
            raise ValueError("lifetime is 120..86399 s (RFC 6887 section 15), max_lifetime not less than it")
        if min(self.nat_pmp_sends, self.pcp_sends, self.max_mappings) < 1:
            raise ValueError("nat_pmp_sends, pcp_sends and max_mappings must be positive")
        if min(self.head_start, self.patience, self.close_timeout) < 0:
            raise ValueError("times must not be negative")
