"""Relays that a restart finds on their way out: they are begun anew at once, beside what is left of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.events import GatheringCompleted
from ice.relay import RelayState
from stun.address import TransportAddress, TransportProtocol
from stun.message import Method
from tests.ice.relay_stage import CONFIG, Stage
from tests.ice.two_relays import BETTER, LESSER, TwoRelays
from turn.config import RelayTransport, TurnClientConfig

GRACE = IceConfig().relay_grace
CLOSING = TurnClientConfig().close_timeout
BY_BETTER = TransportAddress(BETTER.host, 50000)
OLD, NEW = TransportAddress(LESSER.host, 50000), TransportAddress(LESSER.host, 50007)


def states(stage: Stage) -> list[RelayState]:
    return [relay.state for relay in stage.agent.stats().relays]


def relayed(stage: Stage) -> list[TransportAddress]:
    """Return the relayed addresses that pairs are formed with."""
    own = stage.agent._local.own.values()
    return [each.address for each in own if each.type is CandidateType.RELAYED]  # type: ignore[misc]


def releasing() -> TwoRelays:
    """Return a session on the better of two relays, whose other one has been told to end and does not answer."""
    stage = TwoRelays()
    stage.meet()
    stage.wait(0.5)
    stage.server.mute.add(Method.REFRESH)
    stage.wait(GRACE)
    assert states(stage) == [RelayState.ALLOCATED, RelayState.RELEASING]
    return stage


@pytest.mark.parametrize("again", [NEW, OLD])
def test_one_that_is_being_released_is_begun_anew_at_once(again: TransportAddress) -> None:
    stage = releasing()
    old = stage.link(LESSER)
    stage.ports[LESSER] = again.port
    stage.restart()
    assert states(stage) == [RelayState.ALLOCATED, RelayState.ALLOCATED]
    assert sorted(relayed(stage)) == sorted([BY_BETTER, again])
    assert stage.link(LESSER) != old
    assert old not in stage.released
    stage.wait(CLOSING)
    assert old in stage.released
    assert states(stage) == [RelayState.ALLOCATED, RelayState.ALLOCATED], "the end of the old one is not its end"
    assert set(stage.agent.relays.by_base.values()) == set(stage.agent.relays.by_path.values())
    assert len(stage.agent.relays.by_path) == 2
    assert {candidate.address for candidate in stage.agent.local_candidates} == {BY_BETTER, again}
    assert {base.address for base in stage.agent._sources._bases} == {BY_BETTER, again}
    assert stage.selected == [BY_BETTER, BY_BETTER]


def test_gathering_is_complete_when_that_has_come_of_it() -> None:
    stage = releasing()
    stage.server.mute.add(Method.ALLOCATE)
    stage.restart()
    assert states(stage) == [RelayState.ALLOCATED, RelayState.ALLOCATING]
    assert stage.agent.relays.is_gathering
    ufrag = stage.agent.local_description.ufrag
    assert ufrag not in [event.ufrag for event in stage.of_type(GatheringCompleted)]


def test_no_more_than_one_is_on_its_way_out_however_often_that_happens() -> None:
    stage = releasing()
    stage.server.mute.add(Method.ALLOCATE)
    for _ in range(5):
        stage.restart()
        stage.wait(0.1)  # A pair is selected, and what is still asked for is not needed.
        assert states(stage) == [RelayState.ALLOCATED, RelayState.RELEASING]
        assert sum(path.remote == LESSER for path in stage.agent.relays.by_path) <= 2
    stage.wait(CLOSING)
    assert states(stage) == [RelayState.ALLOCATED, RelayState.RELEASED]
    assert len(stage.open) - len(set(stage.released)) == len(stage.agent.relays.by_path) == 1


def test_one_that_was_given_up_is_begun_anew_before_it_has_ended() -> None:
    stage = Stage()
    stage.answers = False
    stage.ask()
    stage.describe()
    stage.wait(IceConfig().gathering_timeout)
    assert states(stage) == [RelayState.FAILED]
    assert not stage.agent.relays.is_idle
    stage.answers = True
    stage.agent.restart(stage.now)
    stage.pump()
    assert states(stage) == [RelayState.ALLOCATED]
    assert stage.agent.stats().relays[0].error_code is None
    stage.wait(CLOSING)
    assert states(stage) == [RelayState.ALLOCATED]
    assert len(stage.released) == 1


def test_the_candidates_of_a_tcp_allocation_are_dropped_as_well() -> None:
    stage = Stage(replace(IceConfig(), turn_servers=()))
    stage.ask(replace(CONFIG, transport=RelayTransport.TCP), TransportProtocol.TCP)
    stage.describe()
    before = relayed(stage)
    assert len(before) == 2
    stage.agent.relays._release(stage.agent.relays._relays[0], stage.now)
    stage.pump()
    stage.server.families = {4: NEW}
    stage.agent.restart(stage.now)
    stage.pump()
    assert {address.host for address in relayed(stage)} == {NEW.host}
    assert len(relayed(stage)) == 2
