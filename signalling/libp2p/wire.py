"""Protobuf messages as dataclasses, and the length-delimited framing around them.

A message is a frozen dataclass whose fields say their number and kind; the protobuf descriptor is built from it at run
time, so nothing is generated:

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Peer(Message):
        id: bytes = required(1, Kind.BYTES)
        addrs: tuple[bytes, ...] = repeated(2, Kind.BYTES)

Every single field has presence: None is absent, and a zero that is set *is* written, which libp2p's peers rely on.
Enumerations travel as plain integers, so that an unknown value survives parsing and the caller decides.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import Any, NamedTuple, Self

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError as ProtobufDecodeError

from signalling.errors import DecodeError, MessageTooLarge
from signalling.libp2p.varint import decode_varint, encode_varint

__all__ = ["DelimitedReader", "Kind", "Message", "delimit", "optional", "repeated", "required"]

_Field = descriptor_pb2.FieldDescriptorProto


class Kind(enum.Enum):
    """The scalar types that libp2p's messages use."""

    UINT32 = _Field.TYPE_UINT32
    UINT64 = _Field.TYPE_UINT64
    INT32 = _Field.TYPE_INT32
    INT64 = _Field.TYPE_INT64
    FIXED64 = _Field.TYPE_FIXED64
    BOOL = _Field.TYPE_BOOL
    BYTES = _Field.TYPE_BYTES
    ENUM = -1
    """An ``int`` on the Python side, whatever its value."""
    STRING = -2
    """A ``str`` on the Python side; invalid UTF-8 is a :class:`DecodeError`."""


_WIRE_TYPES = {Kind.ENUM: _Field.TYPE_INT32, Kind.STRING: _Field.TYPE_BYTES}


class _Label(enum.Enum):
    OPTIONAL = enum.auto()
    REQUIRED = enum.auto()
    REPEATED = enum.auto()


class _Declaration(NamedTuple):
    """What a dataclass field says about its place on the wire."""

    number: int
    kind: Kind | type[Message]
    label: _Label


def optional(number: int, kind: Kind | type[Message]) -> Any:
    """Declare a field that may be absent (None)."""
    return dataclasses.field(default=None, metadata={"wire": _Declaration(number, kind, _Label.OPTIONAL)})


def required(number: int, kind: Kind | type[Message]) -> Any:
    """Declare a field without which parsing fails."""
    return dataclasses.field(metadata={"wire": _Declaration(number, kind, _Label.REQUIRED)})


def repeated(number: int, kind: Kind | type[Message]) -> Any:
    """Declare a field that holds a tuple of values."""
    return dataclasses.field(default=(), metadata={"wire": _Declaration(number, kind, _Label.REPEATED)})


class Message:
    """The base of every protobuf message; subclasses are frozen, keyword-only dataclasses with slots."""

    __slots__ = ()

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Return the message that ``data`` encodes; unknown fields are ignored.

        Raises:
            DecodeError: ``data`` is not such a message, or a required field is absent.
        """
        codec = _codec(cls)
        raw = codec.new()
        try:
            raw.ParseFromString(bytes(data))
        except ProtobufDecodeError as error:
            raise DecodeError(f"not a {cls.__name__} message: {error}") from None
        message = codec.from_raw(raw)
        assert isinstance(message, cls)
        return message

    def serialize(self) -> bytes:
        """Return the encoding: fields in order of their numbers, minimal varints.

        Raises:
            ValueError: a value does not fit its kind.
            TypeError: a value is of another type than its kind.
        """
        codec = _codec(type(self))
        raw = codec.new()
        codec.to_raw(self, raw)
        encoded: bytes = raw.SerializeToString(deterministic=True)
        return encoded


class _Codec:
    """Converts between one dataclass and the protobuf class built from it."""

    def __init__(self, cls: type[Message]) -> None:
        self.cls = cls
        self.fields: list[tuple[str, _Declaration]] = [
            (field.name, field.metadata["wire"])
            for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        ]
        file = descriptor_pb2.FileDescriptorProto(name="message.proto", syntax="proto2")
        _describe(cls, file.message_type.add())
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        self.new: Callable[[], Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(cls.__name__))

    def from_raw(self, raw: Any) -> Message:
        values: dict[str, Any] = {}
        for name, declaration in self.fields:
            if declaration.label is _Label.REPEATED:
                values[name] = tuple(_decode(declaration.kind, item) for item in getattr(raw, name))
            elif raw.HasField(name):
                values[name] = _decode(declaration.kind, getattr(raw, name))
            elif declaration.label is _Label.REQUIRED:
                raise DecodeError(f"{self.cls.__name__} lacks {name}")
        return self.cls(**values)

    def to_raw(self, message: Message, raw: Any) -> None:
        for name, declaration in self.fields:
            value = getattr(message, name)
            if declaration.label is _Label.REPEATED:
                for item in value:
                    _append(declaration.kind, getattr(raw, name), item)
            elif value is not None:
                _assign(declaration.kind, raw, name, value)


_codecs: dict[type[Message], _Codec] = {}
"""Built on first use: one per message class of the program."""


def _codec(cls: type[Message]) -> _Codec:
    codec = _codecs.get(cls)
    if codec is None:
        codec = _codecs[cls] = _Codec(cls)
    return codec


def _describe(cls: type[Message], descriptor: descriptor_pb2.DescriptorProto) -> None:
    """Fill ``descriptor`` from the dataclass; nested messages become nested types, named after their field."""
    descriptor.name = cls.__name__
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        declaration: _Declaration = field.metadata["wire"]
        many = declaration.label is _Label.REPEATED
        entry = descriptor.field.add(name=field.name, number=declaration.number)
        entry.label = _Field.LABEL_REPEATED if many else _Field.LABEL_OPTIONAL
        if isinstance(declaration.kind, Kind):
            entry.type = _WIRE_TYPES.get(declaration.kind, declaration.kind.value)
            continue
        nested = descriptor.nested_type.add()
        _describe(declaration.kind, nested)
        nested.name = f"Nested{declaration.number}"
        entry.type = _Field.TYPE_MESSAGE
        entry.type_name = nested.name


def _decode(kind: Kind | type[Message], value: Any) -> Any:
    if not isinstance(kind, Kind):
        return _codec(kind).from_raw(value)
    if kind is Kind.STRING:
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(f"not a UTF-8 string: {error}") from None
    return value


def _assign(kind: Kind | type[Message], raw: Any, name: str, value: Any) -> None:
    if not isinstance(kind, Kind):
        inner = getattr(raw, name)
        inner.SetInParent()
        _codec(kind).to_raw(value, inner)
    else:
        setattr(raw, name, value.encode() if kind is Kind.STRING else value)


def _append(kind: Kind | type[Message], items: Any, value: Any) -> None:
    if not isinstance(kind, Kind):
        _codec(kind).to_raw(value, items.add())
    else:
        items.append(value.encode() if kind is Kind.STRING else value)


def delimit(data: bytes) -> bytes:
    """Return ``data`` behind its length as an unsigned varint."""
    return encode_varint(len(data)) + data


class DelimitedReader:
    """Cuts a byte stream into length-delimited messages, whatever the chunks it arrives in."""

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int) -> None:
        """Refuse messages of more than ``limit`` bytes."""
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        self._buffer += data

    def next_message(self) -> bytes | None:
        """Return and remove the next whole message, or None when it has not arrived.

        Raises:
            MessageTooLarge: the prefix announces more than the limit.
            DecodeError: the prefix is not a minimal varint. After either error the stream is out of step for good.
        """
        prefix = decode_varint(self._buffer)
        if prefix is None:
            return None
        length, size = prefix
        if length > self._limit:
            raise MessageTooLarge(f"a message of {length} bytes exceeds the limit of {self._limit}")
        if len(self._buffer) < size + length:
            return None
        message = bytes(self._buffer[size : size + length])
        del self._buffer[: size + length]
        return message

    def take_rest(self) -> bytes:
        """Return and remove what has arrived and is not part of a message that was returned."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest
