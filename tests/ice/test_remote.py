from __future__ import annotations

import ipaddress
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig
from ice.priority import MAX_PRIORITY
from ice.remote import Rejection, RemoteCandidates, unusable
from stun.address import FiveTuple, TransportAddress, TransportProtocol

SPECIAL = (
    "0.0.0.0/8",
    "127.0.0.0/8",
    "224.0.0.0/4",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:0:0/96",
    "fe80::/10",
    "ff00::/8",
)


def remotes(**settings: object) -> RemoteCandidates:
    return RemoteCandidates(IceConfig(**settings), random.Random(1))  # type: ignore[arg-type]


def came_from(host: str, port: int) -> FiveTuple:
    return FiveTuple(TransportAddress("192.0.2.1", 1000), TransportAddress(host, port))


def text(address: str = "198.51.100.1 5000", extra: str = "", priority: int = 5, component: int = 1) -> Candidate:
    return Candidate.from_sdp(f"1 {component} udp {priority} {address} typ host {extra}")


def test_a_good_candidate_is_taken() -> None:
    table = remotes()
    assert table.add(text()) == (text(), None)
    assert table.all() == [text()]
    assert not table.rejected


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (Candidate.from_sdp("1 1 tcp 5 198.51.100.1 9 typ host"), Rejection.TRANSPORT),
        (Candidate.from_sdp("1 1 ssltcp 5 198.51.100.1 443 typ host"), Rejection.TRANSPORT),
        (text(component=2), Rejection.COMPONENT),
        (text("somebody.example.org 5000"), Rejection.NAME),
        (text("0f7e8e1c-5f3a-4f5e-9d1e-2f1e5d7c9a00.local 5000"), Rejection.NAME),
        (text("198.51.100.1 0"), Rejection.PORT),
        (text("0.0.0.0 5000"), Rejection.ADDRESS),
        (text("0.1.2.3 5000"), Rejection.ADDRESS),
        (text("224.0.0.1 5000"), Rejection.ADDRESS),
        (text("255.255.255.255 5000"), Rejection.ADDRESS),
        (text("127.0.0.1 5000"), Rejection.ADDRESS),
        (text("::1 5000"), Rejection.ADDRESS),
        (text(":: 5000"), Rejection.ADDRESS),
        (text("ff02::1 5000"), Rejection.ADDRESS),
        (text("fe80::1 5000"), Rejection.ADDRESS),
        (text("::ffff:192.0.2.1 5000"), Rejection.ADDRESS),
        (text("172.17.0.5 5000"), Rejection.ADDRESS),
        (text(extra="ufrag OTHER"), Rejection.GENERATION),
    ],
)
def test_what_cannot_be_paired_is_dropped_and_counted(candidate: Candidate, reason: Rejection) -> None:
    table = remotes(excluded_networks=("172.17.0.0/16",))
    table.ufrag = "mine"
    assert table.add(candidate) is None
    assert table.rejected == {reason: 1}
    assert len(table) == 0


def test_the_right_generation_is_taken() -> None:
    table = remotes()
    table.ufrag = "mine"
    assert table.add(text(extra="ufrag mine")) is not None


def test_loopback_is_taken_when_we_have_it_ourselves() -> None:
    assert remotes(include_loopback=True).add(text("127.0.0.1 5000")) is not None


def test_duplicates_and_candidates_after_the_end_are_dropped() -> None:
    table = remotes()
    table.add(text())
    assert table.add(text(priority=99)) is None
    table.ended = True
    assert table.add(text("198.51.100.2 5000")) is None
    assert table.rejected == {Rejection.DUPLICATE: 1, Rejection.ENDED: 1}


def test_the_signalled_ones_have_a_limit() -> None:
    table = remotes(max_remote_candidates=3)
    for number in range(1000):
        table.add(text(f"198.51.100.1 {1 + number}"))
    assert len(table) == 3
    assert table.rejected == {Rejection.LIMIT: 997}


def test_a_priority_beyond_the_range_gains_nothing() -> None:
    taken = remotes().add(text(priority=2**32 - 1))
    assert taken is not None
    assert taken[0].priority == MAX_PRIORITY


def test_an_unknown_source_becomes_peer_reflexive_with_the_priority_of_its_check() -> None:
    table = remotes()
    learned = table.learn(came_from("203.0.113.5", 7), 1234)
    assert learned is not None
    assert (learned.type, learned.priority) == (CandidateType.PEER_REFLEXIVE, 1234)
    assert table.learn(came_from("203.0.113.5", 7), 9) is learned
    other = table.learn(came_from("203.0.113.6", 7), 0)
    assert other is not None
    assert other.priority == 1
    assert other.foundation != learned.foundation


def test_learning_has_a_limit_of_its_own() -> None:
    table = remotes(max_peer_reflexive=2)
    found = [table.learn(came_from("203.0.113.5", port), 5) for port in range(1, 6)]
    assert [candidate is not None for candidate in found] == [True, True, False, False, False]
    assert table.rejected == {Rejection.LIMIT: 3}


def test_a_signalled_candidate_takes_the_place_of_a_learned_one() -> None:
    # RFC 8838 section 11
    table = remotes(max_peer_reflexive=1)
    learned = table.learn(came_from("198.51.100.1", 5000), 1)
    assert table.add(text(priority=77)) == (text(priority=77), learned)
    assert table.at(TransportAddress("198.51.100.1", 5000)) == text(priority=77)
    assert table.learn(came_from("203.0.113.9", 1), 5) is not None  # The place of the learned one is free.


@given(st.one_of(st.ip_addresses(), st.sampled_from(SPECIAL).flatmap(lambda network: st.ip_addresses(network=network))))
def test_what_is_never_sent_to_is_what_its_kind_says(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    barred = ip.is_unspecified or ip.is_multicast or ip.is_loopback or str(ip) == "255.255.255.255"
    if isinstance(ip, ipaddress.IPv4Address):
        barred = barred or str(ip).startswith("0.")
    else:
        barred = barred or ip.ipv4_mapped is not None or ip.is_link_local
    assert unusable(TransportAddress(str(ip), 1), IceConfig()) is barred


def test_what_is_too_many_is_not_looked_for() -> None:
    known = remotes(max_remote_candidates=2)
    for port in (1, 2, 2, 1, 3):
        known.add(text(f"198.51.100.1 {port}"))
    assert known.rejected == {Rejection.LIMIT: 3}


def test_a_signalled_candidate_takes_the_place_of_the_learned_one() -> None:
    known = remotes()
    first = known.learn(came_from("198.51.100.1", 1), 5)
    second = known.add(text("198.51.100.2 2"))
    assert first is not None
    assert second is not None
    taken = known.add(text("198.51.100.1 1"))
    assert taken is not None
    assert taken[1] is first
    assert known.all() == [taken[0], second[0]]
    assert known.at(TransportAddress("198.51.100.1", 1)) is taken[0]
    assert known.at(TransportAddress("198.51.100.1", 1), TransportProtocol.TCP) is None
