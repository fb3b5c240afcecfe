"""Names instead of addresses, in virtual time: what is asked, what is taken, and what nobody gets to see."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ice.candidate import Base, Candidate, CandidateType, NamedAddress
from ice.config import IceConfig, IceTransportPolicy
from ice.events import GatheringCompleted
from ice.mdns import UNSEEN, Names, PublishName, ResolveName, WithdrawName, is_mdns_name
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.roles import Role
from stun.address import TransportAddress
from tests.ice.stepper import Side, Wire, describe, exchange
from turn.config import TurnServerConfig

HERE, THERE = TransportAddress("192.168.1.5", 1001), TransportAddress("192.168.1.6", 2002)
PUBLISH = IceConfig(mdns=MdnsConfig(mode=MdnsMode.PUBLISH))
NAME = "3c1b9d6e-3a6f-4a3c-9d0a-0a8f6b1c2d3e.local"


def named(name: str = NAME, port: int = THERE.port, **changes: Any) -> Candidate:
    return Candidate(**{
        "foundation": "1",
        "component": 1,
        "transport": "udp",
        "priority": 2122194687,
        "address": NamedAddress(name, port),
        "type": CandidateType.HOST,
        **changes,
    })  # fmt: skip


def ready(config: IceConfig | None = None) -> tuple[Side, Side, Wire]:
    """Two sides that know each other's description."""
    a, b = Side(Role.CONTROLLING, HERE, config=config), Side(Role.CONTROLLED, THERE, seed=2)
    describe(a, b)
    wire = Wire(a, b)
    wire.flush()
    return a, b, wire


def dropped(side: Side) -> dict[str, int]:
    return dict(side.agent.stats().dropped)


@pytest.mark.parametrize(
    ("name", "taken"),
    [
        (NAME, True),
        ("x.LOCAL", True),
        ("a.b.local", False),
        ("local", False),
        (".local", False),
        ("x.local.", False),
        ("example.org", False),
        ("x.local.example.org", False),
        ("xlocal", False),
        ("a" * 64 + ".local", False),
    ],
)
def test_which_names_may_be_asked_for(name: str, taken: bool) -> None:
    assert is_mdns_name(name) is taken


def test_a_name_is_resolved_and_connects() -> None:
    a, b, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    wire.flush()
    assert a.wishes == [ResolveName(NAME)]
    assert wire.log == []
    a.agent.names.resolved(NAME, [THERE.host], 0.01)
    wire.now = 0.01
    wire.run(until=0.5)
    assert a.agent.selected_pair is not None
    assert a.agent.selected_pair.path.remote == THERE
    assert (dropped(a), dropped(b)) == ({}, {})


def test_the_address_behind_a_name_is_shown_nowhere() -> None:
    a, _b, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    a.agent.handle_timeout(0.0)
    a.agent.names.resolved(NAME, [THERE.host], 0.0)
    wire.run(until=0.5)
    pair = a.agent.selected_pair
    assert pair is not None
    shown = [repr(pair), repr(pair.remote), pair.remote.to_sdp(), str(pair.remote.shown_address)]
    shown += [repr(a.agent.remote_candidates), repr(a.agent.stats()), repr(a.events)]
    assert THERE.host not in " ".join(shown)
    assert f"host {NAME}:{THERE.port}" in repr(a.agent.stats())


def test_nor_is_an_address_that_a_hiding_peer_was_heard_from() -> None:
    """A check that is ahead of the answer, and one from another port of the host (draft section 3.2.3)."""
    a, b, wire = ready()
    for candidate in a.candidates:
        b.agent.add_remote_candidate(candidate, 0.0)
    a.agent.add_remote_candidate(named(), 0.0)
    wire.run(until=0.5)
    assert b.agent.selected_pair is not None, "the peer's own checks are enough"
    assert a.agent.remote_candidates[0].shown_address == NamedAddress(UNSEEN, THERE.port)
    assert THERE.host not in repr(a.agent.stats())
    names = a.agent.names
    a.agent.names.resolved(NAME, [THERE.host], 0.6)
    assert names.veil(THERE._replace(port=7)) == NamedAddress(NAME, 7)
    assert names.veil(TransportAddress("203.0.113.5", 7)) is None


def test_names_resolve_after_the_end_of_candidates_too() -> None:
    a, _b, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    a.agent.end_of_remote_candidates(0.0)
    a.agent.add_remote_candidate(named("late.local"), 0.0)
    wire.flush()
    assert a.wishes == [ResolveName(NAME)]
    a.agent.names.resolved(NAME, [THERE.host], 1.0)
    wire.now = 1.0
    wire.run(until=1.5)
    assert a.agent.selected_pair is not None
    assert dropped(a) == {"remote candidate: after the end of candidates": 1}


@pytest.mark.parametrize(
    ("addresses", "reason"),
    [
        ([], "remote candidate: its name did not resolve"),
        (["192.168.1.6", "fd00::6"], "remote candidate: its name has several addresses"),
        (["127.0.0.1"], "remote candidate: no unicast address that can be reached"),
        (["fe80::1%eth0"], "remote candidate: no unicast address that can be reached"),
    ],
)
def test_answers_that_are_of_no_use(addresses: list[str], reason: str) -> None:
    a, _, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    wire.flush()
    a.agent.names.resolved(NAME, addresses, 0.1)
    a.agent.add_remote_candidate(named(port=99), 0.2)  # What is known is not asked again.
    wire.flush()
    assert (a.wishes, wire.log) == ([ResolveName(NAME)], [])
    assert dropped(a) == {reason: 2}


def test_one_answer_twice_is_one_address() -> None:
    a, _, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    wire.flush()
    a.agent.names.resolved(NAME, [THERE.host, THERE.host], 0.1)
    assert [candidate.address for candidate in a.agent.remote_candidates] == [THERE]


def test_an_answer_belongs_to_the_generation_that_asked() -> None:
    a, b, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    wire.flush()
    b.agent.restart(0.0)
    a.agent.set_remote_description(b.agent.local_description, 0.0)
    a.agent.names.resolved(NAME, [THERE.host], 0.1)
    assert a.agent.remote_candidates == []
    a.agent.add_remote_candidate(named(), 0.2)
    wire.flush()
    assert [candidate.address for candidate in a.agent.remote_candidates] == [THERE]
    assert a.wishes == [ResolveName(NAME)], "known names are not asked for again"


def test_ipv6_answers() -> None:
    here, there = TransportAddress("fd00::5", 1001), TransportAddress("fd00::6", 2002)
    a, b = Side(Role.CONTROLLING, here), Side(Role.CONTROLLED, there, seed=2)
    describe(a, b)
    wire = Wire(a, b)
    a.agent.add_remote_candidate(named(), 0.0)
    wire.flush()
    a.agent.names.resolved(NAME, ["FD00:0::6"], 0.0)
    wire.run(until=0.5)
    assert a.agent.selected_pair is not None
    assert there.host not in repr(a.agent.stats())


def test_silence_drops_the_candidate_after_its_time() -> None:
    a, _, wire = ready()
    a.agent.add_remote_candidate(named(), 0.0)
    wire.run(until=4.99)
    assert dropped(a) == {}
    wire.run(until=5.0)
    assert dropped(a) == {"remote candidate: its name did not resolve": 1}
    a.agent.names.resolved(NAME, [THERE.host], 5.1)
    assert a.agent.remote_candidates == []


def test_questions_are_paced_and_bounded() -> None:
    config = IceConfig(mdns=MdnsConfig(resolve_interval=0.1, max_resolving=3, max_names=5, max_candidates=7))
    a, _, wire = ready(config)
    for number in range(10):
        a.agent.add_remote_candidate(named(f"n{number}.local"), 0.0)
    for port in range(10):
        a.agent.add_remote_candidate(named("n0.local", port=9000 + port), 0.0)
    wire.flush()
    times = [(0.0, len(a.wishes))]
    while wire.step() and wire.now < 30:
        if len(a.wishes) != times[-1][1]:
            times.append((round(wire.now, 6), len(a.wishes)))
    # Three at once, paced; the other two when those are given up.
    assert times == [(0.0, 1), (0.1, 2), (0.2, 3), (5.0, 4), (5.1, 5)]
    assert dropped(a) == {
        "remote candidate: too many": 5 + 8,
        "remote candidate: its name did not resolve": 5 + 2,
    }


@pytest.mark.parametrize(
    "config",
    [
        IceConfig(mdns=MdnsConfig(mode=MdnsMode.OFF)),
        IceConfig(
            transport_policy=IceTransportPolicy.RELAY,
            turn_servers=[TurnServerConfig(url="turn:192.0.2.1", username="a", password="b")],
        ),
    ],
)
def test_nothing_is_asked_where_that_is_not_wanted(config: IceConfig) -> None:
    a = Side(Role.CONTROLLING, config=config)
    wire = Wire(a)
    a.agent.add_remote_candidate(named(), 0.0)
    wire.run(until=10.0)
    assert (a.wishes, wire.log) == ([], [])
    assert dropped(a) == {"remote candidate: a name instead of an address": 1}


@pytest.mark.parametrize("candidate", [named("x.example.org"), named("a.b.local")])
def test_other_names_are_left_alone(candidate: Candidate) -> None:
    a, _, wire = ready()
    a.agent.add_remote_candidate(candidate, 0.0)
    wire.flush()
    assert a.wishes == []
    assert dropped(a) == {"remote candidate: a name instead of an address": 1}


def test_no_question_for_a_generation_that_is_not_there() -> None:
    a, _, wire = ready()
    a.agent.add_remote_candidate(named(extensions=(("ufrag", "other"),)), 0.0)
    wire.flush()
    assert a.wishes == []
    assert len(a.agent._generations.early) == 1


@pytest.mark.parametrize("changes", [{"transport": "sctp"}, {"component": 2}])
def test_no_question_for_what_could_not_be_used_anyway(changes: dict[str, Any]) -> None:
    a, _, wire = ready()
    a.agent.add_remote_candidate(named(**changes), 0.0)
    wire.flush()
    assert a.wishes == []
    assert sum(dropped(a).values()) == 1


def test_a_closed_session_asks_nothing_more() -> None:
    a, _, wire = ready()
    for number in range(3):
        a.agent.add_remote_candidate(named(f"n{number}.local"), 0.0)
    a.agent.close(0.01)
    wire.flush()
    assert a.wishes == []
    assert a.agent.next_timeout() is None
    a.agent.names.resolved("n0.local", [THERE.host], 0.02)
    assert a.agent.remote_candidates == []


# -- ours --


def publisher(*bases: TransportAddress) -> tuple[Side, Wire]:
    side = Side(Role.CONTROLLING, *bases, config=PUBLISH)
    wire = Wire(side)
    wire.flush()
    return side, wire


def test_private_addresses_are_told_as_names_once_they_are_published() -> None:
    second, third = HERE._replace(port=1002), TransportAddress("fd00::5", 1001)
    side, wire = publisher(HERE, second, third)
    published = [wish for wish in side.wishes if isinstance(wish, PublishName)]
    assert [wish.host for wish in published] == [third.host, HERE.host], "one name for each address"
    assert (side.candidates, side.has_gathered) == ([], False)
    for wish in published:
        side.agent.names.published(wish.name, True, 0.1)
    wire.flush()
    texts = [candidate.to_sdp() for candidate in side.candidates]
    assert not any(host in repr((side.events, c.address)) for host in (HERE.host,) for c in side.candidates)
    names = {wish.host: wish.name for wish in published}
    assert all(is_mdns_name(name) and len(name) == 36 + 6 for name in names.values())
    assert [text.split()[4:6] for text in texts] == [
        [names[third.host], "1001"],
        [names[HERE.host], "1001"],
        [names[HERE.host], "1002"],
    ]
    assert isinstance(side.events[-1], GatheringCompleted), "nothing is told after the end"
    side.agent.close(1.0)
    wire.flush()
    assert {wish.name for wish in side.wishes if isinstance(wish, WithdrawName)} == set(names.values())


def test_public_addresses_keep_their_own_text() -> None:
    public = TransportAddress("198.51.100.7", 1001)
    side, _ = publisher(public)
    assert side.wishes == []
    assert [candidate.to_sdp().split()[4] for candidate in side.candidates] == [public.host]


def test_related_addresses_are_hidden_with_the_others() -> None:
    side, _wire = publisher(HERE)
    candidate = side.agent._local.add_reflexive(
        Base(HERE), TransportAddress("203.0.113.5", 4), TransportAddress("9.9.9.9", 1)
    )
    assert candidate is not None
    assert candidate.to_sdp().endswith("raddr 0.0.0.0 rport 9")


@pytest.mark.parametrize("answers", [True, False])
def test_what_cannot_be_published_is_not_told(answers: bool) -> None:
    side, wire = publisher(HERE)
    wish = side.wishes[0]
    assert isinstance(wish, PublishName)
    if answers:
        side.agent.names.published(wish.name, False, 0.1)
    wire.run(until=3.0)
    assert side.candidates == []
    assert len(side.of_type(GatheringCompleted)) == 1
    assert dropped(side) == {"own candidate: its name could not be published": 1}
    assert [type(each) for each in side.wishes[1:]] == ([] if answers else [WithdrawName])


def test_names_are_new_in_every_session() -> None:
    names = {Names(PUBLISH, random.Random(seed), lambda now: None).alias(HERE) for seed in range(20)}
    assert len(names) == 20
    assert None not in names


def test_two_that_both_hide() -> None:
    a, b = Side(Role.CONTROLLING, HERE, config=PUBLISH), Side(Role.CONTROLLED, THERE, seed=2, config=PUBLISH)
    wire = Wire(a, b)
    wire.flush()
    known: dict[str, str] = {}
    for side in (a, b):
        for wish in side.wishes:
            assert isinstance(wish, PublishName)
            known[wish.name] = wish.host
            side.agent.names.published(wish.name, True, 0.0)
        side.drain_events()
        side.wishes.clear()
    told = [Candidate.from_sdp(candidate.to_sdp()) for side in (a, b) for candidate in side.candidates]
    describe(a, b)
    for side, candidate in zip((b, a), told, strict=True):
        side.agent.add_remote_candidate(candidate, 0.0)
    wire.flush()
    for side in (a, b):
        for wish in side.wishes:
            assert isinstance(wish, ResolveName)
            side.agent.names.resolved(wish.name, [known[wish.name]], 0.0)
    wire.run(until=0.5)
    for side, others in ((a, THERE), (b, HERE)):
        assert side.agent.selected_pair is not None
        assert side.agent.selected_pair.path.remote == others
        everything = repr(side.agent.stats()) + repr(side.events)
        assert others.host not in everything
        assert HERE.host not in everything


def test_hidden_hosts_count_the_same_messages() -> None:
    """Names cost no message on the wire between the two: four, as without them."""
    a, b = Side(Role.CONTROLLING, HERE), Side(Role.CONTROLLED, THERE, seed=2)
    wire = Wire(a, b)
    exchange(a, b)
    wire.run(until=1.0)
    plain = len(wire.log)
    a, b, wire = ready()
    b.agent.add_remote_candidate(a.candidates[0], 0.0)
    a.agent.add_remote_candidate(named(), 0.0)
    a.agent.handle_timeout(0.0)
    a.agent.names.resolved(NAME, [THERE.host], 0.0)
    wire.run(until=1.0)
    assert len(wire.log) == plain == 4


@pytest.mark.parametrize(
    "settings", [{"max_names": 0}, {"resolve_timeout": 0.0}, {"hidden_networks": ["x"]}, {"resolve_interval": -1.0}]
)
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        MdnsConfig(**settings)
