"""Listing the addresses of this machine: what Linux says in its dumps, and that it is what ifaddr says."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.aio import interfaces
from stun.aio.interfaces import interfaces_of_this_turn, list_interfaces, read_dump
from stun.network import Interface

LINK, ADDRESS, DONE = 16, 20, 3
UP, TEMPORARY, DAD_FAILED, DEPRECATED, TENTATIVE = 0x1, 0x01, 0x08, 0x20, 0x40


def message(kind: int, body: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 0, 0) + body + bytes(-len(body) % 4)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def link(index: int, name: str, flags: int = UP) -> bytes:
    body = struct.pack("=BxHiII", 0, 1, index, flags, 0)
    return message(LINK, body + attribute(4, struct.pack("=I", 1500)) + attribute(3, name.encode() + b"\0"))


def address(index: int, host: str, prefix: int, flags: int = 0, far: str | None = None, long: bool = True) -> bytes:
    packed = ipaddress.ip_address(host).packed
    body = struct.pack("=BBBBI", 2 if len(packed) == 4 else 10, prefix, flags & 0xFF, 0, index)
    if far is not None:
        body += attribute(1, ipaddress.ip_address(far).packed) + attribute(2, packed)
    elif len(packed) == 4:
        body += attribute(1, packed) + attribute(2, packed)
    else:
        body += attribute(1, packed)
    return message(ADDRESS, body + (attribute(8, struct.pack("=I", flags)) if long else b""))


LINKS = link(1, "lo") + link(2, "eth0") + link(3, "down0", 0) + link(4, "tun0")


def test_addresses_stand_beside_those_of_their_link() -> None:
    told = address(1, "127.0.0.1", 8) + address(2, "192.0.2.2", 24), address(1, "::1", 128) + address(2, "fe80::1", 64)
    assert read_dump([LINKS, message(DONE, b"")], told) == [
        Interface("lo", "127.0.0.1", 8),
        Interface("lo", "::1", 128),
        Interface("eth0", "192.0.2.2", 24),
        Interface("eth0", "fe80::1%eth0", 64),
    ]


def test_interfaces_that_are_down_or_unknown_have_no_addresses() -> None:
    assert read_dump([LINKS], [address(3, "192.0.2.3", 24) + address(9, "192.0.2.9", 24)]) == []


def test_ours_is_the_near_end_of_a_tunnel() -> None:
    assert read_dump([LINKS], [address(4, "10.0.0.1", 32, far="10.0.0.2")]) == [Interface("tun0", "10.0.0.1", 32)]


@pytest.mark.parametrize("long", [True, False])
def test_temporary_addresses_that_are_fit_for_use(long: bool) -> None:
    flags = {
        "2001:db8::5": 0,
        "2001:db8::6": TEMPORARY,
        "2001:db8::7": TEMPORARY | DEPRECATED,
        "2001:db8::8": TEMPORARY | TENTATIVE,
        "2001:db8::9": TEMPORARY | DAD_FAILED,
    }
    told = [b"".join(address(2, host, 64, each, long=long) for host, each in flags.items())]
    assert [one.host for one in read_dump([LINKS], told) if one.temporary] == ["2001:db8::6"]


@given(st.lists(st.binary(max_size=200)), st.lists(st.binary(max_size=200)), st.integers(0, 300))
def test_no_dump_makes_it_fail(links: list[bytes], addresses: list[bytes], cut: int) -> None:
    read_dump([LINKS[:cut], *links], [address(2, "192.0.2.2", 24)[:cut], *addresses])


@pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")
def test_it_is_what_ifaddr_says() -> None:
    told = {(one.name, one.host, one.prefix_length) for one in list_interfaces()}
    assert told
    assert told <= {(one.name, one.host, one.prefix_length) for one in interfaces._by_ifaddr()}


def test_without_netlink_ifaddr_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError("no netlink here")

    monkeypatch.setattr(socket, "socket", refuse)
    assert list_interfaces() == list(interfaces._by_ifaddr())


async def test_a_crowd_of_sessions_looks_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    monkeypatch.setattr(interfaces, "list_interfaces", lambda: looks.append(1) or list_interfaces())
    first = interfaces_of_this_turn()
    assert interfaces_of_this_turn() is first
    assert len(looks) == 1
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert interfaces_of_this_turn() == first
    assert len(looks) == 2
