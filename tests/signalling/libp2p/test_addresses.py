from __future__ import annotations

import random

import pytest

from signalling.libp2p.addresses import (
    AddressBook,
    Endpoint,
    dial_order,
    endpoint_of,
    ip_of,
    tcp_address,
    with_peer,
    without_peer,
)
from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

RNG = random.Random(7)
A, B = (PeerId.from_public_key(PrivateKey.generate(RNG).public_key) for _ in range(2))


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("/ip4/192.0.2.1/tcp/4001", Endpoint("192.0.2.1", 4001, 4)),
        ("/ip6/2001:db8::1/tcp/1/ws", Endpoint("2001:db8::1", 1, 6)),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Endpoint("fe80::1%eth0", 1, 6)),
        ("/dns4/example.org/tcp/443/wss", Endpoint("example.org", 443, 4)),
        ("/dns/example.org/tcp/443", Endpoint("example.org", 443, 0)),
        ("/ip4/192.0.2.1/udp/4001/quic-v1", None),
        ("/ip4/192.0.2.1", None),
        ("/tcp/4", None),
        ("", None),
    ],
)
def test_where_a_tcp_address_leads(text: str, endpoint: Endpoint | None) -> None:
    assert endpoint_of(Multiaddr(text)) == endpoint


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("192.0.2.1", "/ip4/192.0.2.1/tcp/9"),
        ("2001:db8::1", "/ip6/2001:db8::1/tcp/9"),
        ("::ffff:192.0.2.1", "/ip4/192.0.2.1/tcp/9"),
        ("fe80::1%eth0", "/ip6zone/eth0/ip6/fe80::1/tcp/9"),
    ],
)
def test_the_address_of_a_socket_name(host: str, text: str) -> None:
    assert str(tcp_address(host, 9)) == text


def test_the_ip_address_in_front() -> None:
    assert str(ip_of(Multiaddr("/ip6zone/eth0/ip6/fe80::1/tcp/1"))) == "fe80::1"
    assert str(ip_of(Multiaddr("/ip4/192.0.2.1/tcp/1"))) == "192.0.2.1"
    assert ip_of(Multiaddr("/dns4/example.org/tcp/1")) is None
    assert ip_of(Multiaddr(f"/p2p/{A}/p2p-circuit")) is None
    assert ip_of(Multiaddr()) is None


def test_the_peer_behind_an_address_is_put_there_and_taken_away() -> None:
    bare = Multiaddr("/ip4/192.0.2.1/tcp/1")
    full = Multiaddr(f"/ip4/192.0.2.1/tcp/1/p2p/{A}")
    circuit = full.encapsulate("/p2p-circuit")
    assert with_peer(bare, A) == full
    assert with_peer(full, B) == full
    assert with_peer(circuit, B) == circuit.encapsulate(f"/p2p/{B}")
    assert without_peer(full, A) == bare
    assert without_peer(full, B) == full
    assert without_peer(circuit, A) == circuit
    assert without_peer(Multiaddr(), A) == Multiaddr()


def test_direct_addresses_come_before_relayed_ones_and_the_families_take_turns() -> None:
    texts = [
        f"/ip4/192.0.2.9/tcp/1/p2p/{B}/p2p-circuit/p2p/{A}",
        "/ip4/192.0.2.1/tcp/1",
        "/ip4/192.0.2.2/tcp/1",
        "/ip6/2001:db8::1/tcp/1",
        "/dns4/example.org/tcp/1",
        "/ip4/192.0.2.1/tcp/1",
    ]
    order = [str(address) for address in dial_order(map(Multiaddr, texts))]
    assert order == [texts[3], texts[1], texts[2], texts[4], texts[0]]


def test_the_book_keeps_the_newest_addresses_of_the_peers_used_last() -> None:
    book = AddressBook(HostConfig(max_known_peers=2, max_known_addresses=2))
    addresses = [Multiaddr(f"/ip4/192.0.2.{number}/tcp/1") for number in range(4)]
    book.add(A, addresses[:2])
    book.add(A, [addresses[2], addresses[0]])
    assert book.get(A) == (with_peer(addresses[2], A), with_peer(addresses[0], A))
    book.add(A, [with_peer(addresses[3], B), Multiaddr()])
    assert len(book.get(A)) == 2, "an address of somebody else is not taken"

    book.add(B, addresses[:1])
    book.get(A)
    rng = random.Random(3)
    book.add(PeerId(b"\x12\x20" + rng.randbytes(32)), addresses[:1])
    assert len(book) == 2
    assert book.get(B) == ()
    book.forget(A, addresses[2])
    assert book.get(A) == (with_peer(addresses[0], A),)
    book.forget(A, addresses[0])
    assert book.get(A) == ()
    assert len(book) == 1
