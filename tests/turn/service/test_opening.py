"""Relayed addresses of allocations: even ports, pairs, held ports, ports that are taken, and what they cost."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Method
from tests.turn.service.stage import RELAY4, TCP, Pair, Stage, StageClient
from turn.service.config import RelayLimits

V6, BOTH = (att.REQUESTED_ADDRESS_FAMILY, 2), (att.ADDITIONAL_ADDRESS_FAMILY, 2)


def test_a_family_that_has_no_port_left_is_told_in_a_success() -> None:
    stage = Stage(ports=(50000, 50001))
    for port in (1, 2):
        StageClient(stage, port=port).allocate(V6)
    client = StageClient(stage)
    response = client.allocate(BOTH)
    problem = response.get(att.ADDRESS_ERROR_CODE)
    assert [relayed.host for relayed in client.relayed] == [RELAY4]
    assert problem is not None
    assert (problem.family, problem.code) == (2, 508)
    StageClient(stage, port=3).allocate()
    full = StageClient(stage, port=4)
    assert full.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), (att.EVEN_PORT, False)) == 508
    assert full.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), BOTH) == 508


def test_even_ports() -> None:
    for port in range(20):
        client = StageClient(Stage(seed=port))
        client.allocate((att.EVEN_PORT, False))
        assert client.relayed[0].port % 2 == 0


def test_the_next_port_is_held_for_its_token() -> None:
    stage = Stage()
    first = StageClient(stage)
    token = first.allocate((att.EVEN_PORT, True)).get(att.RESERVATION_TOKEN)
    assert token is not None
    assert len(stage.open) == 2
    stranger = StageClient(stage, "bob", port=5002)
    assert stranger.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), (att.RESERVATION_TOKEN, token)) == 508
    second = StageClient(stage, port=5001)
    second.allocate((att.RESERVATION_TOKEN, token))
    assert second.relayed[0] == TransportAddress(RELAY4, first.relayed[0].port + 1)
    third = StageClient(stage, port=5003)
    assert third.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), (att.RESERVATION_TOKEN, token)) == 508


def test_a_held_port_is_freed_after_30_seconds() -> None:
    stage = Stage()
    StageClient(stage).allocate((att.EVEN_PORT, True))
    stage.wait(29.9)
    assert len(stage.open) == 2
    stage.wait(0.2)
    assert len(stage.open) == 1
    assert stage.server.ports_in_use == 1


def test_a_held_port_counts_in_the_quotas_of_who_asked_for_it() -> None:
    stage = Stage(limits=RelayLimits(allocations_per_user=3))
    pair, ask = (att.EVEN_PORT, True), (Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
    token = StageClient(stage).allocate(pair).get(att.RESERVATION_TOKEN)
    assert StageClient(stage, port=5001).code(*ask, pair) == 486  # it needs two places, and there is one
    assert StageClient(stage, port=5002).code(*ask) == 0
    assert StageClient(stage, port=5003).code(*ask) == 486
    assert StageClient(stage, port=5004).code(*ask, (att.RESERVATION_TOKEN, token)) == 0  # has its place already
    stage.wait(31)
    assert StageClient(stage, port=5005).code(*ask) == 486
    stage.wait(600)
    assert len(stage.server._state.users) == len(stage.server._state.sources) == 0


def test_a_held_port_that_nobody_asks_for_gives_its_place_back() -> None:
    stage = Stage(limits=RelayLimits(allocations_per_user=2))
    StageClient(stage).allocate((att.EVEN_PORT, True))
    ask = (Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
    assert StageClient(stage, port=5001).code(*ask) == 486
    stage.wait(31)
    assert StageClient(stage, port=5001).code(*ask) == 0
    assert StageClient(stage, port=5002).code(*ask) == 486


def test_a_held_port_moves_to_the_quota_of_the_address_that_asks_for_it() -> None:
    stage = Stage(limits=RelayLimits(allocations_per_source=2))
    ask = (Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
    token = (att.RESERVATION_TOKEN, StageClient(stage).allocate((att.EVEN_PORT, True)).get(att.RESERVATION_TOKEN))
    for port in (1, 2):
        StageClient(stage, host="192.0.2.2", port=port).allocate()
    assert StageClient(stage, host="192.0.2.2", port=3).code(*ask, token) == 486
    assert StageClient(stage, host="192.0.2.3", port=3).code(*ask, token) == 0  # the token is still good
    assert StageClient(stage, port=5001).code(*ask) == 0
    assert StageClient(stage, port=5002).code(*ask) == 486


def test_taken_ports_are_passed_over() -> None:
    stage = Stage(ports=(50000, 50003), limits=RelayLimits(port_tries=64))
    stage.taken = {50000, 50001, 50003}
    client = StageClient(stage)
    client.allocate()
    assert client.relayed[0].port == 50002
    assert StageClient(stage, port=5001).code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17)) == 508
    assert stage.server.ports_in_use == 1


def test_no_pair_is_left_half_open() -> None:
    stage = Stage(ports=(50000, 50001))
    stage.taken = {50001}
    client = StageClient(stage)
    assert client.code(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), (att.EVEN_PORT, True)) == 508
    assert not stage.open
    assert stage.server.ports_in_use == 0
    assert len(stage.server._state.users) == 0


@pytest.mark.parametrize("pairs", [[], [(att.EVEN_PORT, True)]])
def test_a_client_that_is_gone_before_its_ports_are_bound_leaves_nothing(pairs: list[Pair]) -> None:
    stage = Stage()
    client = StageClient(stage, protocol=TCP)
    client.code(Method.REFRESH)
    server = stage.server
    server.receive_data(client.wire(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17), *pairs)[1], client.path, stage.now)
    server.path_closed(client.path, stage.now)
    stage.drain()  # the driver binds only now
    assert stage.opened == 1 + len(pairs)
    assert not stage.open
    assert not server.allocations
    assert server.ports_in_use == len(server._state.users) == len(server._state.sources) == 0
    assert server.next_timeout() is None
