"""Multiaddrs: self-describing addresses as text and bytes (multiaddr specification).

``Multiaddr("/ip4/203.0.113.7/tcp/4001")`` and ``Multiaddr.from_bytes(b"\\x04…")`` are the same immutable value.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import NamedTuple

from signalling.errors import DecodeError, MultiaddrError
from signalling.libp2p.base import multibase_decode, multibase_encode
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.varint import decode_varint, encode_varint

__all__ = ["Component", "Multiaddr"]

_MAX_BYTES = 2048
"""Of a binary multiaddr; the longest useful one (a circuit through webtransport with certificates) has about 300."""
_MAX_TEXT = 8192
"""Characters of a multiaddr's text."""
_MAX_COMPONENTS = 64


class _Protocol(NamedTuple):
    """One row of the multiaddr table."""

    code: int
    name: str
    size: int
    """Bytes of the value; 0 for none, -1 for a length prefix."""
    to_bytes: Callable[[str], bytes]
    to_text: Callable[[bytes], str]


class Component(NamedTuple):
    """One protocol of a multiaddr with its value as text ("" for protocols that have none)."""

    name: str
    value: str


def _port_to_bytes(text: str) -> bytes:
    if not (text.isascii() and text.isdecimal()) or int(text[:6]) > 65535 or len(text) > 5:
        raise ValueError(f"{text[:20]!r} is not a port")
    return int(text).to_bytes(2)


def _name_to_bytes(text: str) -> bytes:
    if not text or len(text) > 255:
        raise ValueError("a name has 1 to 255 characters")
    return text.encode()


def _name_to_text(data: bytes) -> str:
    text = data.decode()
    if not text or "/" in text or not text.isprintable() or len(text) > 255:
        raise ValueError("a name has 1 to 255 printable characters and no slash")
    return text


def _certhash_to_bytes(text: str) -> bytes:
    return _check_multihash(multibase_decode(text))


def _certhash_to_text(data: bytes) -> str:
    return multibase_encode("u", _check_multihash(data))


def _check_multihash(data: bytes) -> bytes:
    code = decode_varint(data)
    length = decode_varint(data, code[1]) if code else None
    if code is None or length is None or length[0] == 0 or len(data) != code[1] + length[1] + length[0]:
        raise ValueError("not a multihash")
    return data


def _nothing_to_bytes(text: str) -> bytes:
    return b""


def _nothing_to_text(data: bytes) -> str:
    return ""


def _table() -> list[_Protocol]:
    ip4 = _Protocol(
        0x04, "ip4", 4, lambda text: ipaddress.IPv4Address(text).packed, lambda data: str(ipaddress.IPv4Address(data))
    )
    ip6 = _Protocol(0x29, "ip6", 16, _ip6_to_bytes, lambda data: str(ipaddress.IPv6Address(data)))
    peer = _Protocol(
        0x01A5, "p2p", -1, lambda text: PeerId.parse(text).to_bytes(), lambda data: PeerId(data).to_base58()
    )
    ports = [(0x06, "tcp"), (0x0111, "udp")]
    names = [(0x2A, "ip6zone"), (0x35, "dns"), (0x36, "dns4"), (0x37, "dns6"), (0x38, "dnsaddr"), (0x01C1, "sni")]
    bare = [
        (0x01CC, "quic"),
        (0x01CD, "quic-v1"),
        (0x01D1, "webtransport"),
        (0x0118, "webrtc-direct"),
        (0x0119, "webrtc"),
        (0x0122, "p2p-circuit"),
        (0x01DD, "ws"),
        (0x01DE, "wss"),
        (0x01C0, "tls"),
        (0x01C6, "noise"),
        (0x01E0, "http"),
        (0x01BB, "https"),
    ]
    return [
        ip4,
        ip6,
        peer,
        *(_Protocol(code, name, 2, _port_to_bytes, lambda data: str(int.from_bytes(data))) for code, name in ports),
        *(_Protocol(code, name, -1, _name_to_bytes, _name_to_text) for code, name in names),
        *(_Protocol(code, name, 0, _nothing_to_bytes, _nothing_to_text) for code, name in bare),
        _Protocol(0x01D2, "certhash", -1, _certhash_to_bytes, _certhash_to_text),
    ]


def _ip6_to_bytes(text: str) -> bytes:
    if "%" in text:
        raise ValueError("a zone is written as /ip6zone/<zone> before /ip6")
    return ipaddress.IPv6Address(text).packed


_BY_CODE = {protocol.code: protocol for protocol in _table()}
_BY_NAME = {protocol.name: protocol for protocol in _table()} | {"ipfs": _BY_CODE[0x01A5]}


class Multiaddr:
    """An immutable, hashable multiaddr: compared by its bytes, iterated by its components."""

    __slots__ = ("_bytes", "_components")

    _bytes: bytes
    _components: tuple[Component, ...]

    def __init__(self, address: str | Multiaddr = "") -> None:
        """Take the text of an address ("" and "/" are the empty one), or another multiaddr.

        Raises:
            MultiaddrError: the text is malformed or names an unknown protocol.
        """
        if isinstance(address, Multiaddr):
            self._bytes, self._components = address._bytes, address._components
        else:
            self._bytes, self._components = _parse_text(address)

    @classmethod
    def from_bytes(cls, data: bytes) -> Multiaddr:
        """Return the multiaddr of its binary form.

        Raises:
            MultiaddrError: malformed, too long, or of an unknown protocol.
        """
        self = cls.__new__(cls)
        self._bytes, self._components = _parse_bytes(bytes(data))
        return self

    def to_bytes(self) -> bytes:
        """Return the binary form."""
        return self._bytes

    @property
    def components(self) -> tuple[Component, ...]:
        """The protocols with their values, outermost first."""
        return self._components

    def protocols(self) -> tuple[str, ...]:
        """Return the names of the protocols, outermost first."""
        return tuple(component.name for component in self._components)

    def value_for(self, name: str) -> str | None:
        """Return the value of the first protocol called ``name`` ("" if it has none); None if it is not there."""
        return next((component.value for component in self._components if component.name == name), None)

    def encapsulate(self, inner: Multiaddr | str) -> Multiaddr:
        """Return this address with ``inner`` behind it.

        Raises:
            MultiaddrError: the text is malformed, or the result is too long.
        """
        inner = Multiaddr(inner)
        if len(self._bytes) + len(inner._bytes) > _MAX_BYTES:
            raise MultiaddrError("the multiaddr is too long")
        return self._build(self._bytes + inner._bytes, self._components + inner._components)

    def decapsulate(self, inner: Multiaddr | str) -> Multiaddr:
        """Return what stands before the last occurrence of ``inner``; the whole address if it does not occur.

        ``inner`` is a whole address ("/p2p-circuit/p2p/…"), or the bare name of a protocol ("p2p").
        """
        if isinstance(inner, str) and inner in _BY_NAME:
            names = self.protocols()
            name = _BY_NAME[inner].name
            return self[: len(names) - 1 - names[::-1].index(name)] if name in names else self
        parts = Multiaddr(inner)._components
        for start in range(len(self._components) - len(parts), -1, -1) if parts else ():
            if self._components[start : start + len(parts)] == parts:
                return self[:start]
        return self

    @property
    def peer_id(self) -> PeerId | None:
        """The peer that the address leads to: the last ``/p2p`` value, unless a ``/p2p-circuit`` follows it."""
        for component in reversed(self._components):
            if component.name == "p2p":
                return PeerId.parse(component.value)
            if component.name == "p2p-circuit":
                return None
        return None

    @classmethod
    def _build(cls, data: bytes, components: tuple[Component, ...]) -> Multiaddr:
        self = cls.__new__(cls)
        self._bytes, self._components = data, components
        return self

    def __getitem__(self, part: slice) -> Multiaddr:
        components = self._components[part]
        return self._build(b"".join(_encode(component) for component in components), components)

    def __iter__(self) -> Iterator[Component]:
        return iter(self._components)

    def __len__(self) -> int:
        return len(self._components)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Multiaddr) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash(self._bytes)

    def __str__(self) -> str:
        return "".join(f"/{name}/{value}" if value else f"/{name}" for name, value in self._components) or "/"

    def __repr__(self) -> str:
        return f"Multiaddr({str(self)!r})"


def _encode(component: Component) -> bytes:
    protocol = _BY_NAME[component.name]
    return _encode_value(protocol, protocol.to_bytes(component.value))


def _encode_value(protocol: _Protocol, value: bytes) -> bytes:
    prefix = encode_varint(len(value)) if protocol.size < 0 else b""
    return encode_varint(protocol.code) + prefix + value


def _parse_text(text: str) -> tuple[bytes, tuple[Component, ...]]:
    """Return bytes and components; the values come out in canonical form (``::1``, base58 peer ids, ``u`` certhash)."""
    if len(text) > _MAX_TEXT:
        raise MultiaddrError("the multiaddr is too long")
    if text in ("", "/"):
        return b"", ()
    if not text.startswith("/"):
        raise MultiaddrError(f"{text[:80]!r} does not start with a slash")
    parts = iter(text.rstrip("/").split("/")[1:])
    data, components = bytearray(), []
    for name in parts:
        protocol = _BY_NAME.get(name)
        if protocol is None:
            raise MultiaddrError(f"{name[:80]!r} is not a known protocol")
        text_value = next(parts, None) if protocol.size else ""
        if text_value is None:
            raise MultiaddrError(f"/{name} lacks its value")
        try:
            value = protocol.to_bytes(text_value)
            components.append(Component(protocol.name, protocol.to_text(value)))
        except (DecodeError, ValueError) as error:
            raise MultiaddrError(f"/{name}/{text_value[:80]}: {error}") from None
        data += _encode_value(protocol, value)
    if len(components) > _MAX_COMPONENTS or len(data) > _MAX_BYTES:
        raise MultiaddrError("the multiaddr is too long")
    return bytes(data), tuple(components)


def _parse_bytes(data: bytes) -> tuple[bytes, tuple[Component, ...]]:
    if len(data) > _MAX_BYTES:
        raise MultiaddrError("the multiaddr is too long")
    offset, components = 0, []
    try:
        while offset < len(data):
            code, offset = _read_varint(data, offset)
            protocol = _BY_CODE.get(code)
            if protocol is None:
                raise MultiaddrError(f"{code:#x} is not a known protocol")
            size = protocol.size
            if size < 0:
                size, offset = _read_varint(data, offset)
            if len(data) - offset < size:
                raise MultiaddrError(f"the value of /{protocol.name} is truncated")
            components.append(Component(protocol.name, protocol.to_text(data[offset : offset + size])))
            offset += size
    except MultiaddrError:
        raise
    except (DecodeError, ValueError) as error:
        raise MultiaddrError(f"not a multiaddr: {error}") from None
    if len(components) > _MAX_COMPONENTS:
        raise MultiaddrError("the multiaddr is too long")
    return data, tuple(components)


def _read_varint(data: bytes, offset: int) -> tuple[int, int]:
    decoded = decode_varint(data, offset)
    if decoded is None:
        raise MultiaddrError("the multiaddr is truncated")
    return decoded[0], offset + decoded[1]
