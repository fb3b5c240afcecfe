"""Asking the home router for its port-mapping services: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD."""

from __future__ import annotations

from ice.portmap.probe import PortMapper, PortMapperProtocol, ProbeConfig

__all__ = ["PortMapper", "PortMapperProtocol", "ProbeConfig"]
