"""Bytes of PCP and NAT-PMP, and the clocks that tell whether a gateway has lost its state."""

from __future__ import annotations

import pytest

from ice.candidate import Base
from ice.portmap import map_codec
from ice.portmap.epoch import NatPmpEpoch, PcpEpoch
from stun.address import TransportAddress, TransportProtocol
from stun.errors import StunParseError
from tests.ice.portmap.fake_gateway import BASE


def test_the_vectors_of_pcps_epoch() -> None:
    for server, client, valid in [
        (160, 60, True),
        (159, 60, True),
        (98, 1, False),
        (99, 0, True),
        (100, 2, True),
        (100, 3, False),
        (164, 60, True),
        (167, 60, False),
        (155, 60, True),
        (150, 60, False),
    ]:
        epoch = PcpEpoch()
        assert epoch.check(100, 0.0)
        assert epoch.check(server, client) is valid, (server, client)


def test_the_epoch_of_nat_pmp() -> None:
    for server, now, valid in [(100 + 873, 1000, True), (100 + 872, 1000, False), (99, 1, True), (0, 1000, False)]:
        epoch = NatPmpEpoch()
        assert epoch.check(100, 0.0)
        assert epoch.check(server, now) is valid, (server, now)


def test_the_map_request_byte_by_byte() -> None:
    wire = map_codec.pcp_map_request("192.168.1.7", BASE, b"n" * 12, 7200, TransportAddress("203.0.113.9", 61001))
    assert wire == (
        b"\x02\x01\0\0\0\0\x1c\x20" + bytes(10) + b"\xff\xff\xc0\xa8\x01\x07" + b"n" * 12
        + b"\x11\0\0\0\x13\x88\xee\x49" + bytes(10) + b"\xff\xff\xcb\x00\x71\x09"
    )  # fmt: skip
    gone = map_codec.pcp_map_request("192.168.1.7", BASE, b"n" * 12, 0, TransportAddress("203.0.113.9", 61001))
    assert gone[40:44] == b"\x13\x88\0\0", "the suggested port of a deletion is 0"
    six = map_codec.pcp_map_request("2001:db8::7", Base(TransportAddress("2001:db8::7", 5000)), b"n" * 12, 120)
    assert six[44:60] == bytes(16), "any IPv6 address is all zeros, any IPv4 one is not"
    assert wire[44:54] == bytes(10)


def test_the_nat_pmp_request_byte_by_byte() -> None:
    assert map_codec.nat_pmp_map_request(BASE, 7200, 61001) == b"\0\1\0\0\x13\x88\xee\x49\0\0\x1c\x20"
    tcp = Base(BASE.address, TransportProtocol.TCP)
    assert map_codec.nat_pmp_map_request(tcp, 0, 61001) == b"\0\2\0\0\x13\x88\0\0\0\0\0\0"


@pytest.mark.parametrize("data", [b"", bytes(60), b"\2\x81" + bytes(58), b"\2\x80" + bytes(58), b"\2\x81" + bytes(22)])
def test_what_is_no_answer_to_map(data: bytes) -> None:
    with pytest.raises(StunParseError):
        map_codec.parse_pcp_mapping(data)
    with pytest.raises(StunParseError):
        map_codec.parse_nat_pmp_mapping(data)
