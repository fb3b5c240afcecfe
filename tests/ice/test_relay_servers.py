"""TURN servers that refuse, redirect, are silent or out of reach: what an agent makes of them, message by message."""

from __future__ import annotations

from typing import Any

import pytest

from ice.candidate import CandidateType
from ice.config import IceConfig
from ice.errors import FailureReason
from ice.events import CandidateErrorFound, ErrorStage, GatheringCompleted
from ice.relay import OpenLink, RelayState, RelayTarget
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.message import Method
from tests.ice.relay_stage import CONFIG, LOCAL, ONLY, OTHER, SERVER, Stage
from tests.turn.fake_server import Refusal
from turn.config import Credentials, TurnServerConfig
from turn.errors import TurnResolveError, TurnTlsError


@pytest.mark.parametrize("code", [401, 403, 440, 442, 486, 500, 508])
def test_what_the_server_refuses_is_told_by_its_code(code: int) -> None:
    stage = Stage()
    # The first answer is the challenge; a 401 after it is the verdict.
    stage.server.refuse(Method.ALLOCATE, *[code] * 8)
    stage.ask()
    stage.wait(10.0)
    assert stage.problems == [(code, ErrorStage.GATHERING)]
    [problem] = stage.of_type(CandidateErrorFound)
    assert str(code) in problem.error_text
    assert "turn:198.51.100.1" in problem.error_text
    assert not stage.candidates
    assert len(stage.of_type(GatheringCompleted)) == 1
    assert stage.agent.relays.is_idle
    assert stage.agent.stats().relays[0].state is RelayState.FAILED
    assert stage.agent.next_timeout() is None


def test_an_old_allocation_in_the_way_is_gone_round_from_another_port() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, 437, 437)
    stage.ask()
    assert len(stage.links) == 3
    assert len(stage.released) == 2
    assert len(stage.candidates) == 1
    assert not stage.problems


def test_it_is_gone_round_three_times_at_most() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, *[437] * 9)
    stage.ask()
    assert len(stage.links) == 4
    assert stage.problems == [(437, ErrorStage.GATHERING)]


def redirect(to: TransportAddress, domain: str | None = None) -> Refusal:
    extra: list[tuple[Any, Any]] = [(att.ALTERNATE_SERVER, to)]
    if domain is not None:
        extra.append((att.ALTERNATE_DOMAIN, domain))
    return Refusal(300, extra)


def test_a_redirect_is_followed_and_not_in_circles() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, redirect(OTHER))
    stage.ask()
    assert [link.target.server for link in stage.links] == [SERVER, OTHER]
    assert len(stage.candidates) == 1
    round_trip = Stage()
    for back in (OTHER, SERVER, OTHER):
        round_trip.server.refuse(Method.ALLOCATE, redirect(back))
    round_trip.ask()
    assert [link.target.server for link in round_trip.links] == [SERVER, OTHER]
    assert round_trip.problems == [(300, ErrorStage.GATHERING)]


@pytest.mark.parametrize(("domain", "shown"), [("two.example", "two.example"), (None, "one.example")])
def test_the_alternate_shows_the_name_of_the_redirect_before_the_configured_one(domain: str | None, shown: str) -> None:
    """RFC 8489 section 10: ALTERNATE-DOMAIN is what its certificate is for."""
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, redirect(OTHER, domain))
    stage.ask(TurnServerConfig(url=CONFIG.url, username="maria", password="secret", server_name="one.example"))
    assert [link.target.server_name for link in stage.links] == ["one.example", shown]


def test_servers_that_cannot_be_asked() -> None:
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    stage.agent.relays.server_failed(CONFIG, TurnResolveError("no such name", server=CONFIG.url), 0.0)
    stage.agent.relays.add_server(CONFIG, RelayTarget(SERVER, TransportProtocol.TLS), 0.0)
    effect = stage.agent.next_effect()
    assert isinstance(effect, OpenLink)
    assert not stage.of_type(GatheringCompleted)
    stage.agent.relays.link_failed(effect.number, TurnTlsError("self-signed", server=CONFIG.url), 0.1)
    stage.agent.end_of_stun_servers(0.1)
    stage.pump()
    assert stage.problems == [(701, ErrorStage.GATHERING)] * 2
    assert len(stage.of_type(GatheringCompleted)) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.0.1", "127.0.0.1"])
def test_a_relayed_address_that_no_peer_can_reach_is_no_candidate(host: str) -> None:
    stage = Stage()
    stage.server.families[4] = TransportAddress(host, 50000)
    stage.ask()
    assert not stage.candidates
    assert stage.problems == [(701, ErrorStage.GATHERING)]
    assert stage.requests() == {"ALLOCATE": 2, "REFRESH": 1}  # It was given back.
    assert stage.agent.relays.is_idle


def test_a_relayed_address_that_is_a_host_candidate_is_no_other() -> None:
    # RFC 8445 section 5.1.1.2: a relay that hands out our own address is of no use.
    stage = Stage(IceConfig(turn_servers=[CONFIG]))
    stage.agent.add_local_base(TransportAddress("198.51.100.1", 50000), 0.0)
    stage.ask()
    assert [candidate.type for candidate in stage.candidates] == [CandidateType.HOST]
    assert stage.requests() == {"ALLOCATE": 2, "REFRESH": 1}  # It was given back.
    assert stage.agent.relays.is_idle


def test_the_number_of_relays_is_limited() -> None:
    stage = Stage(IceConfig(turn_servers=[CONFIG], max_relays=2))
    for _ in range(3):
        stage.ask()
    assert len(stage.links) == 2
    assert stage.problems == [(701, ErrorStage.GATHERING)]


def test_a_silent_server_is_given_up_and_what_it_says_later_is_given_back() -> None:
    stage = Stage()
    stage.answers = False
    stage.ask()
    stage.wait(ONLY.gathering_timeout + 0.01)
    assert stage.problems == [(701, ErrorStage.GATHERING)]
    assert len(stage.of_type(GatheringCompleted)) == 1
    stage.wait(2.0)
    assert stage.agent.relays.is_idle
    assert len(stage.released) == 1
    assert stage.agent.next_timeout() is None


def test_once_one_relays_the_others_get_a_grace() -> None:
    stage = Stage()
    stage.ask()
    assert len(stage.candidates) == 1
    assert stage.agent.relays.is_gathering is False
    late = Stage(IceConfig(turn_servers=[CONFIG, CONFIG]))
    late.agent.begin_gathering(0.0)
    late.agent.relays.add_server(CONFIG, RelayTarget(SERVER, TransportProtocol.UDP), 0.0)
    late.agent.relays.add_server(CONFIG, RelayTarget(OTHER, TransportProtocol.TCP), 0.0)
    first, second = late.agent.next_effect(), late.agent.next_effect()
    assert isinstance(first, OpenLink)
    assert isinstance(second, OpenLink)
    late.agent.end_of_stun_servers(0.0)
    path = FiveTuple(LOCAL, SERVER)
    late.open[path] = first
    late.agent.relays.link_opened(first.number, path, 0.0)
    late.pump()
    late.wait(0.49)
    assert not late.of_type(GatheringCompleted)
    late.wait(0.02)
    assert len(late.of_type(GatheringCompleted)) == 1
    assert late.problems == [(701, ErrorStage.GATHERING)]


def test_credentials_are_fetched_when_the_server_refuses_the_old_ones() -> None:
    async def fetch() -> Credentials:
        raise AssertionError("the core fetches nothing")

    config = TurnServerConfig(url="turn:198.51.100.1", credentials=fetch)
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    target = RelayTarget(SERVER, TransportProtocol.UDP)
    stage.agent.relays.add_server(config, target, 0.0, Credentials("maria", "old"))
    stage.pump()
    assert [fetched.number for fetched in stage.fetches] == [0]
    stage.agent.relays.renew(0, Credentials("maria", "secret"), 0.0)
    stage.pump()
    assert len(stage.candidates) == 1


def test_a_failure_tells_why_there_is_no_relay() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, *[486] * 3)
    stage.ask()
    stage.describe()
    stage.agent.end_of_remote_candidates(stage.now)
    assert stage.agent.failure_detail == ""
    stage.wait(45.0)
    assert stage.agent.failure_reason is FailureReason.NO_CANDIDATE_PAIRS
    assert "486" in stage.agent.failure_detail
