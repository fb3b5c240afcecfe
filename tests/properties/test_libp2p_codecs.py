"""Properties of libp2p's codecs: what is written is read back, and nothing else gets through."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from signalling.errors import DecodeError
from signalling.libp2p.base import base58_decode, base58_encode, multibase_decode, multibase_encode
from signalling.libp2p.envelope import Envelope, EnvelopeUse
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import PeerRecord, open_peer_record, seal_peer_record
from signalling.libp2p.varint import MAX_VARINT, decode_varint, encode_varint
from signalling.libp2p.wire import DelimitedReader, delimit
from tests.properties import targets_libp2p as targets

KEY = PrivateKey(bytes(32))
PEER = PeerId.from_public_key(KEY.public_key)

hashes = st.binary(min_size=32, max_size=32)
peers = st.one_of(
    hashes.map(lambda digest: PeerId.from_bytes(b"\x12\x20" + digest)),
    hashes.map(lambda seed: PeerId.from_public_key(PrivateKey(seed).public_key)),
)
ports = st.integers(0, 65535)
components = st.one_of(
    st.ip_addresses(v=4).map(lambda ip: f"/ip4/{ip}"),
    st.ip_addresses(v=6).map(lambda ip: f"/ip6/{ipaddress.IPv6Address(int(ip))}"),
    ports.map(lambda port: f"/tcp/{port}"),
    ports.map(lambda port: f"/udp/{port}"),
    st.sampled_from(
        ["/quic-v1", "/quic", "/ws", "/wss", "/tls", "/noise", "/p2p-circuit", "/webrtc", "/webrtc-direct"]
    ),
    st.sampled_from(["dns", "dns4", "dns6", "dnsaddr", "sni", "ip6zone"]).map(lambda name: f"/{name}/a.example"),
    peers.map(lambda peer: f"/p2p/{peer}"),
    hashes.map(lambda digest: "/certhash/" + multibase_encode("u", b"\x12\x20" + digest)),
)
multiaddrs = st.lists(components, max_size=12).map(lambda parts: Multiaddr("".join(parts)))


@given(st.integers(0, MAX_VARINT), st.binary(max_size=4))
def test_varints_are_read_back_and_no_other_bytes_mean_the_same(value: int, rest: bytes) -> None:
    encoded = encode_varint(value)
    assert decode_varint(encoded + rest) == (value, len(encoded))
    assert all(decode_varint(encoded[:cut]) is None for cut in range(len(encoded)))


@given(st.binary(max_size=12))
def test_every_varint_that_is_read_is_the_one_that_would_be_written(data: bytes) -> None:
    with contextlib.suppress(DecodeError):
        decoded = decode_varint(data)
        if decoded is not None:
            assert encode_varint(decoded[0]) == data[: decoded[1]]


@given(st.binary(max_size=64))
@example(b"\0\0\0")
def test_base58_and_multibase_are_read_back(data: bytes) -> None:
    assert base58_decode(base58_encode(data)) == data
    for base in "bfuz":
        assert multibase_decode(multibase_encode(base, data)) == data


@given(peers)
def test_peer_ids_are_read_back_from_all_forms(peer: PeerId) -> None:
    assert PeerId.parse(peer.to_base58()) == PeerId.parse(peer.to_cid()) == PeerId.from_bytes(peer.to_bytes()) == peer


@given(multiaddrs)
def test_multiaddrs_are_read_back_from_text_and_bytes(address: Multiaddr) -> None:
    assert Multiaddr(str(address)) == address
    again = Multiaddr.from_bytes(address.to_bytes())
    assert again == address
    assert str(again) == str(address)


@given(multiaddrs, multiaddrs)
def test_what_is_encapsulated_can_be_decapsulated(outer: Multiaddr, inner: Multiaddr) -> None:
    both = outer.encapsulate(inner)
    assert both.to_bytes() == outer.to_bytes() + inner.to_bytes()
    assert both[: len(outer)] == outer
    assert both[len(outer) :] == inner
    if len(inner):
        assert both.decapsulate(inner).encapsulate(inner) == both


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_delimited_messages_do_not_depend_on_the_chunks(messages: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(map(delimit, messages))
    reader, out = DelimitedReader(300), []
    while whole:
        cut = data.draw(st.integers(1, len(whole)))
        reader.feed(whole[:cut])
        whole = whole[cut:]
        while (message := reader.next_message()) is not None:
            out.append(message)
    assert out == messages


@given(st.lists(multiaddrs, max_size=4), st.integers(0, 2**64 - 1))
def test_peer_records_are_read_back(addresses: list[Multiaddr], sequence: int) -> None:
    record = PeerRecord(PEER, sequence, tuple(addresses))
    assert open_peer_record(seal_peer_record(KEY, record)) == record


@given(st.binary(max_size=200), st.text(max_size=20), st.binary(max_size=8), st.data())
def test_a_mutated_envelope_does_not_open(payload: bytes, domain: str, kind: bytes, data: st.DataObject) -> None:
    use = EnvelopeUse(domain, kind)
    sealed = bytearray(Envelope.seal(KEY, use, payload).serialize())
    assert Envelope.open(bytes(sealed), use).payload == payload
    index = data.draw(st.integers(0, len(sealed) - 1))
    sealed[index] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(DecodeError):
        assert Envelope.open(bytes(sealed), use).payload == payload


@pytest.mark.parametrize("target", [value for name, value in vars(targets).items() if name.startswith("fuzz_")])
@given(st.binary(max_size=400))
def test_no_parser_raises_anything_unexpected(target: targets.Target, data: bytes) -> None:
    target(data)
