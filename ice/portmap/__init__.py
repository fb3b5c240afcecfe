"""Asking the home router for its port-mapping services: PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP IGD.

The probe is looked up when it is first used; the settings of every session are in this package, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ice.portmap.protocol import PortMapperProtocol

if TYPE_CHECKING:
    from ice.portmap.probe import PortMapper, ProbeConfig

__all__ = ["PortMapper", "PortMapperProtocol", "ProbeConfig"]

_HOMES = {"PortMapper": "probe", "ProbeConfig": "probe"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
