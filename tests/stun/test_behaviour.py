"""What is found of simulated NATs, against the switches that they were made with; virtual time, exact counts."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.behaviour import (
    Allocation,
    Filtering,
    Hairpin,
    Mapping,
    NatReport,
    NatTest,
    Sample,
    allocation_pattern,
    classify_mapping,
)
from stun.behaviour_client import ALL_TESTS, BehaviourClient, BindPort, ReleasePort
from stun.behaviour_server import BehaviourRules, other_addresses
from stun.config import BehaviourServerConfig
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method, parse
from tests.simulation import LinkProfile, World
from tests.simulation import nat_behaviour as sim
from tests.simulation.nat_behaviour import NatBehaviour, PortAllocation, PortSharing
from tests.simulation.stun_server import stun_server
from tests.stun.nats import OTHER, PRIMARY, Examiner, add_server

MAPPINGS = dict(zip(sim.Mapping, Mapping, strict=False))
FILTERINGS = dict(zip(sim.Filtering, Filtering, strict=False))
ALLOCATIONS = {
    PortAllocation.PRESERVE: Allocation.PRESERVING,
    PortAllocation.SEQUENTIAL: Allocation.SEQUENTIAL,
    PortAllocation.RANDOM: Allocation.RANDOM,
}


def examine(nat: NatBehaviour | None, **settings: object) -> NatReport:
    world = World(seed=2)
    add_server(world)
    return Examiner(world, nat, **settings).run()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mapping", "filtering", "allocation"),
    list(itertools.product(sim.Mapping, sim.Filtering, PortAllocation)),
    ids=lambda switch: switch.name.lower(),
)
def test_every_class_is_found(mapping: sim.Mapping, filtering: sim.Filtering, allocation: PortAllocation) -> None:
    report = examine(NatBehaviour(mapping=mapping, filtering=filtering, allocation=allocation))
    assert report.mapping is MAPPINGS[mapping]
    assert report.filtering is FILTERINGS[filtering]
    # A NAT that keeps ports can do so once a port; the other mappings of the port go anywhere.
    keeps = allocation is PortAllocation.PRESERVE
    independent = mapping is sim.Mapping.ENDPOINT_INDEPENDENT
    assert report.allocation is (Allocation.RANDOM if keeps and not independent else ALLOCATIONS[allocation])
    assert report.delta == (1 if allocation is PortAllocation.SEQUENTIAL else None)
    assert report.preserves_port is keeps
    # A packet to ourselves makes a mapping of its own where mappings depend on the destination.
    loops = independent or filtering is sim.Filtering.ENDPOINT_INDEPENDENT
    assert report.hairpin is (Hairpin.EXTERNAL_SOURCE if loops else Hairpin.NONE)
    assert (report.translated, report.rewrites_payload, report.fragments) == (True, False, True)
    assert (report.mapped.host if report.mapped else None, report.other_address) == ("203.0.113.9", OTHER)
    assert report.untold == ()


def test_linux_masquerade_looks_endpoint_independent() -> None:
    report = examine(NatBehaviour.linux_masquerade())
    assert (report.mapping, report.filtering) == (Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT)
    assert (report.allocation, report.preserves_port) == (Allocation.PRESERVING, True)
    assert report.hairpin is Hairpin.NONE


@pytest.mark.parametrize("loss", [0.1])
def test_loss_does_not_change_what_is_found(loss: float) -> None:
    for seed in range(10):
        world = World(seed=seed)
        add_server(world)
        link = LinkProfile(latency=0.02, loss=loss)
        report = Examiner(world, NatBehaviour.restricted_cone(), link=link).run()
        assert (report.mapping, report.filtering) == (Mapping.ENDPOINT_INDEPENDENT, Filtering.ADDRESS_DEPENDENT)


def test_no_nat_and_a_firewall() -> None:
    report = examine(None)
    assert (report.translated, report.mapped) == (False, report.local)
    assert (report.mapping, report.filtering) == (Mapping.ENDPOINT_INDEPENDENT, Filtering.ENDPOINT_INDEPENDENT)
    assert report.hairpin is None
    assert dict(report.untold)[NatTest.HAIRPIN] == "there is no NAT to turn packets round"
    report = examine(replace(NatBehaviour.firewall(), lifetime=60.0))
    assert (report.translated, report.filtering) == (False, Filtering.ADDRESS_AND_PORT_DEPENDENT)


def test_blocked_udp_is_told_after_one_request() -> None:
    world = World()
    add_server(world)
    examiner = Examiner(world, NatBehaviour.blocks_udp())
    report = examiner.run()
    assert (report.translated, report.mapping, report.filtering, report.hairpin) == (None, None, None, None)
    assert {why for _, why in report.untold} == {"the server does not answer"}
    assert examiner.driven.sent == 4
    assert world.now == pytest.approx(0.5 + 1 + 2 + 1.5)


@pytest.mark.parametrize(
    ("hairpin", "found"),
    [
        (sim.Hairpin.NONE, Hairpin.NONE),
        (sim.Hairpin.EXTERNAL_SOURCE, Hairpin.EXTERNAL_SOURCE),
        (sim.Hairpin.INTERNAL_SOURCE, Hairpin.INTERNAL_SOURCE),
    ],
)
def test_hairpin(hairpin: sim.Hairpin, found: Hairpin) -> None:
    assert examine(NatBehaviour(hairpin=hairpin), tests=frozenset({NatTest.HAIRPIN})).hairpin is found


def test_a_gateway_that_edits_payloads_is_noticed() -> None:
    assert examine(NatBehaviour(rewriting=sim.PayloadRewriting.ADDRESSES)).rewrites_payload is True


@pytest.mark.parametrize("lifetime", [20.0, 47.0, 120.0, 300.0])
@pytest.mark.parametrize("refresh", [sim.Refresh.OUTBOUND, sim.Refresh.BOTH])
def test_the_lifetime_of_mappings(lifetime: float, refresh: sim.Refresh) -> None:
    tests = frozenset({NatTest.LIFETIME})
    found = examine(NatBehaviour(lifetime=lifetime, refresh=refresh), tests=tests).lifetime
    assert found is not None
    assert found.dead is not None
    assert found.alive <= lifetime <= found.dead + 0.1
    assert found.dead - found.alive <= 5.0


def test_a_lifetime_beyond_what_is_tried() -> None:
    world = World()
    add_server(world)
    tests = frozenset({NatTest.LIFETIME})
    found = Examiner(world, NatBehaviour(lifetime=7200.0), tests=tests, lifetime_limit=100.0).run().lifetime
    assert found is not None
    assert (found.alive, found.dead) == (100.0, None)
    assert world.now < 110


def test_the_lifetime_needs_a_server_with_response_port() -> None:
    world = World()
    add_server(world, response_port=False)
    report = Examiner(world, NatBehaviour(), tests=ALL_TESTS).run()
    assert report.lifetime is None
    assert dict(report.untold)[NatTest.LIFETIME] == "the server answers 420 Unknown Attribute to RESPONSE-PORT"


LOCAL = TransportAddress("192.0.2.7", 4000)


def asking(tests: frozenset[NatTest] = ALL_TESTS) -> tuple[BehaviourClient, Message]:
    """A client that has asked its first question, and the question."""
    client = BehaviourClient(PRIMARY, random.Random(1), tests=tests)
    client.start(0.0)
    bind = client.next_effect()
    assert isinstance(bind, BindPort)
    client.port_bound(bind.key, LOCAL, 0.0)
    asked = client.next_effect()
    assert isinstance(asked, Transmit)
    return client, parse(asked.data)


def test_what_is_no_answer_is_dropped() -> None:
    client, question = asking()
    path = FiveTuple(LOCAL, PRIMARY)
    mapped = (att.XOR_MAPPED_ADDRESS, LOCAL)
    for message, at in (
        (Message(Method.ALLOCATE, MessageClass.SUCCESS, question.transaction_id, [mapped]), path),
        (Message(Method.BINDING, MessageClass.INDICATION, question.transaction_id, [mapped]), path),
        (Message(Method.BINDING, MessageClass.SUCCESS, bytes(12), [mapped]), path),
        # Whoever saw our request may send it to another of our ports; only a NAT turns it round to where it came from.
        (question, path._replace(local=LOCAL._replace(port=4001))),
    ):
        client._ports.add(at.local)
        client.receive_datagram(message.serialize(), at, 0.1)
    assert (client.dropped, client.next_event(), len(client._table)) == (4, None, 1)


def test_an_answer_with_what_we_do_not_understand_tells_nothing() -> None:
    """RFC 8489 section 6.3.3: an unknown comprehension-required attribute fails the transaction."""
    client, question = asking()
    odd = question.success((att.XOR_MAPPED_ADDRESS, LOCAL), (att.unknown_attribute(0x7FFE), b""))
    client.receive_datagram(odd.serialize(), FiveTuple(LOCAL, PRIMARY), 0.1)
    report = client.next_event()
    assert report is not None
    assert report.mapped is None
    assert report.untold == tuple((test, "the server's answer has no address") for test in NatTest)


def test_a_redirect_is_not_followed() -> None:
    """Section 4.1: ALTERNATE-SERVER counts only from an authenticated server, and ours are strangers."""
    client, question = asking()
    away = question.failure(300, "Try Alternate", (att.ALTERNATE_SERVER, TransportAddress("192.0.2.66", 1)))
    client.receive_datagram(away.serialize(), FiveTuple(LOCAL, PRIMARY), 0.1)
    report = client.next_event()
    assert report is not None
    assert {why for _, why in report.untold} == {"the server answers 300 Try Alternate"}
    assert client.next_effect() == ReleasePort(LOCAL)
    assert client.next_effect() is None


def test_a_server_with_two_ports_tells_what_it_can() -> None:
    for filtering, found in [
        (sim.Filtering.ADDRESS_DEPENDENT, Filtering.NOT_PORT_DEPENDENT),
        (sim.Filtering.ADDRESS_AND_PORT_DEPENDENT, Filtering.ADDRESS_AND_PORT_DEPENDENT),
    ]:
        world = World()
        add_server(world, other_host=None)
        report = Examiner(world, NatBehaviour(filtering=filtering)).run()
        assert report.filtering is found
        assert report.mapping is None
        assert "does not depend on the port" in dict(report.untold)[NatTest.MAPPING]
    world = World()
    add_server(world, other_host=None)
    report = Examiner(world, NatBehaviour.symmetric()).run()
    assert report.mapping is Mapping.ADDRESS_AND_PORT_DEPENDENT


class Stubborn(BehaviourRules):
    """A server that tells of its other address, and answers from the host, or host and port, that it was asked at."""

    keeps_port = True

    def respond(self, request: Message, path: FiveTuple, now: float) -> tuple[Message, FiveTuple] | None:
        answer = super().respond(request, path, now)
        if answer is None:
            return None
        response, way = answer
        port = path.local.port if self.keeps_port else way.local.port
        return response, way._replace(local=path.local._replace(port=port))


@pytest.mark.parametrize("keeps_port", [True, False])
@pytest.mark.parametrize("nat", [NatBehaviour.full_cone(), NatBehaviour.symmetric(), NatBehaviour.restricted_cone()])
def test_an_answer_from_where_it_was_not_asked_for_tells_no_filtering(nat: NatBehaviour, keeps_port: bool) -> None:
    world = World()
    server = add_server(world)
    rules = Stubborn(BehaviourServerConfig(), other_addresses(PRIMARY, OTHER.host, OTHER.port))
    rules.keeps_port = keeps_port
    server.machine._behaviour = rules
    report = Examiner(world, nat, tests=frozenset({NatTest.FILTERING})).run()
    if nat == NatBehaviour.symmetric() and not keeps_port:
        assert report.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT, "nothing came: what lets nothing in is told"
        return
    assert report.filtering is None
    came = PRIMARY if keeps_port else PRIMARY._replace(port=OTHER.port)
    assert dict(report.untold)[NatTest.FILTERING] == f"asked to answer from {OTHER}, the server answers from {came}"


def test_a_server_with_two_ports_that_keeps_to_one_tells_no_filtering() -> None:
    world = World()
    server = add_server(world, other_host=None)
    server.machine._behaviour = Stubborn(BehaviourServerConfig(), other_addresses(PRIMARY, None, OTHER.port))
    report = Examiner(world, NatBehaviour.symmetric(), tests=frozenset({NatTest.FILTERING})).run()
    assert report.filtering is None
    other = PRIMARY._replace(port=OTHER.port)
    assert dict(report.untold)[NatTest.FILTERING] == f"asked to answer from {other}, the server answers from {PRIMARY}"


@pytest.mark.parametrize(
    ("nat", "mapping"),
    [
        (NatBehaviour(), Mapping.ENDPOINT_INDEPENDENT),
        (NatBehaviour.address_dependent(), Mapping.ENDPOINT_DEPENDENT),
        (NatBehaviour.symmetric(), Mapping.ENDPOINT_DEPENDENT),
    ],
)
def test_two_ordinary_servers_tell_the_mapping(nat: NatBehaviour, mapping: Mapping) -> None:
    world = World()
    stun_server(world, PRIMARY.host, name="one")
    stun_server(world, "198.51.100.9", name="two")
    report = Examiner(world, nat, second=TransportAddress("198.51.100.9", 3478)).run()
    assert report.mapping is mapping
    assert report.filtering is None
    assert {test for test, _ in report.untold} == {NatTest.FILTERING, NatTest.FRAGMENTS}
    assert report.allocation is (
        Allocation.PRESERVING if nat.allocation is PortAllocation.PRESERVE else Allocation.RANDOM
    )


def test_one_ordinary_server_says_what_it_cannot_tell() -> None:
    world = World()
    stun_server(world, PRIMARY.host)
    report = Examiner(world, NatBehaviour()).run()
    assert (report.mapping, report.filtering, report.hairpin) == (None, None, Hairpin.EXTERNAL_SOURCE)
    assert "no second server was given" in dict(report.untold)[NatTest.MAPPING]


def test_no_more_than_ten_requests_a_second() -> None:
    world = World()
    add_server(world)
    examiner = Examiner(world, NatBehaviour.full_cone())
    times: list[float] = []
    world.observers.append(lambda now, packet, fate: times.append(now) if packet.source.host == "10.0.0.2" else None)
    examiner.run()
    starts = sorted(times)
    assert len(starts) == examiner.driven.sent
    for index in range(len(starts) - 11):
        assert starts[index + 11] - starts[index] >= 0.99


def test_each_filtering_test_has_a_port_that_never_talked_to_the_other_address() -> None:
    world = World()
    add_server(world)
    examiner = Examiner(world, NatBehaviour.restricted_cone(), tests=frozenset({NatTest.FILTERING}))
    seen: dict[int, set[TransportAddress]] = {}
    world.observers.append(
        lambda now, packet, fate: (
            seen.setdefault(packet.source.port, set()).add(packet.destination)
            if packet.source.host == "10.0.0.2"
            else None
        )
    )
    assert examiner.run().filtering is Filtering.ADDRESS_DEPENDENT
    assert len(seen) == 3
    assert all(destinations == {PRIMARY} for destinations in seen.values())


def test_the_second_server_has_to_be_elsewhere() -> None:
    for second in (TransportAddress(PRIMARY.host, 1), TransportAddress("2001:db8::1", 1)):
        with pytest.raises(ValueError, match="second server"):
            BehaviourClient(PRIMARY, random.Random(1), second=second)


# -- the inferences alone --


def at(port: int) -> TransportAddress:
    return TransportAddress("203.0.113.9", port)


def test_the_classes_of_mappings() -> None:
    assert classify_mapping(at(1), None, None) is None
    assert classify_mapping(at(1), at(1), None) is Mapping.ENDPOINT_INDEPENDENT
    assert classify_mapping(at(1), at(2), at(2)) is Mapping.ADDRESS_DEPENDENT
    assert classify_mapping(at(1), at(2), at(3)) is Mapping.ADDRESS_AND_PORT_DEPENDENT
    assert classify_mapping(at(1), at(2), None) is Mapping.ENDPOINT_DEPENDENT


@pytest.mark.parametrize(
    ("ports", "found"),
    [
        ([7, 9, 11, 13], (Allocation.SEQUENTIAL, 2)),
        ([7, 8, 11, 12, 13], (Allocation.SEQUENTIAL, 1)),
        ([20, 19, 18, 17], (Allocation.SEQUENTIAL, -1)),
        ([65534, 65535, 1024, 1025, 1026], (Allocation.SEQUENTIAL, 1)),
        ([7, 9000, 300, 41000], (Allocation.RANDOM, None)),
        ([7, 7, 9], (None, None)),
        ([1000, 1001, 1002], (Allocation.PRESERVING, None)),
    ],
)
def test_patterns_of_ports(ports: list[int], found: tuple[Allocation | None, int | None]) -> None:
    inner = [1000, 1001, 1002, 1003, 1004]
    samples = [
        Sample(TransportAddress("10.0.0.2", local), PRIMARY, at(port))
        for local, port in zip(inner, ports, strict=False)
    ]
    assert allocation_pattern(samples) == found


def test_a_nat_that_shares_ports_by_remote_keeps_them_all() -> None:
    nat = NatBehaviour(mapping=sim.Mapping.ADDRESS_DEPENDENT, sharing=PortSharing.BY_REMOTE)
    assert examine(nat).mapping is Mapping.ENDPOINT_INDEPENDENT
