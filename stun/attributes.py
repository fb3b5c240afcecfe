"""Every attribute of RFC 8489, 8445 and 8656, and those of their neighbours that a peer may well send us.

An :class:`Attribute` names one attribute *type*: its code, its RFC name and how its value is written. The constants of
this module are all the types there are; a :class:`~stun.message.Message` maps them to values, and type checkers know
what comes out: ``message.get(USERNAME)`` is ``str | None``, ``message.get(PRIORITY)`` is ``int | None``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Any, Final, Generic, TypeVar

from stun import values
from stun.address import TransportAddress
from stun.errors import StunParseError
from stun.values import AddressErrorCode, ChangeRequest, ErrorCode, Icmp, PasswordAlgorithmChoice

__all__ = ["BY_CODE", "Attribute", "unknown_attribute"]

T = TypeVar("T")


class Attribute(Generic[T]):
    """One attribute type and the codec of its value, which is a ``T``."""

    __slots__ = ("code", "decode", "encode", "known", "name", "number")

    def __init__(
        self,
        code: int,
        name: str,
        encode: Callable[[T, bytes], bytes],
        decode: Callable[[bytes, bytes], T | None],
        known: bool = True,
        number: Struct | None = None,
    ) -> None:
        self.code = code
        """The 16-bit type on the wire."""
        self.name = name
        """The name in the RFC, such as ``XOR-MAPPED-ADDRESS``."""
        self.encode = encode
        """``(value, transaction id) -> bytes``; raises ValueError for a value that must not be sent."""
        self.decode = decode
        """``(bytes, transaction id) -> value``; None to ignore the attribute; raises StunParseError."""
        self.known = known
        """False for a code that this package has no definition of; its value is the raw bytes."""
        self.number = number
        """The layout of a value that is one number of fixed size, which messages read and write without a call."""

    @property
    def comprehension_required(self) -> bool:
        """Whether a receiver that does not know the attribute must refuse the message (section 14)."""
        return self.code < 0x8000

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Attribute) and self.code == other.code)

    def __hash__(self) -> int:
        return self.code

    def __repr__(self) -> str:
        return f"<{self.name}>"


BY_CODE: Final[dict[int, Attribute[Any]]] = {}
"""Every attribute that this package knows, by its code."""


def _define(
    code: int, name: str, encode: Callable[[T, bytes], bytes], decode: Callable[[bytes, bytes], T | None]
) -> Attribute[T]:
    attribute = Attribute(code, name, encode, decode)
    BY_CODE[code] = attribute
    return attribute


def _u32(code: int, name: str) -> Attribute[int]:
    attribute = Attribute(code, name, values.encode_u32, values.decode_u32, number=Struct("!I"))
    BY_CODE[code] = attribute
    return attribute


def _u64(code: int, name: str) -> Attribute[int]:
    attribute = Attribute(code, name, values.encode_u64, values.decode_u64, number=Struct("!Q"))
    BY_CODE[code] = attribute
    return attribute


def _raw(code: int, name: str, least: int = 0, most: int = 65535, multiple: int = 1) -> Attribute[bytes]:
    def check(data: bytes) -> str | None:
        if least <= len(data) <= most and len(data) % multiple == 0:
            return None
        return f"{name} of {len(data)} bytes"

    def encode(value: bytes, transaction_id: bytes) -> bytes:
        if problem := check(value):
            raise ValueError(problem)
        return value

    def decode(data: bytes, transaction_id: bytes) -> bytes:
        if problem := check(data):
            raise StunParseError(problem)
        return data

    return _define(code, name, encode, decode)


def _text(code: int, name: str, characters: int = 127, errors: str = "strict", most_bytes: int = 509) -> Attribute[str]:
    # Sections 14.9 and others: at most 509 bytes are sent (14.3: 508), but up to 763 have to be parsed.
    def encode(value: str, transaction_id: bytes) -> bytes:
        data = value.encode()
        if len(value) > characters or len(data) > most_bytes:
            raise ValueError(f"{name} of {len(value)} characters and {len(data)} bytes")
        return data

    def decode(data: bytes, transaction_id: bytes) -> str:
        if len(data) > 763:
            raise StunParseError(f"{name} of {len(data)} bytes")
        try:
            return data.decode("utf-8", errors)
        except UnicodeDecodeError as error:
            raise StunParseError(f"{name} is not UTF-8") from error

    return _define(code, name, encode, decode)


def _ascii_name(code: int, name: str) -> Attribute[str]:
    def encode(value: str, transaction_id: bytes) -> bytes:
        data = value.encode("ascii", "strict")
        if not 1 <= len(data) <= 255:
            raise ValueError(f"{name} of {len(data)} bytes")
        return data

    def decode(data: bytes, transaction_id: bytes) -> str:
        if not 1 <= len(data) <= 255 or not data.isascii():
            raise StunParseError(f"{name} of {len(data)} bytes is not a domain name")
        return data.decode("ascii")

    return _define(code, name, encode, decode)


def _address(code: int, name: str) -> Attribute[TransportAddress]:
    return _define(code, name, values.encode_address, values.decode_address)


def _xor_address(code: int, name: str) -> Attribute[TransportAddress]:
    return _define(code, name, values.encode_xor_address, values.decode_xor_address)


# RFC 8489 section 18.3
MAPPED_ADDRESS: Final = _address(0x0001, "MAPPED-ADDRESS")
USERNAME: Final = _text(0x0006, "USERNAME", characters=508, most_bytes=508)
MESSAGE_INTEGRITY: Final = _raw(0x0008, "MESSAGE-INTEGRITY", 20, 20)
ERROR_CODE: Final[Attribute[ErrorCode]] = _define(
    0x0009, "ERROR-CODE", values.encode_error_code, values.decode_error_code
)
UNKNOWN_ATTRIBUTES: Final[Attribute[tuple[int, ...]]] = _define(
    0x000A, "UNKNOWN-ATTRIBUTES", values.encode_codes, values.decode_codes
)
REALM: Final = _text(0x0014, "REALM")
NONCE: Final = _raw(0x0015, "NONCE", 0, 763)
"""Bytes, because a client has to echo exactly what it got, UTF-8 or not."""
MESSAGE_INTEGRITY_SHA256: Final = _raw(0x001C, "MESSAGE-INTEGRITY-SHA256", 16, 32, multiple=4)
PASSWORD_ALGORITHM: Final[Attribute[PasswordAlgorithmChoice]] = _define(
    0x001D, "PASSWORD-ALGORITHM", values.encode_algorithm, values.decode_algorithm
)
USERHASH: Final = _raw(0x001E, "USERHASH", 32, 32)
XOR_MAPPED_ADDRESS: Final = _xor_address(0x0020, "XOR-MAPPED-ADDRESS")
PASSWORD_ALGORITHMS: Final[Attribute[tuple[PasswordAlgorithmChoice, ...]]] = _define(
    0x8002, "PASSWORD-ALGORITHMS", values.encode_algorithms, values.decode_algorithms
)
ALTERNATE_DOMAIN: Final = _ascii_name(0x8003, "ALTERNATE-DOMAIN")
SOFTWARE: Final = _text(0x8022, "SOFTWARE", errors="replace")
ALTERNATE_SERVER: Final = _address(0x8023, "ALTERNATE-SERVER")
FINGERPRINT: Final = _u32(0x8028, "FINGERPRINT")

# RFC 8445 section 16.1
PRIORITY: Final = _u32(0x0024, "PRIORITY")
USE_CANDIDATE: Final[Attribute[bool]] = _define(0x0025, "USE-CANDIDATE", values.encode_flag, values.decode_flag)
ICE_CONTROLLED: Final = _u64(0x8029, "ICE-CONTROLLED")
ICE_CONTROLLING: Final = _u64(0x802A, "ICE-CONTROLLING")
NOMINATION: Final = _u32(0xC001, "NOMINATION")
"""draft-thatcher-ice-renomination, as libwebrtc numbers it: which of several nominations is the last."""

# RFC 8656 section 18
CHANNEL_NUMBER: Final[Attribute[int]] = _define(
    0x000C, "CHANNEL-NUMBER", values.encode_u16_of_4, values.decode_u16_of_4
)
LIFETIME: Final = _u32(0x000D, "LIFETIME")
"""Seconds."""
XOR_PEER_ADDRESS: Final = _xor_address(0x0012, "XOR-PEER-ADDRESS")
DATA: Final = _raw(0x0013, "DATA")
XOR_RELAYED_ADDRESS: Final = _xor_address(0x0016, "XOR-RELAYED-ADDRESS")
REQUESTED_ADDRESS_FAMILY: Final[Attribute[int]] = _define(
    0x0017, "REQUESTED-ADDRESS-FAMILY", values.encode_u8_of_4, values.decode_u8_of_4
)
EVEN_PORT: Final[Attribute[bool]] = _define(0x0018, "EVEN-PORT", values.encode_even_port, values.decode_even_port)
"""The value is the R bit."""
REQUESTED_TRANSPORT: Final[Attribute[int]] = _define(
    0x0019, "REQUESTED-TRANSPORT", values.encode_u8_of_4, values.decode_u8_of_4
)
"""An IP protocol number: 17 is UDP, 6 is TCP."""
DONT_FRAGMENT: Final[Attribute[bool]] = _define(0x001A, "DONT-FRAGMENT", values.encode_flag, values.decode_flag)
RESERVATION_TOKEN: Final = _raw(0x0022, "RESERVATION-TOKEN", 8, 8)
ADDITIONAL_ADDRESS_FAMILY: Final[Attribute[int]] = _define(
    0x8000, "ADDITIONAL-ADDRESS-FAMILY", values.encode_u8_of_4, values.decode_u8_of_4
)
ADDRESS_ERROR_CODE: Final[Attribute[AddressErrorCode]] = _define(
    0x8001, "ADDRESS-ERROR-CODE", values.encode_address_error_code, values.decode_address_error_code
)
ICMP: Final[Attribute[Icmp]] = _define(0x8004, "ICMP", values.encode_icmp, values.decode_icmp)

# RFC 3489 section 11.2, of which servers of that time still tell
SOURCE_ADDRESS: Final = _address(0x0004, "SOURCE-ADDRESS")
CHANGED_ADDRESS: Final = _address(0x0005, "CHANGED-ADDRESS")
"""What RFC 5780 calls OTHER-ADDRESS."""

# RFC 5780 section 7
CHANGE_REQUEST: Final[Attribute[ChangeRequest]] = _define(
    0x0003, "CHANGE-REQUEST", values.encode_change_request, values.decode_change_request
)
PADDING: Final = _raw(0x0026, "PADDING")
RESPONSE_PORT: Final[Attribute[int]] = _define(0x0027, "RESPONSE-PORT", values.encode_u16_of_4, values.decode_u16_of_4)
CACHE_TIMEOUT: Final = _u32(0x8027, "CACHE-TIMEOUT")
"""Seconds."""
RESPONSE_ORIGIN: Final = _address(0x802B, "RESPONSE-ORIGIN")
OTHER_ADDRESS: Final = _address(0x802C, "OTHER-ADDRESS")

# RFC 6062 section 6.2, RFC 7635 section 6, RFC 8016 section 4
CONNECTION_ID: Final = _u32(0x002A, "CONNECTION-ID")
ACCESS_TOKEN: Final = _raw(0x001B, "ACCESS-TOKEN")
THIRD_PARTY_AUTHORIZATION: Final = _text(0x802E, "THIRD-PARTY-AUTHORIZATION", characters=255)
MOBILITY_TICKET: Final = _raw(0x8030, "MOBILITY-TICKET")


@lru_cache(maxsize=512)
def unknown_attribute(code: int) -> Attribute[bytes]:
    """Return a type for a code without definition; its value is the raw bytes."""

    def encode(value: bytes, transaction_id: bytes) -> bytes:
        return value

    def decode(data: bytes, transaction_id: bytes) -> bytes:
        return data

    if not 0 <= code <= 0xFFFF:
        raise ValueError(f"attribute code {code} is not in 0..65535")
    return Attribute(code, f"0x{code:04x}", encode, decode, known=False)
