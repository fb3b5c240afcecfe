"""What gateways answer: which errors pass, and which mappings can be believed."""

from __future__ import annotations

import enum

from ice.candidate import Base
from ice.portmap.nat_pmp import NatPmpResult
from ice.portmap.pcp import PcpResult
from ice.portmap.protocol import PortMapperProtocol
from stun.address import TransportAddress

__all__ = ["LONG_ERROR", "error_wait", "is_believable", "name_of"]

SHORT_ERROR, LONG_ERROR = 30.0, 1800.0
"""Seconds for which not to ask again, where the gateway says none (RFC 6887 section 7.4)."""

_CODES: dict[PortMapperProtocol, type[enum.IntEnum]] = {
    PortMapperProtocol.PCP: PcpResult,
    PortMapperProtocol.NAT_PMP: NatPmpResult,
}
_PASSING: dict[PortMapperProtocol, set[int]] = {
    PortMapperProtocol.PCP: {PcpResult.NETWORK_FAILURE, PcpResult.NO_RESOURCES, PcpResult.USER_EX_QUOTA},
    PortMapperProtocol.NAT_PMP: {NatPmpResult.NETWORK_FAILURE, NatPmpResult.OUT_OF_RESOURCES},
}


def name_of(dialect: PortMapperProtocol, result: int) -> str:
    """Return a result code in words."""
    codes = _CODES[dialect]
    known = result in list(codes)
    return codes(result).name.replace("_", " ").lower() if known else f"result {result}"


def error_wait(dialect: PortMapperProtocol, result: int, lifetime: int) -> float:
    """Return for how many seconds a refused request is not to be repeated (RFC 6887 sections 7.2 and 7.4)."""
    if dialect is PortMapperProtocol.PCP and lifetime:
        return min(max(float(lifetime), SHORT_ERROR), LONG_ERROR)
    return SHORT_ERROR if result in _PASSING[dialect] else LONG_ERROR


def is_believable(external: TransportAddress, base: Base) -> bool:
    """Whether a peer could send there at all; whether it arrives is found out by the checks."""
    ip = external.ip
    impossible = ip.is_unspecified or ip.is_multicast or ip.is_loopback or ip.is_link_local
    return not impossible and external.port != 0 and external.family == base.address.family
