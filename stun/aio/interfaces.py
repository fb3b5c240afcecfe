"""The addresses of this machine, as Linux tells them itself (``man 7 rtnetlink``); elsewhere by way of ifaddr."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from collections.abc import Container, Iterator, Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

from stun.aio.end_of_turn import EndOfTurn
from stun.network import Interface

__all__ = ["interfaces_of_this_turn", "list_interfaces", "read_dump"]

_ROUTE = 0
_REQUEST, _DUMP = 0x1, 0x300
_ERROR, _DONE = 2, 3
_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _GET_ADDRESS = 16, 18, 20, 22
_IS_UP = 1
_TEMPORARY, _DAD_FAILED, _DEPRECATED, _TENTATIVE = 0x01, 0x08, 0x20, 0x40
_LINK_NAME, _LINK_EXTENSIONS = 3, 29
_ADDRESS, _LOCAL, _FLAGS = 1, 2, 8
_SKIP_STATISTICS = 8
_LARGEST = 1 << 18
_PATIENCE = 1.0

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_OF_LINK = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")


_seen: WeakKeyDictionary[asyncio.AbstractEventLoop, Sequence[Interface]] = WeakKeyDictionary()


def interfaces_of_this_turn() -> Sequence[Interface]:
    """As :func:`list_interfaces`, looked at once in a turn of the running loop: sessions are often begun in crowds."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return list_interfaces()
    known = _seen.get(loop)
    if known is None:
        known = _seen[loop] = tuple(list_interfaces())
        EndOfTurn.of(loop).add(lambda: _seen.pop(loop, None))
    return known


def list_interfaces() -> Sequence[Interface]:
    """Return every address of every interface that is up, loopback included.

    A link-local IPv6 address carries its zone (``fe80::1%eth0``), because it cannot be bound without. A temporary
    address is told as one if it is fit for new connections: neither deprecated nor perhaps somebody else's.
    """
    if sys.platform == "linux":
        try:
            return _by_netlink()
        except OSError:  # A sandbox that has no netlink.
            pass
    return list(_by_ifaddr())


def _by_netlink() -> Sequence[Interface]:
    family: int = socket.AF_NETLINK
    with socket.socket(family, socket.SOCK_RAW, _ROUTE) as kernel:
        kernel.settimeout(_PATIENCE)  # It answers at once.
        links = _dump(kernel, _GET_LINK, _LINK.pack(0, 0, 0, 0, 0), (_LINK_EXTENSIONS, _SKIP_STATISTICS))
        addresses = _dump(kernel, _GET_ADDRESS, _OF_LINK.pack(0, 0, 0, 0, 0), None)
        return read_dump(links, addresses)


def _dump(kernel: socket.socket, what: int, body: bytes, extension: tuple[int, int] | None) -> list[bytes]:
    """Ask for all of something, and return what the kernel says, up to its end."""
    if extension is not None:
        body += _ATTRIBUTE.pack(8, extension[0]) + struct.pack("=I", extension[1])
    kernel.send(_HEADER.pack(_HEADER.size + len(body), what, _REQUEST | _DUMP, what, 0) + body)
    answers = []
    while True:
        answer = kernel.recv(_LARGEST)
        answers.append(answer)
        kinds = [kind for kind, _ in _messages(answer)]
        if _ERROR in kinds or not kinds:
            raise OSError("netlink refuses to list what there is")
        if _DONE in kinds:
            return answers


def read_dump(links: Sequence[bytes], addresses: Sequence[bytes]) -> list[Interface]:
    """Return the addresses that two dumps tell of, RTM_GETLINK's and RTM_GETADDR's, those of a link side by side."""
    up: dict[int, str] = {}
    for kind, body in _all_messages(links):
        if kind == _NEW_LINK and len(body) >= _LINK.size:
            _, _, index, flags, _ = _LINK.unpack_from(body)
            name = _attributes(body, _LINK.size, (_LINK_NAME,)).get(_LINK_NAME, b"").rstrip(b"\0")
            if flags & _IS_UP and name:
                up[index] = name.decode(errors="replace")
    found: dict[int, list[Interface]] = {index: [] for index in up}
    for kind, body in _all_messages(addresses):
        if kind == _NEW_ADDRESS and len(body) >= _OF_LINK.size:
            family, prefix_length, flags, _, index = _OF_LINK.unpack_from(body)
            attributes = _attributes(body, _OF_LINK.size, (_ADDRESS, _LOCAL, _FLAGS))
            interface = _interface(family, prefix_length, flags, up.get(index), attributes)
            if interface is not None:
                found[index].append(interface)
    return [interface for of_link in found.values() for interface in of_link]


def _interface(
    family: int, prefix_length: int, flags: int, name: str | None, attributes: dict[int, bytes]
) -> Interface | None:
    # At the end of a tunnel ADDRESS is the far end's and LOCAL ours; else they are equal, or LOCAL is missing.
    packed = attributes.get(_LOCAL, attributes.get(_ADDRESS, b""))
    if name is None or (family, len(packed)) not in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
        return None
    if family == socket.AF_INET:
        return Interface(name, socket.inet_ntop(family, packed), prefix_length)
    if len(longer := attributes.get(_FLAGS, b"")) == 4:
        flags = int.from_bytes(longer, sys.byteorder)
    fit = not flags & (_DAD_FAILED | _DEPRECATED | _TENTATIVE)
    is_link_local = packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
    host = _text(packed) + (f"%{name}" if is_link_local else "")
    return Interface(name, host, prefix_length, bool(flags & _TEMPORARY) and fit)


@lru_cache(maxsize=256)
def _text(packed: bytes) -> str:
    return str(ipaddress.IPv6Address(packed))


def _all_messages(answers: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    for answer in answers:
        yield from _messages(answer)


def _messages(answer: bytes) -> Iterator[tuple[int, bytes]]:
    position = 0
    while position + _HEADER.size <= len(answer):
        length, kind, *_ = _HEADER.unpack_from(answer, position)
        if length < _HEADER.size:
            return
        yield kind, answer[position + _HEADER.size : position + length]
        position += (length + 3) & ~3


def _attributes(body: bytes, position: int, wanted: Container[int]) -> dict[int, bytes]:
    found = {}
    while position + _ATTRIBUTE.size <= len(body):
        length, kind = _ATTRIBUTE.unpack_from(body, position)
        if length < _ATTRIBUTE.size:
            break
        if kind in wanted:
            found[kind] = body[position + _ATTRIBUTE.size : position + length]
        position += (length + 3) & ~3
    return found


def _by_ifaddr() -> Iterator[Interface]:
    import ifaddr  # Which Linux does without.

    # It tells neither flags nor which addresses are temporary: every interface that it lists counts as up.
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            name = str(ip.nice_name).partition(":")[0]
            if isinstance(ip.ip, str):
                yield Interface(name, ip.ip, ip.network_prefix)
                continue
            address = ipaddress.IPv6Address(ip.ip[0].partition("%")[0])
            yield Interface(name, f"{address}%{name}" if address.is_link_local else str(address), ip.network_prefix)
