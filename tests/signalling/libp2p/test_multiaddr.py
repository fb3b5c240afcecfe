from __future__ import annotations

import pytest

from signalling.errors import MultiaddrError
from signalling.libp2p.multiaddr import Component, Multiaddr
from tests.signalling.libp2p.vectors import BASE58, CID, PEER

P2P = "a50326" + PEER.to_bytes().hex()
CERTHASH = "uEiDDq4_xNyDorZBH3TlGazyJdOWSwvo4PUo5YHFMrvDE8g"

VECTORS = [
    ("/ip4/203.0.113.7/tcp/4001", "04cb007107060fa1"),
    ("/ip4/203.0.113.7/udp/4001/quic-v1", "04cb00710791020fa1cd03"),
    ("/ip6/::1/udp/0/quic", "29" + "00" * 15 + "01" + "91020000" + "cc03"),
    ("/ip6zone/eth0/ip6/fe80::1", "2a0465746830" + "29fe80" + "00" * 13 + "01"),
    ("/dns/a.example/tcp/443/wss", "350961" + "2e6578616d706c65" + "0601bb" + "de03"),
    ("/dns4/x/tcp/1/ws", "360178060001dd03"),
    ("/dns6/x", "370178"),
    ("/dnsaddr/x", "380178"),
    ("/ip4/1.2.3.4/tcp/443/tls/sni/x/ws", "0401020304" + "0601bb" + "c003" + "c1030178" + "dd03"),
    ("/ip4/1.2.3.4/tcp/1/noise", "0401020304" + "060001" + "c603"),
    (f"/ip4/1.2.3.4/udp/1/webrtc-direct/certhash/{CERTHASH}", None),
    (f"/ip4/1.2.3.4/udp/1/quic-v1/webtransport/certhash/{CERTHASH}/certhash/{CERTHASH}", None),
    (f"/p2p/{BASE58}", P2P),
    (f"/ip4/1.2.3.4/tcp/1/p2p/{BASE58}/p2p-circuit/webrtc/p2p/{BASE58}",
     "0401020304060001" + P2P + "a202" + "9902" + P2P),
    ("/", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "encoded"), VECTORS)
def test_text_and_bytes_are_the_same_address(text: str, encoded: str | None) -> None:
    address = Multiaddr(text)
    assert str(address) == text
    if encoded is not None:
        assert address.to_bytes().hex() == encoded
    again = Multiaddr.from_bytes(address.to_bytes())
    assert again == address
    assert hash(again) == hash(address)
    assert again.components == address.components


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (f"/ipfs/{BASE58}", f"/p2p/{BASE58}"),
        (f"/p2p/{CID}", f"/p2p/{BASE58}"),
        ("/ip6/0:0::1/tcp/00080/", "/ip6/::1/tcp/80"),
        ("", "/"),
    ],
)
def test_values_come_out_in_canonical_form(text: str, canonical: str) -> None:
    assert str(Multiaddr(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "ip4/1.2.3.4",
        "/ip4",
        "/ip4/1.2.3",
        "/ip4/1.2.3.4/tcp",
        "/ip4/1.2.3.4/tcp/65536",
        "/tcp/-1",
        "/tcp/+1",
        "/tcp/\N{ARABIC-INDIC DIGIT FOUR}",
        "/tcp/" + "9" * 5000,
        "/ip6/fe80::1%eth0",
        "/p2p/hello",
        "/p2p",
        "/dns/" + "a" * 256,
        "/unknown/1",
        "//tcp/1",
        "/certhash/uAAAA",
        "/ws" * 65,
    ],
)
def test_malformed_texts_are_refused(text: str) -> None:
    with pytest.raises(MultiaddrError):
        Multiaddr(text)


@pytest.mark.parametrize(
    "encoded",
    ["04", "04010203", "0600", "ff", "a503", "a50302", "a503020061", "35", "3500", "350161" + "80", "7f00",
     "3502612f", "350100", "3501ff", "04" * 2049, "dd03" * 65, "8400" + "01020304"],
)  # fmt: skip
def test_malformed_bytes_are_refused(encoded: str) -> None:
    with pytest.raises(MultiaddrError):
        Multiaddr.from_bytes(bytes.fromhex(encoded))


RELAYED = Multiaddr(f"/ip4/1.2.3.4/tcp/1/p2p/{BASE58}/p2p-circuit")


def test_addresses_are_put_together_and_taken_apart() -> None:
    whole = RELAYED.encapsulate(f"/p2p/{BASE58}")
    assert whole.protocols() == ("ip4", "tcp", "p2p", "p2p-circuit", "p2p")
    assert whole.decapsulate("p2p") == RELAYED
    assert whole.decapsulate("/p2p-circuit") == Multiaddr(f"/ip4/1.2.3.4/tcp/1/p2p/{BASE58}")
    assert whole.decapsulate("/tcp/2") == whole
    assert whole.decapsulate("wss") == whole
    assert whole.decapsulate(f"/p2p/{BASE58}") == RELAYED
    assert whole[:2] == Multiaddr("/ip4/1.2.3.4/tcp/1")
    assert list(whole[:1]) == [Component("ip4", "1.2.3.4")]
    assert len(whole) == 5


def test_values_are_looked_up_by_name() -> None:
    assert RELAYED.value_for("tcp") == "1"
    assert RELAYED.value_for("p2p-circuit") == ""
    assert RELAYED.value_for("udp") is None


def test_the_peer_of_a_relayed_address_is_not_the_relay() -> None:
    assert RELAYED.peer_id is None
    assert RELAYED.decapsulate("p2p-circuit").peer_id == PEER
    assert RELAYED.encapsulate(f"/webrtc/p2p/{BASE58}").peer_id == PEER
    assert Multiaddr("/ip4/1.2.3.4/tcp/1").peer_id is None


def test_an_address_does_not_grow_without_limit() -> None:
    address = Multiaddr("/dns/" + "a" * 250)
    for _ in range(2):
        address = address.encapsulate(address)
    assert len(address.encapsulate("/dns/" + "a" * 250)) == 5
    doubled = address[:3].encapsulate(address)
    with pytest.raises(MultiaddrError):
        doubled.encapsulate(address)


def test_an_address_is_no_text() -> None:
    assert Multiaddr("/tcp/1") != "/tcp/1"
