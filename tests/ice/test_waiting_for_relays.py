"""Two relays, of which the lesser lets the peer in first: how long the better one's answer is waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.config import IceConfig
from ice.events import ErrorStage
from ice.relay import RelayState
from stun.address import TransportAddress
from stun.message import Method
from tests.ice.builders import remote
from tests.ice.relay_stage import CONFIG
from tests.ice.two_relays import BETTER, HOP, LESSER, TwoRelays
from turn.config import TurnClientConfig

PATIENCE = round(1000 * IceConfig().nomination_patience)
TRIP = round(2000 * HOP)
BY_BETTER, BY_LESSER = (TransportAddress(server.host, 50000) for server in (BETTER, LESSER))

both_ways = pytest.mark.parametrize("renomination", [True, False])


def sent(stage: TwoRelays) -> list[tuple[int, TransportAddress, bool]]:
    """Return when each of our checks went out, in ms, by which server, and whether it nominates."""
    nominations = {(at, server) for at, server, _ in stage.nominations}
    times = [(round(1000 * at), server) for at, server, _ in stage.checks]
    return [(*time, time in nominations) for time in times]


@both_ways
def test_the_better_one_is_nominated_if_it_lets_the_peer_in_within_the_patience(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.late[BETTER] = 0.03
    stage.meet()
    stage.wait(1.0)
    assert stage.selected == [BY_BETTER]
    # Ta, 50 ms, is what the check by the better one then waits for; with renomination it nominates.
    last = [] if renomination else [(50 + TRIP, BETTER, True)]
    assert sent(stage) == [(0, LESSER, False), (50, BETTER, renomination), *last]


@both_ways
def test_one_that_refuses_is_not_waited_for_any_longer(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.late[BETTER] = 0.03
    stage.refusing.add(BETTER)
    stage.meet()
    stage.wait(1.0)
    assert stage.problems == [(403, ErrorStage.PERMISSION)]
    assert stage.selected == [BY_LESSER]
    assert sent(stage) == [(0, LESSER, False), (30, LESSER, True)]


@both_ways
def test_one_that_says_nothing_is_waited_for_as_long_as_other_pairs(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.late[BETTER] = None
    stage.meet()
    stage.wait(1.0)
    assert stage.selected == [BY_LESSER]
    assert sent(stage) == [(0, LESSER, False), (TRIP + PATIENCE, LESSER, True)]


@both_ways
def test_one_that_is_lost_meanwhile_is_not_waited_for_any_longer(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.late[BETTER] = None
    stage.meet()
    stage.wait(0.03)
    assert stage.nominations == []
    stage.lose(BETTER)
    stage.wait(1.0)
    assert stage.problems == [(701, ErrorStage.RELAYING)]
    assert stage.selected == [BY_LESSER]
    assert sent(stage) == [(0, LESSER, False), (30, LESSER, True)]


@both_ways
def test_one_of_another_family_than_the_peers_address_is_not_waited_for(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination, better=replace(CONFIG, families=(6,)))
    stage.late[BETTER] = None
    assert stage.priority(BETTER) > stage.priority(LESSER)
    there = replace(remote(1), address=TransportAddress("2001:db8::5", 5000))
    stage.meet(there)
    stage.wait(1.0)
    assert [request.method for request in stage.server.requests].count(Method.CREATE_PERMISSION) == 1
    assert stage.selected == [BY_LESSER]
    first = [(0, LESSER, True)] if renomination else [(0, LESSER, False), (TRIP, LESSER, True)]
    assert sent(stage) == first


@both_ways
def test_a_lesser_one_is_never_waited_for(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.late[LESSER] = 0.03
    stage.meet()
    stage.wait(1.0)
    assert stage.selected == [BY_BETTER]
    assert sent(stage) == ([(0, BETTER, True)] if renomination else [(0, BETTER, False), (TRIP, BETTER, True)])


def test_what_was_refused_does_not_keep_the_first_check_by_the_other_from_nominating() -> None:
    stage = TwoRelays()
    stage.refusing.add(BETTER)
    stage.late[LESSER] = 0.03
    stage.meet()
    stage.wait(1.0)
    assert stage.selected == [BY_LESSER]
    assert sent(stage) == [(30, LESSER, True)]


def test_nor_does_a_relay_that_is_gone() -> None:
    stage = TwoRelays()
    stage.late = {BETTER: None, LESSER: 0.03}
    stage.meet()
    stage.lose(BETTER)
    stage.wait(1.0)
    assert stage.selected == [BY_LESSER]
    assert sent(stage) == [(30, LESSER, True)]


def test_nor_one_that_was_asked_for_more_than_it_may_hold() -> None:
    # TurnClientConfig.max_permissions: what is beyond is refused without asking.
    stage = TwoRelays(better=replace(CONFIG, client=TurnClientConfig(max_permissions=1)))
    stage.late = {BETTER: None, LESSER: 0.03}
    stage.agent.relays.permit("198.51.100.77", stage.now)
    stage.pump()
    stage.meet()
    stage.wait(1.0)
    assert stage.selected == [BY_LESSER]
    assert sent(stage) == [(30, LESSER, True)]


@both_ways
def test_nor_one_that_was_told_to_end_before_it_answered(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.late[BETTER] = None
    stage.meet()
    stage.wait(0.5)
    stage.server.mute |= {Method.REFRESH, Method.ALLOCATE}
    stage.wait(IceConfig().relay_grace)
    assert [relay.state for relay in stage.agent.stats().relays] == [RelayState.RELEASING, RelayState.ALLOCATED]
    stage.checks.clear()
    begun = round(1000 * stage.now)
    stage.restart()
    stage.wait(0.1)
    assert stage.selected == [BY_LESSER, BY_LESSER]
    last = [] if renomination else [(begun + TRIP, LESSER, True)]
    assert sent(stage) == [(begun, LESSER, renomination), *last]


@both_ways
def test_a_relay_that_a_restart_brings_back_is_asked_and_waited_for_anew(renomination: bool) -> None:
    stage = TwoRelays(renomination=renomination)
    stage.refusing.add(BETTER)
    stage.meet()
    stage.lose(BETTER)
    stage.wait(1.0)
    assert stage.selected == [BY_LESSER]
    stage.refusing.clear()
    stage.late[BETTER] = 0.03
    stage.checks.clear()
    stage.restart()
    begun = round(1000 * stage.now)
    stage.wait(0.02)
    assert stage.nominations == []
    stage.wait(1.0)
    assert stage.selected == [BY_LESSER, BY_BETTER]
    assert {server for _, server, _ in stage.nominations} == {BETTER}
    assert sent(stage)[0] == (begun, LESSER, False)
    assert stage.priority(BETTER) > stage.priority(LESSER)
