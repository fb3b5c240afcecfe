from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ice.candidate import CandidateType
from ice.lite_pairs import best_unchecked
from ice.pair import CandidatePair
from ice.priority import candidate_priority
from ice.roles import Role
from stun.address import TransportAddress
from tests.ice.builders import local, remote

HOSTS = ["10.1.2.3", "8.8.8.8", "9.9.9.9", "192.168.7.7", "2606:4700::1", "2606:4700::2", "2a00:1450::7", "fd00::1"]


def pair(ours: str, theirs: str, role: Role = Role.CONTROLLING, ranks: tuple[int, int] = (0, 0)) -> CandidatePair:
    mine = replace(local(1), address=(here := TransportAddress(ours, 1)), base=here)
    yours = replace(remote(1), address=TransportAddress(theirs, 2))
    one, other = (candidate_priority(CandidateType.HOST, 65535 - rank) for rank in ranks)
    return CandidatePair(replace(mine, priority=one), replace(yours, priority=other), role)


def best(*pairs: CandidatePair) -> tuple[str, str]:
    found = best_unchecked(pairs)
    assert found is not None
    return found.local.address.host, found.remote.address.host


def test_nothing_of_nothing() -> None:
    assert best_unchecked([]) is None


def test_ipv6_before_ipv4_but_unique_local_after_it() -> None:
    assert best(pair("8.8.8.8", "9.9.9.9"), pair("2606:4700::1", "2a00:1450::7"))[0] == "2606:4700::1"
    assert best(pair("8.8.8.8", "9.9.9.9"), pair("fd00::1", "fd00::2"))[0] == "8.8.8.8"


def test_what_is_behind_a_nat_does_not_meet_what_is_not() -> None:
    assert best(pair("10.1.2.3", "8.8.8.8", ranks=(0, 0)), pair("9.9.9.9", "8.8.8.8", ranks=(5, 0)))[0] == "9.9.9.9"


def test_ends_of_one_scope_go_before_others() -> None:
    assert best(pair("fe80::1", "2a00:1450::7"), pair("8.8.8.8", "9.9.9.9"))[0] == "8.8.8.8"


def test_the_longer_common_prefix_and_then_the_priority() -> None:
    near, far = pair("2606:4700::1", "2606:4700::2", ranks=(0, 7)), pair("2606:4700::1", "2a00:1450::7")
    assert best(far, near) == ("2606:4700::1", "2606:4700::2")
    assert best(pair("8.8.8.8", "9.9.9.9", ranks=(1, 0)), pair("8.8.8.8", "1.1.1.1"))[1] == "1.1.1.1"


@given(
    st.lists(st.sampled_from(HOSTS), min_size=1, unique=True),
    st.lists(st.sampled_from(HOSTS), min_size=1, unique=True),
    st.randoms(),
)
def test_both_sides_choose_the_same(ours: list[str], theirs: list[str], shuffle: random.Random) -> None:
    both = [(a, b) for a in ours for b in theirs if (":" in a) == (":" in b)]
    here = [pair(a, b, Role.CONTROLLING, (ours.index(a), theirs.index(b))) for a, b in both]
    there = [pair(b, a, Role.CONTROLLED, (theirs.index(b), ours.index(a))) for a, b in both]
    shuffle.shuffle(there)
    if not both:
        return
    assert best(*here) == best(*there)[::-1]
