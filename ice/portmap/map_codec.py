"""The requests that map a port and their answers: PCP's MAP (RFC 6887 section 11), NAT-PMP's (RFC 6886 section 3.3)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from ice.candidate import Base
from ice.portmap import pcp
from stun.address import TransportAddress, TransportProtocol
from stun.errors import StunParseError

__all__ = [
    "NONCE_LENGTH",
    "NatPmpMapping",
    "PcpMapping",
    "nat_pmp_map_request",
    "parse_nat_pmp_mapping",
    "parse_pcp_mapping",
    "pcp_map_request",
]

NONCE_LENGTH = 12
"""Bytes: what only we and the gateway know of a mapping (RFC 6887 section 11.2)."""

_MAP = 1
_MAP_LENGTH = 60
_NUMBERS = {TransportProtocol.UDP: 17, TransportProtocol.TCP: 6}
_OPCODES = {TransportProtocol.UDP: 1, TransportProtocol.TCP: 2}


@dataclass(frozen=True, slots=True)
class PcpMapping:
    """An answer to a MAP request."""

    result: int
    """A :class:`~ice.portmap.pcp.PcpResult`, or a code that we do not know."""
    lifetime: int
    """Seconds: of the mapping, or for how long not to ask again."""
    epoch: int
    """Seconds since the gateway lost its state (section 8.5)."""
    nonce: bytes
    protocol: TransportProtocol
    internal_port: int
    external: TransportAddress


def pcp_map_request(
    client: str, base: Base, nonce: bytes, lifetime: int, suggested: TransportAddress | None = None
) -> bytes:
    """Return a MAP request for ``base``; a ``lifetime`` of 0 deletes the mapping (section 15).

    Args:
        client: the address that the request is sent from (section 8.1).
        base: what is to be reached.
        nonce: the same as long as the mapping is to be ours.
        lifetime: seconds.
        suggested: what was assigned before, to have it again.
    """
    if suggested is None or not lifetime:
        suggested = TransportAddress("::" if base.address.family == 6 else "0.0.0.0", 0)
    header = bytes((pcp.VERSION, _MAP, 0, 0)) + lifetime.to_bytes(4, "big") + _as_ipv6(client)
    ports = base.address.port.to_bytes(2, "big") + suggested.port.to_bytes(2, "big")
    return header + nonce + bytes((_NUMBERS[base.protocol], 0, 0, 0)) + ports + _as_ipv6(suggested.host)


def parse_pcp_mapping(data: bytes) -> PcpMapping:
    """Read an answer to a MAP request, of success or failure.

    Raises:
        StunParseError: it is none.
    """
    header = pcp.parse_response(data)
    if header.version != pcp.VERSION or header.opcode != _MAP or len(data) < _MAP_LENGTH:
        raise StunParseError("no answer to MAP")
    protocol = next((name for name, number in _NUMBERS.items() if number == data[36]), None)
    if protocol is None:
        raise StunParseError(f"a mapping of protocol {data[36]}")
    return PcpMapping(
        header.result,
        header.lifetime,
        header.epoch,
        data[24:36],
        protocol,
        int.from_bytes(data[40:42], "big"),
        TransportAddress(_as_host(data[44:60]), int.from_bytes(data[42:44], "big")),
    )


@dataclass(frozen=True, slots=True)
class NatPmpMapping:
    """An answer to a NAT-PMP mapping request; without the outer address, which has a request of its own."""

    result: int
    """A :class:`~ice.portmap.nat_pmp.NatPmpResult`, or a code that we do not know."""
    epoch: int
    """Seconds since the gateway lost its state (section 3.6)."""
    protocol: TransportProtocol
    internal_port: int
    external_port: int
    lifetime: int


def nat_pmp_map_request(base: Base, lifetime: int, suggested: int = 0) -> bytes:
    """Return a request to map ``base``; a ``lifetime`` of 0 deletes the mapping (section 3.4)."""
    ports = base.address.port.to_bytes(2, "big") + (suggested if lifetime else 0).to_bytes(2, "big")
    return bytes((0, _OPCODES[base.protocol], 0, 0)) + ports + lifetime.to_bytes(4, "big")


def parse_nat_pmp_mapping(data: bytes) -> NatPmpMapping:
    """Read an answer to a mapping request.

    Raises:
        StunParseError: it is none.
    """
    if len(data) != 16 or data[0] != 0:
        raise StunParseError("no answer to a NAT-PMP mapping request")
    protocol = next((name for name, opcode in _OPCODES.items() if opcode | 0x80 == data[1]), None)
    if protocol is None:
        raise StunParseError("no answer to a NAT-PMP mapping request")
    numbers = [int.from_bytes(data[start:end], "big") for start, end in ((2, 4), (4, 8), (8, 10), (10, 12), (12, 16))]
    result, epoch, internal, external, lifetime = numbers
    return NatPmpMapping(result, epoch, protocol, internal, external, lifetime)


def _as_ipv6(host: str) -> bytes:
    address = ipaddress.ip_address(host)
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed


def _as_host(data: bytes) -> str:
    address = ipaddress.IPv6Address(data)
    return str(address.ipv4_mapped or address)
