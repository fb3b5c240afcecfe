from __future__ import annotations

from ice.candidate import CandidateType
from ice.priority import (
    TYPE_PREFERENCES,
    candidate_priority,
    local_preferences,
    pair_priority,
    peer_reflexive_priority,
)
from stun.address import TransportAddress


def test_the_formula_on_the_vector_of_rfc_8421() -> None:
    preferences = [60000, 59000, 58000, 57000, 54000]
    expected = [2129289471, 2129033471, 2128777471, 2128521471, 2127753471]
    assert [candidate_priority(CandidateType.HOST, preference) for preference in preferences] == expected


def test_the_usual_host_priority() -> None:
    assert candidate_priority(CandidateType.HOST, 65535) == 2130706431
    assert candidate_priority(CandidateType.RELAYED, 0, 256) == 0


def test_peer_reflexive_is_preferred_to_server_reflexive() -> None:
    order = sorted(TYPE_PREFERENCES, key=TYPE_PREFERENCES.__getitem__, reverse=True)
    assert [kind.value for kind in order] == ["host", "prflx", "srflx", "relay"]
    host = candidate_priority(CandidateType.HOST, 12345)
    assert peer_reflexive_priority(host) == candidate_priority(CandidateType.PEER_REFLEXIVE, 12345)


def test_the_pair_priority_is_the_same_on_both_sides() -> None:
    assert pair_priority(10, 3) == (3 << 32) + 20 + 1
    assert pair_priority(3, 10) == (3 << 32) + 20
    assert pair_priority(7, 7) == (7 << 32) + 14


def addresses(*hosts: str) -> list[TransportAddress]:
    return [TransportAddress(host, 1) for host in hosts]


def families(order: dict[TransportAddress, int]) -> str:
    return "".join(str(a.family) for a in sorted(order, key=order.__getitem__, reverse=True))


def test_a_single_address_has_the_highest_preference() -> None:
    assert list(local_preferences(addresses("192.0.2.1")).values()) == [65535]


def test_ipv6_starts_and_neither_family_is_left_to_the_end() -> None:
    six = [f"2001:db8::{number}" for number in range(1, 7)]
    order = local_preferences(addresses("192.0.2.1", "192.0.2.2", *six))
    assert families(order) == "66664664"  # RFC 8421 section 4: two IPv4, six IPv6
    assert families(local_preferences(addresses("192.0.2.1", "2001:db8::1"))) == "64"
    assert families(local_preferences(addresses("192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1"))) == "6444"
    assert families(local_preferences(addresses("2001:db8::1", "2001:db8::2"))) == "66"


def test_preferences_are_unique_and_keep_the_order_within_a_family() -> None:
    given = addresses("192.0.2.9", "192.0.2.1", "2001:db8::9", "2001:db8::1")
    order = local_preferences(given)
    assert len(set(order.values())) == 4
    assert order[given[0]] > order[given[1]]
    assert order[given[2]] > order[given[3]]
