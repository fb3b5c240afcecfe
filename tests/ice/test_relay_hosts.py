"""A peer that restarts with one address after another: its hosts, by relay, are let in as long as they are of use."""

from __future__ import annotations

from dataclasses import replace

from ice.candidate import Base
from ice.config import IceConfig
from ice.events import ErrorStage, State
from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Method
from tests.ice.relay_stage import CONFIG, PEER
from tests.ice.two_relays import BETTER, TwoRelays
from turn.client import TurnClient
from turn.config import TurnClientConfig

CLIENT = TurnClientConfig()
CONSENT = IceConfig().consent_timeout
RENEWAL = CLIENT.permission_lifetime - CLIENT.permission_margin
BY_BETTER = TransportAddress(BETTER.host, 50000)
BASE = Base(BY_BETTER)
OTHER_PORT = PEER._replace(port=PEER.port + 1)
UNPERMITTED = "relayed: no permission"


def place(number: int) -> TransportAddress:
    return TransportAddress(f"203.0.113.{100 + number}", 5000)


def meeting(**client: int) -> TwoRelays:
    """Return a session on the better relay."""
    stage = TwoRelays(better=replace(CONFIG, client=TurnClientConfig(**client)))
    stage.meet()
    stage.wait(1.0)
    assert stage.selected == [BY_BETTER]
    return stage


def restart_at(stage: TwoRelays, address: TransportAddress) -> None:
    """The peer is at another address, and both sides restart."""
    stage.move_peer(address)
    stage.restart()
    stage.wait(1.0)
    pair = stage.agent.selected_pair
    assert pair is not None
    assert pair.path.local == BY_BETTER
    assert pair.path.remote == address


def client(stage: TwoRelays) -> TurnClient:
    found = stage.agent.relays.by_base[BASE].client
    assert found is not None
    return found


def named(stage: TwoRelays, *methods: Method) -> set[str]:
    """Return the hosts that the servers have been asked to let in since this was last asked."""
    found = {
        peer.host
        for request in stage.server.requests
        if request.method in methods
        for peer in request.get_all(att.XOR_PEER_ADDRESS)
    }
    stage.server.requests.clear()
    return found


def test_what_forgotten_generations_had_is_let_go() -> None:
    stage = meeting()
    for number in range(4):
        restart_at(stage, place(number))
        stage.wait(CONSENT)
        named(stage)
        stage.wait(700.0)
        assert named(stage, Method.CREATE_PERMISSION, Method.CHANNEL_BIND) == {place(number).host}
        assert stage.agent.state is State.COMPLETED
    assert stage.agent.relays._hosts == (place(3).host,)
    assert stage.agent._local._permissions == {(BASE, place(3).host, 0)}
    assert client(stage).channel_peers == (place(3),)
    for gone in (PEER, place(2)):
        assert client(stage).encode(gone, b"x") is None
        assert not stage.lets_in(BETTER, gone.host)
    assert stage.agent.stats().dropped.get(UNPERMITTED, 0) == 0
    assert stage.problems == []


def test_a_peer_that_restarts_often_is_never_one_host_too_many() -> None:
    stage = meeting(max_permissions=4)
    for number in range(12):
        restart_at(stage, place(number))
        stage.wait(10.0)
        assert len(stage.agent.relays._hosts) <= 4
    assert stage.problems == []
    assert len(stage.selected) == 13


def test_one_that_never_connects_fills_nothing_either() -> None:
    stage = TwoRelays(better=replace(CONFIG, client=TurnClientConfig(max_permissions=4)))
    stage.meet()
    for number in range(12):
        stage.move_peer(place(number))
        stage.restart()
        assert len(stage.agent.relays._hosts) <= 2
    assert stage.problems == []
    assert set(stage.agent.relays._hosts) == {place(10).host, place(11).host}


def test_without_relays_they_are_forgotten_as_well() -> None:
    stage = meeting()
    agent = stage.far.agent
    for number in range(3):
        restart_at(stage, place(number))
        stage.wait(2 * CONSENT)
    assert not agent.relays.in_use
    assert set(agent.relays._hosts) <= {candidate.address.host for candidate in stage.agent.local_candidates}


def test_the_pair_in_use_keeps_its_host_through_a_restart_that_nobody_answers() -> None:
    stage = meeting()
    stage.agent.restart(stage.now)
    stage.wait(700.0)
    assert stage.agent.state is State.CONNECTED
    assert stage.lets_in(BETTER, PEER.host)
    assert client(stage).channel_peers == (PEER,)


def test_the_last_generation_keeps_its_host_as_long_as_its_checks_are_answered() -> None:
    stage = meeting()
    stage.wait(2 * RENEWAL - 1.0)
    named(stage)
    restart_at(stage, place(0))
    assert len(stage.agent._generations.kept) == 2
    assert named(stage, Method.CREATE_PERMISSION) == {PEER.host, place(0).host}
    assert client(stage).is_permitted(PEER.host)
    stage.wait(CONSENT - 2.0)
    assert client(stage).is_permitted(PEER.host)
    stage.wait(2.0)
    assert not client(stage).is_permitted(PEER.host)


def test_a_host_that_comes_back_is_let_in_again() -> None:
    stage = meeting()
    restart_at(stage, place(0))
    stage.wait(2 * CONSENT)
    restart_at(stage, PEER)
    stage.wait(700.0)
    assert stage.agent.state is State.COMPLETED
    assert stage.problems == []


def test_of_one_host_the_channels_to_ports_that_are_gone_are_let_go() -> None:
    stage = meeting()
    for port in range(6000, 6004):
        restart_at(stage, PEER._replace(port=port))
        stage.wait(2 * CONSENT)
    assert client(stage).channel_peers == (PEER._replace(port=6003),)
    stage.server.requests.clear()
    stage.wait(CLIENT.channel_lifetime)
    binds = [request for request in stage.server.requests if request.method is Method.CHANNEL_BIND]
    assert {peer for request in binds for peer in request.get_all(att.XOR_PEER_ADDRESS)} == {PEER._replace(port=6003)}


# -- renewals that are refused --


def refused() -> TwoRelays:
    """Return a session whose server has refused to renew the permission of the peer's host; a channel leads there."""
    stage = meeting()
    stage.refusing.add(BETTER)
    stage.wait(RENEWAL + 1.0)
    assert stage.problems == [(403, ErrorStage.PERMISSION)]
    assert not client(stage).is_permitted(PEER.host)
    assert client(stage).has_channel(PEER)
    return stage


def pairs(stage: TwoRelays) -> set[TransportAddress]:
    """Return whereto there are pairs by the better relay in the current generation."""
    checklist = stage.agent._generations.current.checking.checklist
    return {pair.path.remote for pair in checklist if pair.path.local == BY_BETTER}


def test_a_later_generation_forms_no_pairs_to_a_host_whose_renewal_was_refused() -> None:
    stage = refused()
    stage.move_peer(OTHER_PORT)
    stage.restart()
    stage.wait(1.0)
    assert pairs(stage) == set()
    assert stage.agent.stats().dropped.get(UNPERMITTED, 0) == 0
    assert stage.problems == [(403, ErrorStage.PERMISSION)] * 2, "it is asked again, once"


def test_it_forms_that_which_a_channel_leads_to() -> None:
    stage = refused()
    stage.restart()
    stage.wait(1.0)
    assert pairs(stage) == {PEER}
    assert stage.selected == [BY_BETTER, BY_BETTER]
    assert stage.agent.stats().dropped.get(UNPERMITTED, 0) == 0


def test_not_any_more_when_the_channel_is_refused_too() -> None:
    stage = refused()
    stage._admitted[BETTER, PEER.host] = float("inf")  # The server goes on with what it has.
    assert stage.agent._local._permissions == {(BASE, PEER.host, PEER.port)}
    stage.wait(CLIENT.channel_lifetime - CLIENT.channel_margin + 1.0 - stage.now)
    assert client(stage).channel_peers == ()
    assert stage.agent._local._permissions == set()


def test_it_is_let_in_again_when_the_server_has_changed_its_mind() -> None:
    stage = refused()
    stage.refusing.clear()
    restart_at(stage, OTHER_PORT)
    assert stage.agent._local._permissions >= {(BASE, PEER.host, 0)}


def test_or_when_the_channel_is_renewed() -> None:
    stage = refused()
    stage._admitted[BETTER, PEER.host] = float("inf")
    stage.refusing.clear()
    stage.wait(CLIENT.channel_lifetime)
    assert client(stage).is_permitted(PEER.host)
    assert (BASE, PEER.host, 0) in stage.agent._local._permissions


def test_a_host_that_is_refused_is_asked_for_once_in_a_generation() -> None:
    stage = TwoRelays()
    stage.refusing.add(BETTER)
    more = [replace(stage.far.candidates[0], address=PEER._replace(port=port)) for port in range(7000, 7005)]
    stage.meet(*more)
    stage.wait(0.1)
    assert stage.problems == [(403, ErrorStage.PERMISSION)]
    stage.restart()
    stage.wait(0.1)
    assert stage.problems == [(403, ErrorStage.PERMISSION)] * 2
