"""The value codecs that STUN attributes are made of: numbers, text, addresses, error codes and the rest of section 14.

A decoder takes the value's bytes without padding and the 12-byte transaction id, and returns the typed value, or None
where the RFC has a receiver ignore the attribute. It raises :class:`~stun.errors.StunParseError` and nothing else. An
encoder takes the value and the transaction id and raises ``ValueError`` or ``struct.error`` for a value that cannot be
sent (the message makes one ``ValueError`` of both).
"""

from __future__ import annotations

import enum
import ipaddress
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct
from typing import Final

from stun.address import TransportAddress
from stun.errors import StunParseError

__all__ = [
    "COOKIE",
    "AddressErrorCode",
    "AddressFamily",
    "ChangeRequest",
    "ErrorCode",
    "Icmp",
    "PasswordAlgorithm",
    "PasswordAlgorithmChoice",
]

COOKIE: Final = bytes.fromhex("2112a442")
"""The magic cookie of RFC 8489 section 5."""

_COOKIE_NUMBER: Final = int.from_bytes(COOKIE, "big")
_COOKIE_PORT: Final = _COOKIE_NUMBER >> 16
_IPV4: Final = Struct("!BBHI")
_IPV6: Final = Struct("!BBH16s")
_U16: Final = Struct("!H")
_U32: Final = Struct("!I")
_U64: Final = Struct("!Q")


class AddressFamily(enum.IntEnum):
    """The address families of RFC 8489 section 14.1."""

    IPV4 = 0x01
    IPV6 = 0x02


_ADDRESS_FAMILY_IPV4: Final = AddressFamily.IPV4


class PasswordAlgorithm(enum.IntEnum):
    """The hash that makes a long-term key out of a password (RFC 8489 section 18.5)."""

    MD5 = 0x0001
    SHA256 = 0x0002


@dataclass(frozen=True, slots=True)
class PasswordAlgorithmChoice:
    """One entry of PASSWORD-ALGORITHMS (RFC 8489 section 14.11); ``algorithm`` may be one that we do not know."""

    algorithm: int
    parameters: bytes = b""


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """The ERROR-CODE of an error response (RFC 8489 section 14.8)."""

    code: int
    """300..699."""
    reason: str = ""
    """Fewer than 128 characters, for people."""

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".rstrip()


@dataclass(frozen=True, slots=True)
class AddressErrorCode:
    """Why one address family of a dual allocation failed (RFC 8656 section 18.12)."""

    family: int
    code: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Icmp:
    """An ICMP error that reached a relayed address (RFC 8656 section 18.13)."""

    type: int
    """0..127."""
    code: int
    """0..511."""
    data: bytes = bytes(4)
    """Four bytes: the MTU for "too big" messages, else zero."""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """Which part of its source address a server shall change in its reply (RFC 5780 section 7.2)."""

    address: bool = False
    port: bool = False


# -- numbers and flags ------------------------------------------------------------------------------------------------


def decode_u8(data: bytes, transaction_id: bytes) -> int:
    """One byte; the padding that some senders count into the length is tolerated."""
    if len(data) not in (1, 4):
        raise StunParseError(f"expected 1 byte, got {len(data)}")
    return data[0]


def decode_u8_of_4(data: bytes, transaction_id: bytes) -> int:
    """One byte followed by three reserved ones, which are ignored."""
    if len(data) != 4:
        raise StunParseError(f"expected 4 bytes, got {len(data)}")
    return data[0]


def encode_u8_of_4(value: int, transaction_id: bytes) -> bytes:
    """One byte followed by three zero ones."""
    return _checked(value, 0xFF).to_bytes(1, "big") + bytes(3)


def decode_u16_of_4(data: bytes, transaction_id: bytes) -> int:
    """Two bytes followed by two reserved ones, which are ignored."""
    if len(data) != 4:
        raise StunParseError(f"expected 4 bytes, got {len(data)}")
    return data[0] << 8 | data[1]


def encode_u16_of_4(value: int, transaction_id: bytes) -> bytes:
    """Two bytes followed by two zero ones."""
    return _checked(value, 0xFFFF).to_bytes(2, "big") + bytes(2)


def decode_u32(data: bytes, transaction_id: bytes) -> int:
    """Four bytes."""
    if len(data) != 4:
        raise StunParseError(f"expected 4 bytes, got {len(data)}")
    return int.from_bytes(data, "big")


def encode_u32(value: int, transaction_id: bytes) -> bytes:
    """Four bytes."""
    return _U32.pack(value)


def decode_u64(data: bytes, transaction_id: bytes) -> int:
    """Eight bytes."""
    if len(data) != 8:
        raise StunParseError(f"expected 8 bytes, got {len(data)}")
    return int.from_bytes(data, "big")


def encode_u64(value: int, transaction_id: bytes) -> bytes:
    """Eight bytes."""
    return _U64.pack(value)


def decode_flag(data: bytes, transaction_id: bytes) -> bool:
    """Present or not; a value is ignored."""
    return True


def encode_flag(value: bool, transaction_id: bytes) -> bytes:
    """Nothing; ``value`` is True, an absent flag is not added at all."""
    if value is not True:
        raise ValueError("a flag attribute is present or not there at all")
    return b""


def decode_even_port(data: bytes, transaction_id: bytes) -> bool:
    """The R bit of EVEN-PORT (RFC 8656 section 18.6): whether the next port is to be reserved too."""
    return bool(decode_u8(data, transaction_id) & 0x80)


def encode_even_port(value: bool, transaction_id: bytes) -> bytes:
    """The R bit."""
    return b"\x80" if value else b"\0"


def _checked(value: int, maximum: int) -> int:
    if not 0 <= value <= maximum:
        raise ValueError(f"{value} is not in 0..{maximum}")
    return value


# -- addresses --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _ipv4_text(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


@lru_cache(maxsize=4096)
def _ipv6_text(number: int) -> str:
    return str(ipaddress.IPv6Address(number))


@lru_cache(maxsize=4096)
def _number(host: str) -> int:
    return int(ipaddress.ip_address(host))


def decode_address(data: bytes, transaction_id: bytes) -> TransportAddress | None:
    """A plain address (section 14.1); the first byte is ignored, an unknown family makes the attribute ignored."""
    return _decode_address(data, 0, 0, 0)


def encode_address(value: tuple[str, int], transaction_id: bytes) -> bytes:
    """A plain address."""
    return _encode_address(value, 0, 0, 0)


def decode_xor_address(data: bytes, transaction_id: bytes) -> TransportAddress | None:
    """An address hidden from meddling NATs by XOR with the cookie and the transaction id (section 14.2)."""
    if len(data) == 8:
        return _decode_address(data, _COOKIE_PORT, _COOKIE_NUMBER, 0)
    return _decode_address(data, _COOKIE_PORT, 0, int.from_bytes(COOKIE + transaction_id[-12:], "big"))


def encode_xor_address(value: tuple[str, int], transaction_id: bytes) -> bytes:
    """An address under XOR."""
    if ":" not in value[0]:
        return _encode_address(value, _COOKIE_PORT, _COOKIE_NUMBER, 0)
    return _encode_address(value, _COOKIE_PORT, 0, int.from_bytes(COOKIE + transaction_id[-12:], "big"))


def _decode_address(data: bytes, port_mask: int, ipv4_mask: int, ipv6_mask: int) -> TransportAddress | None:
    if len(data) < 4:
        raise StunParseError(f"an address of {len(data)} bytes")
    family = data[1]
    if family == _ADDRESS_FAMILY_IPV4:
        if len(data) != 8:
            raise StunParseError(f"an IPv4 address of {len(data)} bytes")
        _, _, port, number = _IPV4.unpack(data)
        return TransportAddress(_ipv4_text(number ^ ipv4_mask), port ^ port_mask)
    if family == AddressFamily.IPV6:
        if len(data) != 20:
            raise StunParseError(f"an IPv6 address of {len(data)} bytes")
        _, _, port, packed = _IPV6.unpack(data)
        return TransportAddress(_ipv6_text(int.from_bytes(packed, "big") ^ ipv6_mask), port ^ port_mask)
    return None


def _encode_address(value: tuple[str, int], port_mask: int, ipv4_mask: int, ipv6_mask: int) -> bytes:
    host, port = value
    port = _checked(port, 0xFFFF) ^ port_mask
    number = _number(host)
    if ":" not in host:
        return _IPV4.pack(0, _ADDRESS_FAMILY_IPV4, port, number ^ ipv4_mask)
    return _IPV6.pack(0, AddressFamily.IPV6, port, (number ^ ipv6_mask).to_bytes(16, "big"))


# -- error codes ------------------------------------------------------------------------------------------------------


def _split_error(data: bytes) -> tuple[int, str]:
    if len(data) < 4 or len(data) > 4 + 763:
        raise StunParseError(f"an error code of {len(data)} bytes")
    hundreds, number = data[2] & 0x07, data[3]
    if not 3 <= hundreds <= 6 or number > 99:
        raise StunParseError(f"error class {hundreds} and number {number}")
    # The phrase is for people, so a damaged one must not cost us the code.
    return hundreds * 100 + number, data[4:].decode("utf-8", "replace")


def _join_error(first: int, code: int, reason: str) -> bytes:
    if not 300 <= code <= 699:
        raise ValueError(f"error code {code} is not in 300..699")
    phrase = reason.encode()
    if len(reason) >= 128 or len(phrase) > 509:
        raise ValueError("the reason phrase has 128 characters or more")
    return bytes((first, 0, code // 100, code % 100)) + phrase


def decode_error_code(data: bytes, transaction_id: bytes) -> ErrorCode:
    """Class 3..6, number 0..99; reserved bits are ignored."""
    return ErrorCode(*_split_error(data))


def encode_error_code(value: ErrorCode, transaction_id: bytes) -> bytes:
    """Class and number and phrase."""
    return _join_error(0, value.code, value.reason)


def decode_address_error_code(data: bytes, transaction_id: bytes) -> AddressErrorCode:
    """As ERROR-CODE, with the family in the first byte."""
    code, reason = _split_error(data)
    return AddressErrorCode(data[0], code, reason)


def encode_address_error_code(value: AddressErrorCode, transaction_id: bytes) -> bytes:
    """As ERROR-CODE, with the family in the first byte."""
    return _join_error(_checked(value.family, 0xFF), value.code, value.reason)


# -- lists and structures ---------------------------------------------------------------------------------------------


def decode_codes(data: bytes, transaction_id: bytes) -> tuple[int, ...]:
    """A list of 16-bit attribute codes (UNKNOWN-ATTRIBUTES, section 14.9)."""
    if len(data) % 2:
        raise StunParseError(f"a list of 16-bit codes in {len(data)} bytes")
    return tuple(code for (code,) in _U16.iter_unpack(data))


def encode_codes(value: tuple[int, ...], transaction_id: bytes) -> bytes:
    """A list of 16-bit attribute codes."""
    return b"".join(_U16.pack(_checked(code, 0xFFFF)) for code in value)


def decode_algorithms(data: bytes, transaction_id: bytes) -> tuple[PasswordAlgorithmChoice, ...]:
    """The entries of PASSWORD-ALGORITHMS, each padded to four bytes."""
    choices: list[PasswordAlgorithmChoice] = []
    position = 0
    while position < len(data):
        if position + 4 > len(data):
            raise StunParseError("a truncated password algorithm")
        algorithm = int.from_bytes(data[position : position + 2], "big")
        end = position + 4 + int.from_bytes(data[position + 2 : position + 4], "big")
        if end > len(data):
            raise StunParseError("truncated password algorithm parameters")
        choices.append(PasswordAlgorithmChoice(algorithm, data[position + 4 : end]))
        position = end + (-end % 4)
    return tuple(choices)


def encode_algorithms(value: tuple[PasswordAlgorithmChoice, ...], transaction_id: bytes) -> bytes:
    """The entries of PASSWORD-ALGORITHMS; inner ones are padded."""
    out = b""
    for choice in value:
        out += bytes(-len(out) % 4) + encode_algorithm(choice, transaction_id)
    return out


def decode_algorithm(data: bytes, transaction_id: bytes) -> PasswordAlgorithmChoice:
    """The one entry of PASSWORD-ALGORITHM."""
    choices = decode_algorithms(data, transaction_id)
    if len(choices) != 1:
        raise StunParseError(f"{len(choices)} password algorithms instead of one")
    return choices[0]


def encode_algorithm(value: PasswordAlgorithmChoice, transaction_id: bytes) -> bytes:
    """The one entry of PASSWORD-ALGORITHM, without trailing padding."""
    return _U16.pack(_checked(value.algorithm, 0xFFFF)) + _U16.pack(len(value.parameters)) + value.parameters


def decode_icmp(data: bytes, transaction_id: bytes) -> Icmp:
    """Seven bits of type and nine of code."""
    if len(data) != 8:
        raise StunParseError(f"expected 8 bytes, got {len(data)}")
    both = data[2] << 8 | data[3]
    return Icmp(both >> 9, both & 0x1FF, data[4:])


def encode_icmp(value: Icmp, transaction_id: bytes) -> bytes:
    """Seven bits of type and nine of code."""
    if len(value.data) != 4:
        raise ValueError("ICMP error data is four bytes")
    return bytes(2) + _U16.pack(_checked(value.type, 0x7F) << 9 | _checked(value.code, 0x1FF)) + value.data


def decode_change_request(data: bytes, transaction_id: bytes) -> ChangeRequest:
    """Bit 2 is the address, bit 1 the port."""
    flags = decode_u32(data, transaction_id)
    return ChangeRequest(bool(flags & 4), bool(flags & 2))


def encode_change_request(value: ChangeRequest, transaction_id: bytes) -> bytes:
    """Bit 2 is the address, bit 1 the port."""
    return _U32.pack((4 if value.address else 0) | (2 if value.port else 0))
