from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stun.address import TransportAddress
from tests.simulation import (
    Filtering,
    Hairpin,
    Mapping,
    Nat,
    NatBehaviour,
    Packet,
    PayloadRewriting,
    Pooling,
    PortAllocation,
    Refresh,
    StrayInput,
)

OUTER = "198.51.100.1"
INNER = TransportAddress("192.168.1.2", 5000)
PEER = TransportAddress("203.0.113.9", 7000)


def nat(behaviour: NatBehaviour | None = None, *externals: str, seed: int = 1) -> Nat:
    return Nat(behaviour or NatBehaviour(), externals or (OUTER,), random.Random(seed))


def send(box: Nat, source: TransportAddress, destination: TransportAddress, now: float = 0.0) -> TransportAddress:
    out = box.outbound(Packet(source, destination, b"x"), now)
    assert out is not None
    assert out.destination == destination
    return out.source


def admits(box: Nat, external: TransportAddress, remote: TransportAddress, now: float = 0.0) -> bool:
    return box.inbound(Packet(remote, external, b"x"), now) is not None


hosts = st.integers(1, 5).map(lambda last: f"203.0.113.{last}")
remotes = st.builds(TransportAddress, hosts, st.integers(7000, 7004))
inners = st.builds(TransportAddress, st.sampled_from(["192.168.1.2", "192.168.1.3"]), st.integers(5000, 5003))
mappings = st.sampled_from(Mapping)
filterings = st.sampled_from(Filtering)
behaviours = st.builds(NatBehaviour, mapping=mappings, filtering=filterings, allocation=st.sampled_from(PortAllocation))


@given(behaviours, st.lists(st.tuples(inners, remotes), max_size=40))
def test_a_mapping_is_reused_exactly_as_its_class_says(
    behaviour: NatBehaviour, traffic: list[tuple[TransportAddress, TransportAddress]]
) -> None:
    box = nat(behaviour)
    seen: dict[object, TransportAddress] = {}
    for inner, remote in traffic:
        key = {
            Mapping.ENDPOINT_INDEPENDENT: inner,
            Mapping.ADDRESS_DEPENDENT: (inner, remote.host),
            Mapping.ADDRESS_AND_PORT_DEPENDENT: (inner, remote),
        }[behaviour.mapping]
        outer = send(box, inner, remote)
        assert seen.setdefault(key, outer) == outer
    assert len(set(seen.values())) == len(seen), "two mappings share an outer port"


@given(behaviours, remotes, remotes)
def test_filtering_admits_exactly_as_its_class_says(
    behaviour: NatBehaviour, contacted: TransportAddress, other: TransportAddress
) -> None:
    box = nat(behaviour)
    outer = send(box, INNER, contacted)
    expected = {
        Filtering.ENDPOINT_INDEPENDENT: True,
        Filtering.ADDRESS_DEPENDENT: other.host == contacted.host,
        Filtering.ADDRESS_AND_PORT_DEPENDENT: other == contacted,
    }[behaviour.filtering]
    assert admits(box, outer, other) is expected


@given(behaviours, st.lists(st.tuples(inners, remotes), max_size=20))
def test_an_answer_finds_its_way_back(
    behaviour: NatBehaviour, traffic: list[tuple[TransportAddress, TransportAddress]]
) -> None:
    box = nat(behaviour)
    for inner, remote in traffic:
        back = box.inbound(Packet(remote, send(box, inner, remote), b"answer"), 0.0)
        assert back == Packet(remote, inner, b"answer")


def test_nothing_comes_in_unasked() -> None:
    for filtering in Filtering:
        assert not admits(nat(NatBehaviour(filtering=filtering)), TransportAddress(OUTER, 5000), PEER)


def test_preserving_keeps_the_port_until_it_is_taken() -> None:
    box = nat()
    assert send(box, INNER, PEER) == (OUTER, 5000)
    assert send(box, TransportAddress("192.168.1.3", 5000), PEER).port != 5000


def test_sequential_ports_follow_each_other() -> None:
    box = nat(NatBehaviour.symmetric(PortAllocation.SEQUENTIAL))
    ports = [send(box, INNER, PEER._replace(port=port)).port for port in range(7000, 7010)]
    assert ports == list(range(ports[0], ports[0] + 10))


def test_random_ports_do_not() -> None:
    box = nat(NatBehaviour.symmetric())
    ports = [send(box, INNER, PEER._replace(port=port)).port for port in range(7000, 7100)]
    assert len(set(ports)) == 100
    assert max(ports) - min(ports) > 20_000


def test_a_shared_port_leads_each_remote_to_its_host() -> None:
    box = nat(NatBehaviour.linux_masquerade())
    other = TransportAddress("192.168.1.3", 5000)
    second_peer = PEER._replace(host="203.0.113.10")
    assert send(box, INNER, PEER) == send(box, other, second_peer) == (OUTER, 5000)
    assert send(box, other, PEER) != (OUTER, 5000), "both would be one session"
    assert box.inbound(Packet(PEER, TransportAddress(OUTER, 5000), b""), 0.0) == Packet(PEER, INNER, b"")
    assert box.inbound(Packet(second_peer, TransportAddress(OUTER, 5000), b""), 0.0) == Packet(second_peer, other, b"")


def test_an_early_packet_moves_linux_to_another_port_only_with_an_open_input_chain() -> None:
    for stray, port_kept in ((StrayInput.NOTHING, True), (StrayInput.OWN_SESSION, False)):
        box = nat(NatBehaviour.linux_masquerade(stray))
        assert not admits(box, TransportAddress(OUTER, 5000), PEER)
        assert (send(box, INNER, PEER).port == 5000) is port_kept


def test_pooling() -> None:
    pool = ("198.51.100.1", "198.51.100.2", "198.51.100.3")

    def outer_hosts(pooling: Pooling) -> set[str]:
        box = nat(NatBehaviour(pooling=pooling), *pool)
        return {send(box, INNER._replace(port=port), PEER).host for port in range(5000, 5050)}

    assert len(outer_hosts(Pooling.PAIRED)) == 1
    assert outer_hosts(Pooling.ARBITRARY) == set(pool)


def test_a_mapping_dies_when_idle_and_lives_on_outbound_packets() -> None:
    box = nat(NatBehaviour(lifetime=30.0))
    outer = send(box, INNER, PEER, now=0.0)
    assert send(box, INNER, PEER, now=29.0) == outer
    assert admits(box, outer, PEER, now=58.0)
    assert not admits(box, outer, PEER, now=59.5), "an inbound packet must not have refreshed it"


@pytest.mark.parametrize(
    ("refresh", "inbound_keeps", "outbound_keeps"),
    [(Refresh.OUTBOUND, False, True), (Refresh.BOTH, True, True), (Refresh.INBOUND, True, False)],
)
def test_which_direction_refreshes(refresh: Refresh, inbound_keeps: bool, outbound_keeps: bool) -> None:
    behaviour = NatBehaviour(lifetime=30.0, refresh=refresh, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT)
    box = nat(behaviour)
    outer = send(box, INNER, PEER, now=0.0)
    assert admits(box, outer, PEER, now=20.0)
    assert admits(box, outer, PEER, now=40.0) is inbound_keeps
    box = nat(behaviour)
    outer = send(box, INNER, PEER, now=0.0)
    send(box, INNER, PEER, now=20.0)
    assert admits(box, outer, PEER, now=40.0) is outbound_keeps


def test_permissions_of_remotes_expire_one_by_one() -> None:
    box = nat(NatBehaviour(lifetime=30.0, filtering=Filtering.ADDRESS_AND_PORT_DEPENDENT))
    other = PEER._replace(port=7001)
    outer = send(box, INNER, PEER, now=0.0)
    assert send(box, INNER, other, now=20.0) == outer
    assert not admits(box, outer, PEER, now=35.0)
    assert admits(box, outer, other, now=35.0)


def test_hairpin() -> None:
    other = TransportAddress("192.168.1.3", 6000)

    def turned(hairpin: Hairpin) -> Packet | None:
        box = nat(replace(NatBehaviour.full_cone(), hairpin=hairpin))
        outer = send(box, other, PEER)
        return box.hairpin(Packet(INNER, outer, b"x"), 0.0)

    assert turned(Hairpin.NONE) is None
    assert turned(Hairpin.EXTERNAL_SOURCE) == Packet(TransportAddress(OUTER, 5000), other, b"x")
    assert turned(Hairpin.INTERNAL_SOURCE) == Packet(INNER, other, b"x")


def test_hairpin_respects_the_filter() -> None:
    other = TransportAddress("192.168.1.3", 6000)
    box = nat(NatBehaviour.port_restricted_cone())
    outer = send(box, other, PEER)
    own = send(box, INNER, PEER)
    assert box.hairpin(Packet(INNER, outer, b"x"), 0.0) is None
    assert box.hairpin(Packet(other, own, b"x"), 0.0) == Packet(outer, INNER, b"x")
    assert box.hairpin(Packet(INNER, outer, b"x"), 0.0) == Packet(own, other, b"x")


def test_a_gateway_that_edits_payloads() -> None:
    box = nat(NatBehaviour(rewriting=PayloadRewriting.ADDRESSES, allocation=PortAllocation.RANDOM))
    inner = bytes([0x13, 0x88, 192, 168, 1, 2])
    out = box.outbound(Packet(INNER, PEER, b"<" + inner + b">"), 0.0)
    assert out is not None
    assert inner not in out.data
    assert bytes([198, 51, 100, 1]) in out.data
    back = box.inbound(Packet(PEER, out.source, out.data), 0.0)
    assert back == Packet(PEER, INNER, b"<" + inner + b">")


def test_port_forwarding_admits_anyone_for_good() -> None:
    box = nat(NatBehaviour.port_restricted_cone())
    public = TransportAddress(OUTER, 9999)
    box.forward(public, INNER)
    assert admits(box, public, PEER, now=1e9)
    assert send(box, INNER, PEER, now=1e9) == public


def test_a_firewall_changes_no_address_and_filters() -> None:
    box = Nat(NatBehaviour.firewall(), (), random.Random(1))
    source = TransportAddress("2001:db8::2", 5000)
    remote = TransportAddress("2001:db8:1::9", 7000)
    assert not admits(box, source, remote)
    assert send(box, source, remote) == source
    assert admits(box, source, remote)
    assert not admits(box, source, remote._replace(port=7001))


def test_blocked_udp() -> None:
    box = Nat(NatBehaviour.blocks_udp(), (), random.Random(1))
    assert box.outbound(Packet(INNER, PEER, b""), 0.0) is None
    assert box.inbound(Packet(PEER, INNER, b""), 0.0) is None


def test_the_table_is_bounded() -> None:
    box = nat(replace(NatBehaviour.symmetric(), max_mappings=10))
    outers = [send(box, INNER, PEER._replace(port=7000 + index)) for index in range(100)]
    assert len(box.mappings) == 10
    assert not admits(box, outers[0], PEER)
    assert admits(box, outers[-1], PEER._replace(port=7099))
