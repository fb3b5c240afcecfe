"""The relay's rules: who gets a reservation, which circuits are admitted, and what they may carry."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from signalling.libp2p.circuit_messages import Limit, Status
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.relay import RelayRules, RequestBudget, Requester, network_of

CONFIG = RelayConfig(
    reservation_ttl=100.0,
    max_reservations=3,
    max_reservations_per_network=2,
    max_circuits=4,
    max_circuits_per_peer=2,
    max_circuits_per_network=3,
    circuit_duration=10,
    circuit_data=1000,
)


def peers(count: int) -> list[PeerId]:
    rng = random.Random(5)
    return [PeerId.from_public_key(PrivateKey.generate(rng).public_key) for _ in range(count)]


A, B, C, D, E = peers(5)


def asks(
    peer: PeerId, network: str | None = None, *, relayed: bool = False, connection: str | None = None
) -> Requester:
    """A request of ``peer``: by default each peer has a network and a connection of its own."""
    return Requester(peer, network or f"network of {peer}", relayed, connection or f"connection of {peer}")


@pytest.mark.parametrize(
    ("host", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2ff::9", "2001:db8:1:200::/56"),
        ("2001:db8:1:201::1", "2001:db8:1:200::/56"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/56"),
        (None, ""),
    ],
)
def test_a_network_is_an_ipv4_address_or_an_ipv6_56(host: str | None, network: str) -> None:
    assert network_of(host) == network


def test_a_reservation_lasts_for_its_time_and_is_refreshed() -> None:
    rules = RelayRules(CONFIG)
    status, held = rules.reserve(asks(A), 0.0)
    assert status is Status.OK
    assert held is not None
    assert held.expires_at == 100.0
    assert rules.reservation_of(A, 99.9) is held
    status, refreshed = rules.reserve(asks(A), 60.0)
    assert refreshed is not None
    assert refreshed.expires_at == 160.0
    assert rules.reservation_of(A, 100.0) is refreshed
    assert rules.reservation_of(A, 160.0) is None
    assert (rules.statistics.reservations_granted, rules.statistics.reservations_refreshed) == (1, 1)


def test_the_table_is_full_until_something_expires() -> None:
    rules = RelayRules(CONFIG)
    for at, peer in enumerate((A, B, C)):
        assert rules.reserve(asks(peer), float(at))[0] is Status.OK
    assert rules.reserve(asks(D), 50.0) == (Status.RESERVATION_REFUSED, None)
    assert rules.reserve(asks(A), 50.0)[0] is Status.OK, "a refresh needs no room"
    assert rules.reserve(asks(D), 101.0)[0] is Status.OK, "the reservation of B ran out at 101"
    assert {held.peer for held in rules.reservations()} == {A, C, D}


def test_one_network_gets_no_more_than_its_share() -> None:
    rules = RelayRules(CONFIG)
    assert rules.reserve(asks(A, "home"), 0.0)[0] is Status.OK
    assert rules.reserve(asks(B, "home"), 0.0)[0] is Status.OK
    assert rules.reserve(asks(C, "home"), 0.0) == (Status.RESERVATION_REFUSED, None)
    assert rules.reserve(asks(C, "away"), 0.0)[0] is Status.OK
    assert rules.reserve(asks(C, "home"), 1.0) == (Status.RESERVATION_REFUSED, None), "moving counts as new"
    rules.connection_closed("connection of " + str(A))
    assert rules.reserve(asks(C, "home"), 2.0)[0] is Status.OK


def test_a_reservation_ends_with_the_connection_that_made_it() -> None:
    rules = RelayRules(CONFIG)
    rules.reserve(asks(A, connection="first"), 0.0)
    rules.reserve(asks(A, connection="second"), 1.0)
    rules.connection_closed("first")
    assert rules.reservation_of(A, 2.0) is not None
    rules.connection_closed("second")
    assert rules.reservation_of(A, 2.0) is None


def test_nothing_is_granted_over_a_relayed_connection() -> None:
    rules = RelayRules(CONFIG)
    rules.reserve(asks(B), 0.0)
    assert rules.reserve(asks(A, relayed=True), 0.0) == (Status.PERMISSION_DENIED, None)
    assert rules.connect(asks(A, relayed=True), B, 0.0) == (Status.PERMISSION_DENIED, None)
    assert rules.statistics.refused[Status.PERMISSION_DENIED] == 2


def test_a_circuit_needs_a_reservation_of_its_target() -> None:
    rules = RelayRules(CONFIG)
    assert rules.connect(asks(A), B, 0.0) == (Status.NO_RESERVATION, None)
    rules.reserve(asks(B), 0.0)
    assert rules.connect(asks(A), B, 99.0)[0] is Status.OK
    assert rules.connect(asks(A), B, 100.0) == (Status.NO_RESERVATION, None)


def test_nobody_connects_to_oneself() -> None:
    rules = RelayRules(CONFIG)
    rules.reserve(asks(A), 0.0)
    assert rules.connect(asks(A), A, 0.0) == (Status.PERMISSION_DENIED, None)


def test_circuits_are_capped_by_peer_by_network_and_in_all() -> None:
    rules = RelayRules(CONFIG)
    for target in (A, B, C):
        rules.reserve(asks(target), 0.0)
    first = rules.connect(asks(D, "home"), A, 0.0)[1]
    second = rules.connect(asks(D, "home"), B, 0.0)[1]
    assert first is not None
    assert second is not None
    assert rules.connect(asks(D, "home"), C, 0.0) == (Status.RESOURCE_LIMIT_EXCEEDED, None), "the source has two"
    assert rules.connect(asks(E, "home"), A, 0.0)[0] is Status.OK
    assert rules.connect(asks(E, "home"), C, 0.0) == (Status.RESOURCE_LIMIT_EXCEEDED, None), "the network has three"
    assert rules.connect(asks(E, "away"), A, 0.0) == (Status.RESOURCE_LIMIT_EXCEEDED, None), "the target has two"
    assert rules.connect(asks(E, "away"), C, 0.0)[0] is Status.OK
    assert rules.connect(asks(B, "elsewhere"), C, 0.0) == (Status.RESOURCE_LIMIT_EXCEEDED, None), "there are four"
    rules.close_circuit(first)
    assert rules.connect(asks(B, "elsewhere"), C, 0.0)[0] is Status.OK


def test_a_circuit_that_the_target_refuses_frees_its_place() -> None:
    rules = RelayRules(replace(CONFIG, max_circuits=1))
    rules.reserve(asks(A), 0.0)
    circuit = rules.connect(asks(B), A, 0.0)[1]
    assert circuit is not None
    assert rules.refuse_circuit(circuit) is Status.CONNECTION_FAILED
    rules.close_circuit(circuit)
    assert list(rules.circuits()) == []
    assert rules.connect(asks(B), A, 0.0)[0] is Status.OK
    assert rules.statistics.circuits_closed == 0


def test_each_direction_has_the_whole_data_limit() -> None:
    rules = RelayRules(CONFIG)
    rules.reserve(asks(A), 0.0)
    circuit = rules.connect(asks(B), A, 0.0)[1]
    assert circuit is not None
    assert circuit.charge_to_target(600)
    assert circuit.charge_to_target(400)
    assert circuit.charge_to_source(1000)
    assert not circuit.charge_to_target(1)
    assert not circuit.charge_to_source(1)
    rules.close_circuit(circuit, cut=True)
    rules.close_circuit(circuit, cut=True)
    assert rules.statistics.bytes_relayed == 2002
    assert (rules.statistics.circuits_cut, rules.statistics.circuits_closed) == (1, 0)


def test_the_duration_counts_from_the_moment_both_ends_agreed() -> None:
    rules = RelayRules(CONFIG)
    rules.reserve(asks(A), 0.0)
    circuit = rules.connect(asks(B), A, 0.0)[1]
    assert circuit is not None
    rules.start_circuit(circuit, 3.0)
    assert circuit.deadline == 13.0
    assert rules.limit == Limit(duration=10, data=1000)


def test_an_unlimited_relay_tells_and_keeps_no_limit() -> None:
    rules = RelayRules(RelayConfig.unlimited())
    rules.reserve(asks(A), 0.0)
    circuit = rules.connect(asks(B), A, 0.0)[1]
    assert circuit is not None
    rules.start_circuit(circuit, 0.0)
    assert rules.limit is None
    assert circuit.deadline is None
    assert circuit.charge_to_target(1 << 40)


def test_requests_are_paid_for_by_peer_and_by_network() -> None:
    config = replace(
        CONFIG, peer_request_burst=3, peer_request_interval=10.0, network_request_burst=5, network_request_interval=5.0
    )
    rules = RelayRules(config)
    answers = [rules.reserve(asks(A, "home"), 0.0)[0] for _ in range(4)]
    assert answers == [Status.OK] * 3 + [Status.RESERVATION_REFUSED]
    assert rules.connect(asks(B, "home"), A, 0.0)[0] is Status.OK
    assert rules.connect(asks(C, "home"), A, 0.0) == (Status.RESOURCE_LIMIT_EXCEEDED, None), "the network has paid five"
    assert rules.reserve(asks(A, "home"), 10.0)[0] is Status.OK
    assert rules.reserve(asks(A, "home"), 10.0)[0] is Status.RESERVATION_REFUSED


def test_a_budget_forgets_who_rested_longest() -> None:
    budget = RequestBudget(burst=1, interval=10.0, max_keys=2)
    assert budget.take("a", 0.0)
    assert budget.take("b", 1.0)
    assert not budget.take("a", 2.0)
    assert budget.take("c", 3.0)
    assert len(budget) == 2
    assert budget.take("b", 4.0), "b made room for c"
    assert not budget.take("c", 4.0)
    assert budget.take("c", 14.0)


def test_two_thousand_clients_leave_nothing_behind() -> None:
    rules = RelayRules(replace(RelayConfig.private(), max_tracked_clients=16))
    rng = random.Random(1)
    for number in range(2000):
        client = PeerId(b"\x12\x20" + rng.randbytes(32))
        assert rules.reserve(asks(client, connection=f"c{number}"), float(number))[0] is Status.OK
        assert rules.connect(asks(A, f"n{number}"), client, float(number))[1] is not None
        for circuit in list(rules.circuits()):
            rules.close_circuit(circuit)
        rules.connection_closed(f"c{number}")
    sizes = [len(table) for table in vars(rules).values() if hasattr(table, "__len__")]
    assert sum(sizes) <= 3 * 16
