"""The STUN message: parsing and serialising (RFC 8489 sections 5, 6.3 and 14)."""

from __future__ import annotations

import enum
from binascii import crc32
from collections.abc import Container
from hmac import compare_digest
from struct import Struct
from struct import error as StructError
from typing import Any, Final, TypeVar

from stun import attributes as att
from stun.attributes import BY_CODE, Attribute, unknown_attribute
from stun.errors import StunParseError
from stun.integrity import FINGERPRINT_XOR, Integrity, hmac_sha1, hmac_sha256
from stun.values import COOKIE, ErrorCode

__all__ = ["HEADER_LENGTH", "MAX_MESSAGE", "Message", "MessageClass", "Method", "parse", "parse_classic"]

HEADER_LENGTH: Final = 20
"""Bytes of the header of section 5."""

MAX_MESSAGE: Final = HEADER_LENGTH + 0xFFFC
"""The largest message that the 16-bit length can describe."""

_SHA1: Final = Integrity.SHA1
_SHA256: Final = Integrity.SHA256
_BOTH: Final = Integrity.BOTH

T = TypeVar("T")

_HEADER: Final = Struct("!HH16s")
_TLV: Final = Struct("!HH")
_MI_TLV: Final = _TLV.pack(0x0008, 20)
_MI256_TLV: Final = _TLV.pack(0x001C, 32)
_FP_TLV: Final = _TLV.pack(0x8028, 4)
_FP: Final = Struct("!HHI")
_PADDING: Final = (b"", b"\0\0\0", b"\0\0", b"\0")
_MAX_ATTRIBUTES: Final = 0xFFFC - 24 - 36 - 8


class MessageClass(enum.IntEnum):
    """The two class bits, where they sit in the message type."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


_SUCCESS: Final = MessageClass.SUCCESS


class Method(enum.IntEnum):
    """The methods of RFC 8489, 8656 and 6062."""

    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009
    CONNECT = 0x00A
    CONNECTION_BIND = 0x00B
    CONNECTION_ATTEMPT = 0x00C


_INDICATION_ONLY: Final = frozenset({Method.SEND, Method.DATA, Method.CONNECTION_ATTEMPT})
_WITH_INDICATION: Final = _INDICATION_ONLY | {Method.BINDING}


def _is_combination(method: Method, message_class: MessageClass) -> bool:
    if message_class is MessageClass.INDICATION:
        return method in _WITH_INDICATION
    return method not in _INDICATION_ONLY


def _message_type(method: int, message_class: int) -> int:
    # Figure 3: the class bits C0 and C1 cut the twelve method bits into 5 + 3 + 4.
    return (method & 0xF80) << 2 | (method & 0x070) << 1 | (method & 0x00F) | message_class


_TYPES: Final = {
    _message_type(method, message_class): (method, message_class)
    for method in Method
    for message_class in MessageClass
    if _is_combination(method, message_class)
}
_TYPE_CODES: Final = {pair: code for code, pair in _TYPES.items()}


class Message:
    """One STUN message: what it is, and its attributes in wire order.

    A message that :func:`parse` returned also keeps its bytes, over which :meth:`verify_integrity` works. The integrity
    attributes and FINGERPRINT are not in ``attributes``: they are made by :meth:`serialize` and checked by
    :func:`parse` and :meth:`verify_integrity`.
    """

    __slots__ = (
        "attributes",
        "has_fingerprint",
        "message_class",
        "method",
        "sha1_position",
        "sha256_position",
        "transaction_id",
        "wire",
    )

    def __init__(
        self,
        method: Method,
        message_class: MessageClass,
        transaction_id: bytes,
        attributes: list[tuple[Attribute[Any], Any]] | None = None,
        wire: bytes = b"",
        sha1_position: int = 0,
        sha256_position: int = 0,
        has_fingerprint: bool = False,
    ) -> None:
        self.method = method
        self.message_class = message_class
        self.transaction_id = transaction_id
        """12 bytes, or the 16 of an RFC 3489 message that has no cookie."""
        self.attributes: list[tuple[Attribute[Any], Any]] = [] if attributes is None else attributes
        """``(attribute, value)`` in wire order."""
        self.wire = wire
        """The bytes that this message was parsed from; empty for one that we made."""
        self.sha1_position = sha1_position
        """Where MESSAGE-INTEGRITY starts in ``wire``; 0 when there is none."""
        self.sha256_position = sha256_position
        """Where MESSAGE-INTEGRITY-SHA256 starts in ``wire``; 0 when there is none."""
        self.has_fingerprint = has_fingerprint
        """Whether ``wire`` ends with a (right) FINGERPRINT."""

    def __eq__(self, other: object) -> bool:
        """Whether both say the same; the bytes that they were parsed from do not count."""
        if not isinstance(other, Message):
            return NotImplemented
        return (
            self.method is other.method
            and self.message_class is other.message_class
            and self.transaction_id == other.transaction_id
            and self.attributes == other.attributes
        )

    def __repr__(self) -> str:
        return (
            f"Message(method={self.method!r}, message_class={self.message_class!r}, "
            f"transaction_id={self.transaction_id!r}, attributes={self.attributes!r})"
        )

    # -- attributes --

    def get(self, attribute: Attribute[T]) -> T | None:
        """Return the value of the first ``attribute``, or None; later ones of the same type do not count."""
        for present, value in self.attributes:
            if present.code == attribute.code:
                return value  # type: ignore[no-any-return]
        return None

    def get_all(self, attribute: Attribute[T]) -> list[T]:
        """Return the values of every ``attribute`` in wire order (XOR-PEER-ADDRESS may appear many times)."""
        return [value for present, value in self.attributes if present.code == attribute.code]

    def __contains__(self, attribute: object) -> bool:
        return attribute in [present for present, _ in self.attributes]

    def add(self, attribute: Attribute[T], value: T) -> Message:
        """Append an attribute and return the message, so that calls chain."""
        self.attributes.append((attribute, value))
        return self

    @property
    def error(self) -> ErrorCode | None:
        """The ERROR-CODE, or None."""
        return self.get(att.ERROR_CODE)

    def unknown_required(self, refused: Container[Attribute[Any]] = ()) -> tuple[int, ...]:
        """Return the codes of comprehension-required attributes that the receiver does not understand.

        ``refused`` are attributes that this package can read but the receiver's usage does not know.
        """
        codes: list[int] = []
        for present, _ in self.attributes:
            if present.code < 0x8000 and (not present.known or (refused and present in refused)):
                codes.append(present.code)
        return tuple(dict.fromkeys(codes)) if codes else ()

    # -- replies --

    def success(self, *pairs: tuple[Attribute[Any], Any]) -> Message:
        """Return a success response to this request."""
        return Message(self.method, _SUCCESS, self.transaction_id, list(pairs))

    def failure(self, code: int, reason: str, *pairs: tuple[Attribute[Any], Any]) -> Message:
        """Return an error response to this request."""
        first = (att.ERROR_CODE, ErrorCode(code, reason))
        return Message(self.method, MessageClass.ERROR, self.transaction_id, [first, *pairs])

    # -- integrity --

    @property
    def integrity(self) -> Integrity | None:
        """Which integrity attributes the parsed message carries."""
        if self.sha1_position:
            return _BOTH if self.sha256_position else _SHA1
        return _SHA256 if self.sha256_position else None

    def verify_integrity(self, key: bytes, algorithm: Integrity | None = None, least_sha256: int = 32) -> bool:
        """Return whether the message was signed with ``key``; False also for a message without integrity.

        The strongest attribute that is there decides (sections 9.1.3 and 9.2.4), unless ``algorithm`` names the one
        that has to be there; BOTH asks for both. ``least_sha256`` is the shortest MESSAGE-INTEGRITY-SHA256 to accept,
        in bytes: below 32 only if the STUN usage allows truncation (section 14.6).
        """
        if (algorithm is None and not self.sha256_position) or algorithm is _SHA1:
            return self._verify_sha1(key)
        if not self._verify_sha256(key, least_sha256):
            return False
        return algorithm is not _BOTH or self._verify_sha1(key)

    def _verify_sha1(self, key: bytes) -> bool:
        position = self.sha1_position
        if not position:
            return False
        wire = self.wire
        # What is signed has the length that the message would have if it ended with this attribute (section 14.5).
        signed = wire[:2] + (position + 4).to_bytes(2, "big") + wire[4:position]
        return compare_digest(hmac_sha1(key, signed), wire[position + 4 : position + 24])

    def _verify_sha256(self, key: bytes, least: int) -> bool:
        position = self.sha256_position
        length = self.wire[position + 3] if position else 0
        if not position or length < least:
            return False
        wire = self.wire
        signed = wire[:2] + (position + length - 16).to_bytes(2, "big") + wire[4:position]
        return compare_digest(hmac_sha256(key, signed)[:length], wire[position + 4 : position + 4 + length])

    # -- writing --

    def serialize(
        self,
        integrity_key: bytes | None = None,
        fingerprint: bool = False,
        integrity: Integrity = Integrity.SHA1,
    ) -> bytes:
        """Return the bytes on the wire, with zero padding (section 14).

        Args:
            integrity_key: signs the message; None leaves it unsigned.
            fingerprint: whether to end with FINGERPRINT (section 7).
            integrity: which integrity attributes ``integrity_key`` makes.

        Raises:
            ValueError: an attribute has a value that must not be sent, or the message is longer than 65,552 bytes.
        """
        body = self._serialize_attributes()
        identity = self.transaction_id if len(self.transaction_id) == 16 else COOKIE + self.transaction_id
        length = len(body)
        if length > _MAX_ATTRIBUTES or len(identity) != 16:
            raise ValueError(f"a message with {length} bytes of attributes and a {len(self.transaction_id)}-byte id")
        code = _TYPE_CODES[self.method, self.message_class]
        if integrity_key is not None:
            if integrity is not _SHA256:
                length += 24
                signed = _HEADER.pack(code, length, identity) + body
                body += _MI_TLV + hmac_sha1(integrity_key, signed)
            if integrity is not _SHA1:
                length += 36
                signed = _HEADER.pack(code, length, identity) + body
                body += _MI256_TLV + hmac_sha256(integrity_key, signed)
        if not fingerprint:
            return _HEADER.pack(code, length, identity) + body
        body = _HEADER.pack(code, length + 8, identity) + body
        return body + _FP.pack(0x8028, 4, crc32(body) ^ FINGERPRINT_XOR)

    def _serialize_attributes(self) -> bytes:
        transaction_id = self.transaction_id
        parts: list[bytes] = []
        try:
            for attribute, value in self.attributes:
                number = attribute.number
                data = attribute.encode(value, transaction_id) if number is None else number.pack(value)
                size = len(data)
                parts.append(_TLV.pack(attribute.code, size))
                parts.append(data)
                if size & 3:
                    parts.append(_PADDING[size & 3])
        except StructError as error:
            raise ValueError(f"{attribute.name}: {error}") from error
        return b"".join(parts)


def parse(data: bytes) -> Message:
    """Read one STUN message.

    Raises:
        StunParseError: the bytes are not a message that may be processed: wrong header, length, class or method, a
            damaged attribute, or a FINGERPRINT that is wrong or not last. No other error is raised, whatever the bytes.
    """
    if len(data) < HEADER_LENGTH:
        raise StunParseError(f"{len(data)} bytes are too short for a header")
    if data[4:8] != COOKIE:
        raise StunParseError("no magic cookie")
    return _parse(data, data[8:20])


def parse_classic(data: bytes) -> Message:
    """Read a message of RFC 3489, which has no cookie; its transaction id has 16 bytes (RFC 8489 section 11).

    Raises:
        StunParseError: as :func:`parse`, or the message has the cookie and thus is none of RFC 3489.
    """
    if len(data) < HEADER_LENGTH:
        raise StunParseError(f"{len(data)} bytes are too short for a header")
    if data[4:8] == COOKIE:
        raise StunParseError("a magic cookie: not an RFC 3489 message")
    return _parse(data, data[4:20])


def _parse(data: bytes, transaction_id: bytes) -> Message:
    code, length = _TLV.unpack_from(data)
    kind = _TYPES.get(code)
    if kind is None:
        raise StunParseError(f"message type 0x{code:04x} is unknown")
    end = HEADER_LENGTH + length
    if length & 3 or end != len(data):
        raise StunParseError(f"a length of {length} in a message of {len(data)} bytes")
    found: list[tuple[Attribute[Any], Any]] = []
    message = Message(kind[0], kind[1], transaction_id, found, data)
    position = HEADER_LENGTH
    while position < end:
        code, size = _TLV.unpack_from(data, position)
        start = position + 4
        stop = start + size
        if stop > end:
            raise StunParseError(f"attribute 0x{code:04x} is longer than the message")
        attribute = _ORDINARY.get(code)
        if attribute is None:
            if code in _TRAILERS:
                _read_trailers(message, position)
                break
            attribute = unknown_attribute(code)
        number = attribute.number
        if number is not None and number.size == size:
            found.append((attribute, number.unpack_from(data, start)[0]))
        elif (value := attribute.decode(data[start:stop], transaction_id)) is not None:
            found.append((attribute, value))
        position = (stop + 3) & ~3
    return message


_TRAILERS: Final = frozenset({0x0008, 0x001C, 0x8028})
_ORDINARY: Final = {code: attribute for code, attribute in BY_CODE.items() if code not in _TRAILERS}


def _read_trailers(message: Message, position: int) -> None:
    # Sections 14.5 to 14.7: only MESSAGE-INTEGRITY-SHA256 and FINGERPRINT count after MESSAGE-INTEGRITY, and only
    # FINGERPRINT after MESSAGE-INTEGRITY-SHA256; everything else there is ignored.
    wire = message.wire
    end = len(wire)
    if end - position == 32 and wire[position : position + 4] == _MI_TLV and wire[-8:-4] == _FP_TLV:
        # Every message of ICE ends so; the loop below would do the same in twice the time.
        message.sha1_position = position
        position = end - 8
    while position < end:
        code, size = _TLV.unpack_from(wire, position)
        stop = position + 4 + size
        if stop > end:
            raise StunParseError(f"attribute 0x{code:04x} is longer than the message")
        if code == 0x8028:
            if size != 4 or stop != end:
                raise StunParseError("FINGERPRINT is not four bytes at the end")
            if crc32(wire[:position]) ^ FINGERPRINT_XOR != int.from_bytes(wire[position + 4 :], "big"):
                raise StunParseError("FINGERPRINT does not match")
            message.has_fingerprint = True
        elif message.sha256_position:
            pass
        elif code == 0x0008 and not message.sha1_position:
            if size != 20:
                raise StunParseError(f"MESSAGE-INTEGRITY of {size} bytes")
            message.sha1_position = position
        elif code == 0x001C:
            if not 16 <= size <= 32 or size & 3:
                raise StunParseError(f"MESSAGE-INTEGRITY-SHA256 of {size} bytes")
            message.sha256_position = position
        position = (stop + 3) & ~3
