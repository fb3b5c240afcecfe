"""The protocols in which a router is asked; apart, because the settings name them and few sessions speak them."""

from __future__ import annotations

import enum

__all__ = ["PortMapperProtocol"]


class PortMapperProtocol(enum.Enum):
    """How mappings are asked for."""

    PCP = "PCP"
    NAT_PMP = "NAT-PMP"
    UPNP_IGD = "UPnP IGD"
