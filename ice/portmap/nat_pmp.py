"""The NAT Port Mapping Protocol's question for the outer address (RFC 6886 section 3.2)."""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass

from stun.errors import StunParseError

__all__ = ["ADDRESS_REQUEST", "AddressResponse", "NatPmpResult", "parse_response"]

ADDRESS_REQUEST = b"\0\0"
"""Version 0, opcode 0."""


class NatPmpResult(enum.IntEnum):
    """Result codes (section 3.5)."""

    SUCCESS = 0
    UNSUPPORTED_VERSION = 1
    NOT_AUTHORIZED = 2
    NETWORK_FAILURE = 3
    OUT_OF_RESOURCES = 4
    UNSUPPORTED_OPCODE = 5


@dataclass(frozen=True, slots=True)
class AddressResponse:
    """What a gateway answers."""

    result: int
    """A :class:`NatPmpResult`, or a code that we do not know."""
    epoch: int
    """Seconds since the gateway lost its state (section 3.6)."""
    external: str | None
    """Its outer IPv4 address; None when it has none, or with another result."""


def parse_response(data: bytes) -> AddressResponse:
    """Read a response to :data:`ADDRESS_REQUEST`.

    Raises:
        StunParseError: it is none.
    """
    if not 8 <= len(data) <= 16 or data[0] != 0 or data[1] != 0x80:
        raise StunParseError("no NAT-PMP response")
    result, epoch = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
    if result:
        return AddressResponse(result, epoch, None)
    if len(data) != 12:
        raise StunParseError(f"a NAT-PMP address response of {len(data)} bytes")
    external = ipaddress.IPv4Address(data[8:12])
    return AddressResponse(result, epoch, None if external.is_unspecified else str(external))
