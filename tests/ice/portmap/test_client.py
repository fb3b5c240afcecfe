"""The client of port mapping against gateways in virtual time: exact counts, lies, losses, reboots."""

from __future__ import annotations

import itertools
import random

import pytest

from ice.candidate import Base
from ice.portmap import pcp
from ice.portmap.client import PortmapClient
from ice.portmap.config import PortmapConfig
from ice.portmap.events import PortMapped, PortMappingFailed, PortUnmapped, UpnpMap, UpnpUnmap
from ice.portmap.protocol import PortMapperProtocol
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from tests.ice.portmap.fake_gateway import BASE, GATEWAY, HERE, FakeGateway, Stage

OUTER = TransportAddress("203.0.113.9", 61001)
PCP, NAT_PMP, UPNP = PortMapperProtocol.PCP, PortMapperProtocol.NAT_PMP, PortMapperProtocol.UPNP_IGD


def mapped(external: TransportAddress = OUTER, protocol: PortMapperProtocol = PCP, base: Base = BASE) -> PortMapped:
    return PortMapped(base, external, GATEWAY.host, protocol)


# -- the way from nothing to a mapping and back --


def test_pcp_maps_with_one_request_and_deletes_with_one() -> None:
    stage = Stage(FakeGateway())
    stage.map()
    assert stage.events == [mapped()]
    assert stage.gateway.requests == [(0.0, "pcp", 7200)]
    stage.client.close(1.0)
    stage.pump()
    assert stage.events[1:] == [PortUnmapped(BASE, OUTER, "not needed any more")]
    assert (stage.gateway.count(), stage.gateway.mappings) == ({"pcp": 2}, {})
    assert stage.client.is_idle
    assert stage.client.next_timeout() is None


def test_a_gateway_that_knows_nat_pmp_only_says_so_and_is_asked_in_it_at_once() -> None:
    gateway = FakeGateway("nat-pmp")
    gateway.refuses_old_versions = True
    stage = Stage(gateway)
    stage.map()
    assert stage.events == [mapped(TransportAddress("203.0.113.9", 5000), NAT_PMP)]
    assert stage.gateway.requests == [(0.0, "pcp", 7200), (0.0, "address", 0), (0.0, "nat-pmp", 7200)]
    stage.client.close(1.0)
    stage.pump()
    assert stage.client.is_idle
    assert gateway.mappings == {}
    assert gateway.count() == {"pcp": 1, "address": 1, "nat-pmp": 2}


def test_one_that_is_silent_to_pcp_is_asked_in_nat_pmp_after_the_head_start() -> None:
    stage = Stage(FakeGateway("nat-pmp"))
    stage.map()
    stage.wait(2.0)
    assert [(at, kind) for at, kind, _ in stage.gateway.requests] == [(0.0, "pcp"), (0.4, "address"), (0.4, "nat-pmp")]
    assert [event.protocol for event in stage.events] == [NAT_PMP]


def test_upnp_comes_last() -> None:
    stage = Stage(FakeGateway("nothing"), upnp=True)
    stage.map()
    stage.wait(0.79)
    assert stage.upnp == []
    stage.wait(0.8)
    assert stage.upnp == [UpnpMap(BASE, 5000, 7200)]
    stage.client.upnp_mapped(BASE, OUTER, 7200, 0.9)
    stage.pump()
    assert stage.events == [mapped(protocol=UPNP)]
    before = len(stage.gateway.requests)
    stage.wait(3000)
    assert len(stage.gateway.requests) == before, "the others are not asked any more"
    stage.client.close(3000)
    stage.pump()
    assert stage.upnp[1:] == [UpnpUnmap(BASE, OUTER.port)]
    assert not stage.client.is_idle
    stage.client.upnp_unmapped(BASE, 3000.1)
    assert stage.client.is_idle


def test_upnp_that_maps_after_the_end_is_taken_back() -> None:
    stage = Stage(FakeGateway("nothing"), upnp=True)
    stage.map()
    stage.wait(1.0)
    stage.client.close(1.0)
    stage.pump()
    assert not stage.client.is_idle
    stage.client.upnp_mapped(BASE, OUTER, 7200, 1.1)
    stage.pump()
    assert stage.upnp[1:] == [UpnpUnmap(BASE, OUTER.port)]
    stage.client.upnp_unmapped(BASE, 1.2)
    assert stage.client.is_idle
    assert stage.events == []


def test_upnp_without_end_is_not_renewed() -> None:
    stage = Stage(FakeGateway("nothing"), PortmapConfig(protocols=[UPNP]), upnp=True)
    stage.map()
    stage.client.upnp_mapped(BASE, OUTER, 0, 0.1)
    stage.wait(10**6)
    assert stage.upnp == [UpnpMap(BASE, 5000, 7200)]


def test_nobody_answers() -> None:
    stage = Stage(FakeGateway("nothing"))
    stage.map()
    stage.wait(1000)
    sent = [(round(at, 2), kind) for at, kind, _ in stage.gateway.requests]
    addresses = [at for at, kind in sent if kind == "address"]
    assert addresses == [0.4, 0.65, 1.15, 2.15, 4.15, 8.15, 16.15, 32.15, 64.15], "RFC 6886 section 3.1"
    waits = [at for at, kind in sent if kind == "pcp"]
    assert len(waits) == 7
    gaps = [later - earlier for earlier, later in itertools.pairwise(waits)]
    for gap, nominal in zip(gaps, [3, 6, 12, 24, 48, 96], strict=True):
        assert nominal * 0.9 - 0.01 <= gap <= nominal * 1.1 + 0.01, "RFC 6887 section 8.1.1"
    assert stage.events == [PortMappingFailed(BASE, "PCP: no answer")]
    assert stage.client.next_timeout() is None


def test_lost_datagrams_are_sent_again() -> None:
    stage = Stage(FakeGateway("pcp"), PortmapConfig(protocols=[PCP]))
    stage.lost = 2
    stage.map()
    stage.wait(20)
    assert stage.events == [mapped()]
    assert len(stage.gateway.requests) == 1


def test_nat_pmp_asks_one_thing_at_a_time() -> None:
    stage = Stage(FakeGateway("nat-pmp"), PortmapConfig(protocols=[NAT_PMP]))
    stage.lost = 3  # The question for the address; nothing else is sent meanwhile.
    for port in (5000, 5001, 5002):
        stage.map(Base(TransportAddress(HERE.host, port)))
    stage.wait(10)
    assert [kind for _, kind, _ in stage.gateway.requests] == ["address", "nat-pmp", "nat-pmp", "nat-pmp"]
    assert len(stage.events) == 3


def test_tcp_and_udp_on_one_port_are_two_mappings() -> None:
    stage = Stage(FakeGateway())
    tcp = Base(BASE.address, TransportProtocol.TCP)
    stage.map()
    stage.map(tcp)
    assert {event.base for event in stage.events} == {BASE, tcp}
    assert set(stage.gateway.mappings) == {(TransportProtocol.UDP, 5000), (TransportProtocol.TCP, 5000)}
    stage.client.unmap(tcp, 1.0)
    stage.pump()
    assert set(stage.gateway.mappings) == {(TransportProtocol.UDP, 5000)}


# -- renewal --


@pytest.mark.parametrize("dialect", [PCP, NAT_PMP])
def test_renewed_between_half_and_five_eighths_of_the_lifetime(dialect: PortMapperProtocol) -> None:
    stage = Stage(FakeGateway(), PortmapConfig(protocols=[dialect]))
    stage.map()
    stage.wait(3599)
    kind = "pcp" if dialect is PCP else "nat-pmp"
    assert stage.gateway.count()[kind] == 1
    stage.wait(4501)
    assert stage.gateway.count()[kind] == 2
    stage.wait(7200 * 20)
    assert len(stage.events) == 1, "nothing changes for the application"
    assert 20 * 8 / 5 <= stage.gateway.count()[kind] <= 20 * 2 + 2


def test_renewals_that_are_lost_come_closer_and_then_the_mapping_is_gone_and_made_anew() -> None:
    stage = Stage(FakeGateway("pcp"), PortmapConfig(protocols=[PCP]))
    stage.map()
    times: list[float] = []
    stage.gateway.speaks = {"nothing"}
    stage.wait(7199)
    times = [at for at, *_ in stage.gateway.requests[1:]]
    for number, at in enumerate(times[:8], start=1):
        low = 7200 * (1 - 0.5**number)
        assert low <= at <= low + 7200 * 0.5 ** (number + 2) + 4, number
    assert all(later - earlier >= 4 - 1e-6 for earlier, later in itertools.pairwise(times))
    assert stage.events == [mapped()]
    stage.wait(7200)
    assert stage.events[1:] == [PortUnmapped(BASE, OUTER, "it could not be renewed")]
    stage.gateway.speaks = {"pcp"}
    stage.wait(7204)
    assert stage.events[2:] == [mapped()], "the same port is suggested and given"


def test_a_renewal_that_is_refused_keeps_what_is_held_to_its_end() -> None:
    stage = Stage(FakeGateway("pcp"), PortmapConfig(protocols=[PCP]))
    stage.map()
    stage.gateway.result = pcp.PcpResult.NO_RESOURCES
    stage.wait(7199)
    assert stage.events == [mapped()]
    stage.wait(7200)
    assert stage.events[1:] == [
        PortUnmapped(BASE, OUTER, "it could not be renewed"),
        PortMappingFailed(BASE, "PCP: no resources"),
    ]


# -- state that is lost --


@pytest.mark.parametrize("dialect", [PCP, NAT_PMP])
def test_after_a_reboot_everything_is_mapped_again_within_five_seconds_and_not_at_once(
    dialect: PortMapperProtocol,
) -> None:
    gateway = FakeGateway()
    stage = Stage(gateway, PortmapConfig(protocols=[dialect]))
    bases = [Base(TransportAddress(HERE.host, port)) for port in range(5000, 5010)]
    for base in bases:
        stage.map(base)
    assert len(gateway.mappings) == 10
    stage.wait(100)
    gateway.reboot(100)
    stage.map(Base(TransportAddress(HERE.host, 6000)))  # The answer to this one tells.
    assert len(gateway.mappings) < 11
    before = len(gateway.requests)
    stage.wait(105)
    assert len(gateway.mappings) == 11
    kind = "pcp" if dialect is PCP else "nat-pmp"
    again = [at for at, what, _ in gateway.requests[before:] if what == kind]
    assert len(again) == 10
    assert len({round(at, 3) for at in again}) == 10, "spread"
    assert min(again) > 100


def test_a_new_outer_address_is_a_new_candidate() -> None:
    for dialect in (PCP, NAT_PMP):
        stage = Stage(FakeGateway(), PortmapConfig(protocols=[dialect]))
        stage.map()
        first = stage.events[0].external
        stage.gateway.external = "198.51.100.77"
        stage.wait(4600)
        second = TransportAddress("198.51.100.77", first.port)
        kinds = [(type(event), event.external) for event in stage.events]
        assert kinds == [(PortMapped, first), (PortUnmapped, first), (PortMapped, second)], dialect


# -- limits, ends, settings --


def test_no_more_than_so_many() -> None:
    stage = Stage(FakeGateway(), PortmapConfig(max_mappings=2))
    for port in (1, 2, 3):
        stage.map(Base(TransportAddress(HERE.host, port)))
    assert [type(event) for event in stage.events] == [PortMapped, PortMapped, PortMappingFailed]


def test_nat_pmp_is_for_private_addresses() -> None:
    path = FiveTuple(TransportAddress("198.51.100.7", 1), TransportAddress("198.51.100.1", 5351))
    client = PortmapClient(PortmapConfig(protocols=[NAT_PMP]), path, random.Random(1))
    client.map(Base(TransportAddress("198.51.100.7", 5000)), 0.0)
    assert client.next_effect() is None
    assert isinstance(client.next_event(), PortMappingFailed)


def test_a_silent_gateway_does_not_hold_up_the_end() -> None:
    stage = Stage(FakeGateway("nothing"))
    stage.map()
    stage.wait(1.0)
    before = stage.gateway.count()
    stage.client.close(1.0)
    stage.pump()
    assert stage.client.is_idle
    assert stage.gateway.count() - before == {"pcp": 1, "nat-pmp": 1}, "one attempt each, in case it did hear us"


def test_deletions_that_are_lost_are_repeated_and_given_up() -> None:
    stage = Stage(FakeGateway("nat-pmp"), PortmapConfig(protocols=[NAT_PMP]))
    stage.map()
    stage.lost = 2
    stage.client.close(1.0)
    stage.now = 1.0
    stage.pump()
    assert not stage.client.is_idle
    stage.wait(5.0)
    assert stage.client.is_idle
    assert stage.gateway.mappings == {}


def test_nothing_is_mapped_after_the_end() -> None:
    stage = Stage(FakeGateway())
    stage.client.close(0.0)
    stage.map()
    assert (stage.gateway.requests, stage.events) == ([], [])


@pytest.mark.parametrize(
    "settings",
    [
        {"lifetime": 60},
        {"lifetime": 86400},
        {"max_lifetime": 200},
        {"gateway": "x"},
        {"pcp_sends": 0},
        {"patience": -1},
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        PortmapConfig(**settings)  # type: ignore[arg-type]
