"""Asking the home router for its port-mapping services: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD.

The probe is looked up when it is first used; the settings of every session are in this package, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ice.portmap.protocol import PortMapperProtocol
from stun.late import late_names

if TYPE_CHECKING:
    from ice.portmap.probe import PortMapper, ProbeConfig

__all__ = ["PortMapper", "PortMapperProtocol", "ProbeConfig"]

__getattr__, __dir__ = late_names(__name__, {"PortMapper": ".probe", "ProbeConfig": ".probe"})
