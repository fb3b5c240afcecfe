"""Transport addresses: canonical form, families, and which of them can reach one another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import FiveTuple, TransportAddress, TransportProtocol, is_ip_literal

HOSTS = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
ADDRESSES = st.builds(TransportAddress.parse, HOSTS, st.integers(0, 65535))


def at(host: str) -> TransportAddress:
    return TransportAddress(host, 1)


@given(ADDRESSES)
def test_an_address_equals_what_a_socket_reports(address: TransportAddress) -> None:
    plain = (address.host, address.port)
    assert address == plain
    assert hash(address) == hash(plain)
    assert address.family == address.ip.version
    assert address.is_loopback is address.ip.is_loopback
    assert TransportAddress.parse(address.host, address.port) == address, "the form is canonical"


@pytest.mark.parametrize(
    ("host", "canonical"), [("2001:DB8:0:0::1", "2001:db8::1"), ("192.0.2.1", "192.0.2.1"), ("::0", "::")]
)
def test_text_becomes_canonical(host: str, canonical: str) -> None:
    assert TransportAddress.parse(host, 7).host == canonical


@pytest.mark.parametrize(("host", "port"), [("example.org", 1), ("192.0.2.256", 1), ("192.0.2.1", 65536), ("::1", -1)])
def test_what_is_no_address_is_refused(host: str, port: int) -> None:
    with pytest.raises(ValueError):
        TransportAddress.parse(host, port)


def test_what_is_a_literal() -> None:
    assert is_ip_literal("fe80::1")
    assert is_ip_literal("192.0.2.1")
    assert not is_ip_literal("[fe80::1]")
    assert not is_ip_literal("localhost")


@given(ADDRESSES, ADDRESSES)
def test_who_can_reach_whom(one: TransportAddress, other: TransportAddress) -> None:
    expected = one.ip.version == other.ip.version and one.ip.is_loopback == other.ip.is_loopback
    assert one.is_in_reach_of(other) is other.is_in_reach_of(one) is expected


def test_loopback_reaches_loopback_of_its_family_alone() -> None:
    assert at("127.0.0.1").is_in_reach_of(at("127.9.9.9"))
    assert not at("127.0.0.1").is_in_reach_of(at("::1"))
    assert not at("127.0.0.1").is_in_reach_of(at("192.0.2.1"))
    assert not at("::1").is_in_reach_of(at("2001:db8::1"))
    assert at("192.0.2.1").is_in_reach_of(at("198.51.100.1"))


def test_streams_and_datagrams() -> None:
    assert [protocol.is_stream for protocol in TransportProtocol] == [False, True, True, False]


def test_how_they_are_written() -> None:
    path = FiveTuple(at("192.0.2.1"), at("2001:db8::1"), TransportProtocol.TCP)
    assert str(path) == "192.0.2.1:1 <-> [2001:db8::1]:1 (tcp)"
