"""The client of port mapping against gateways that refuse, lie, or are somebody else."""

from __future__ import annotations

import pytest

from ice.candidate import Base
from ice.portmap import map_codec, pcp
from ice.portmap.config import PortmapConfig
from ice.portmap.events import PortMapped, PortMappingFailed, UpnpMap
from ice.portmap.protocol import PortMapperProtocol
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from tests.ice.portmap.fake_gateway import BASE, GATEWAY, HERE, FakeGateway, Stage

OUTER = TransportAddress("203.0.113.9", 61001)
PCP, NAT_PMP, UPNP = PortMapperProtocol.PCP, PortMapperProtocol.NAT_PMP, PortMapperProtocol.UPNP_IGD


def mapped(external: TransportAddress = OUTER, protocol: PortMapperProtocol = PCP, base: Base = BASE) -> PortMapped:
    return PortMapped(base, external, GATEWAY.host, protocol)


@pytest.mark.parametrize(
    ("result", "lifetime", "reason", "again"),
    [
        (pcp.PcpResult.NOT_AUTHORIZED, 0, "not authorized", 1800.0),
        (pcp.PcpResult.NO_RESOURCES, 0, "no resources", 30.0),
        (pcp.PcpResult.NO_RESOURCES, 300, "no resources", 300.0),
        (pcp.PcpResult.NO_RESOURCES, 10**9, "no resources", 1800.0),
        (77, 0, "result 77", 1800.0),
    ],
)
def test_a_refusal_is_not_asked_again_within_its_lifetime(
    result: int, lifetime: int, reason: str, again: float
) -> None:
    gateway = FakeGateway("pcp")
    gateway.result, gateway.error_lifetime = result, lifetime
    stage = Stage(gateway, PortmapConfig(protocols=[PCP]))
    stage.map()
    assert stage.events == [PortMappingFailed(BASE, f"PCP: {reason}")]
    stage.wait(again - 0.1)
    assert len(gateway.requests) == 1
    gateway.result = 0
    stage.wait(again)
    assert stage.events[1:] == [mapped()]


def test_refused_by_all() -> None:
    gateway = FakeGateway()
    gateway.result = 2
    stage = Stage(gateway, upnp=True)
    stage.map()
    assert stage.upnp == [UpnpMap(BASE, 5000, 7200)], "each refusal lets the next one begin at once"
    stage.client.upnp_failed(BASE, "no router answers", 0.1)
    stage.pump()
    assert stage.events == [PortMappingFailed(BASE, "UPnP IGD: no router answers")]
    assert gateway.count() == {"pcp": 1, "address": 1}


@pytest.mark.parametrize("dialect", [PCP, NAT_PMP])
@pytest.mark.parametrize("external", ["127.0.0.1", "224.0.0.1", "0.0.0.0", "169.254.1.1"])
def test_outer_addresses_that_cannot_be(dialect: PortMapperProtocol, external: str) -> None:
    gateway = FakeGateway()
    gateway.external = external
    stage = Stage(gateway, PortmapConfig(protocols=[dialect]))
    stage.map()
    stage.wait(1)
    assert [type(event) for event in stage.events] == [PortMappingFailed]
    stage.client.close(2)
    stage.pump()
    assert gateway.mappings == {}, "what it did map is deleted all the same"


def test_a_lifetime_of_years_is_not_believed() -> None:
    gateway = FakeGateway("pcp")
    gateway.lifetime = 2**32 - 1
    stage = Stage(gateway, PortmapConfig(protocols=[PCP]))
    stage.map()
    stage.wait(86400 * 5 / 8 + 1)
    assert len(gateway.requests) == 2


def test_a_lifetime_of_nothing_is_a_refusal() -> None:
    gateway = FakeGateway("pcp")
    gateway.lifetime = 0
    stage = Stage(gateway, PortmapConfig(protocols=[PCP]))
    stage.map()
    assert stage.events == [PortMappingFailed(BASE, "PCP: it maps for no time")]


def test_only_the_gateway_is_believed_and_only_with_our_nonce() -> None:
    stage = Stage(FakeGateway("nothing"))
    stage.map()
    asked = FakeGateway("pcp")
    client = stage.client
    request = map_codec.pcp_map_request(HERE.host, BASE, bytes(12), 7200)
    answer = asked.receive(request, 0.0)
    assert answer is not None
    stranger = FiveTuple(HERE, TransportAddress("192.168.1.66", 5351))
    port = FiveTuple(HERE, GATEWAY._replace(port=9))
    for data, path in [
        (answer, stage.path),  # Another nonce.
        (answer, stranger),
        (answer, port),
        (answer[:59], stage.path),
        (b"", stage.path),
        (b"\0\x81" + bytes(14), stage.path),  # NAT-PMP was not asked yet.
        (b"\0\x80" + bytes(10), stage.path),
        (b"\2\x81" + bytes(2000), stage.path),
    ]:
        client.receive_datagram(data, path, 0.1)
    stage.pump()
    assert (client.dropped, stage.events) == (8, [])


def test_an_update_that_nobody_asked_for_is_taken() -> None:
    """RFC 6887 section 14.2: the gateway tells by itself when a mapping has moved."""
    stage = Stage(FakeGateway("pcp"), PortmapConfig(protocols=[PCP]))
    stage.map()
    nonce = stage.gateway.mappings[TransportProtocol.UDP, 5000][1]
    stage.gateway.external = "198.51.100.77"
    update = stage.gateway.receive(map_codec.pcp_map_request(HERE.host, BASE, nonce, 7200), 10.0)
    assert update is not None
    stage.client.receive_datagram(update, stage.path, 10.0)
    stage.pump()
    assert [event.external.host for event in stage.events] == ["203.0.113.9", "203.0.113.9", "198.51.100.77"]
