"""The Port Control Protocol's ANNOUNCE, which finds a server without asking anything of it (RFC 6887 section 14.1)."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from stun.errors import StunParseError

__all__ = ["MAX_PACKET", "PORT", "VERSION", "PcpResponse", "PcpResult", "announce_request", "parse_response"]

PORT = 5351
"""Where PCP and NAT-PMP servers listen (section 19.1)."""
VERSION = 2
MAX_PACKET = 1100
"""Bytes (section 7)."""
_ANNOUNCE = 0
_HEADER_LENGTH = 24


class PcpResult(enum.IntEnum):
    """Result codes (section 7.4)."""

    SUCCESS = 0
    UNSUPP_VERSION = 1
    NOT_AUTHORIZED = 2
    MALFORMED_REQUEST = 3
    UNSUPP_OPCODE = 4
    UNSUPP_OPTION = 5
    MALFORMED_OPTION = 6
    NETWORK_FAILURE = 7
    NO_RESOURCES = 8
    UNSUPP_PROTOCOL = 9
    USER_EX_QUOTA = 10
    CANNOT_PROVIDE_EXTERNAL = 11
    ADDRESS_MISMATCH = 12
    EXCESSIVE_REMOTE_PEERS = 13


@dataclass(frozen=True, slots=True)
class PcpResponse:
    """What every response says (section 7.2)."""

    version: int
    """Of the server; with UNSUPP_VERSION the highest that it knows."""
    opcode: int
    result: int
    """A :class:`PcpResult`, or a code that we do not know."""
    lifetime: int
    """Seconds; of an error, for how long not to ask again."""
    epoch: int
    """Seconds since the server lost its state (section 8.5)."""


def announce_request(client: str) -> bytes:
    """Return an ANNOUNCE request from our address ``client``, which has to be the packet's source (section 8.1)."""
    return bytes((VERSION, _ANNOUNCE, 0, 0)) + bytes(4) + _as_ipv6(client)


def parse_response(data: bytes) -> PcpResponse:
    """Read the header of a response.

    Raises:
        StunParseError: it is none.
    """
    if len(data) < _HEADER_LENGTH or len(data) > MAX_PACKET or len(data) % 4:
        raise StunParseError(f"a PCP response of {len(data)} bytes")
    if data[0] < VERSION or not data[1] & 0x80:
        raise StunParseError("no PCP response")
    lifetime, epoch = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    return PcpResponse(data[0], data[1] & 0x7F, data[3], lifetime, epoch)


def _as_ipv6(host: str) -> bytes:
    address = ipaddress.ip_address(host)
    # Section 5: IPv4 addresses are written IPv4-mapped.
    return address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
