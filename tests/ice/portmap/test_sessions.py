"""Sessions whose router maps their ports, in the simulated world; and UPnP against a router on loopback."""

from __future__ import annotations

import asyncio
import ipaddress
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiohttp import web

from ice.aio import Session
from ice.aio.portmapping import PortMapping
from ice.aio.upnp import UpnpError, UpnpGateway, is_installed
from ice.candidate import Base, CandidateType
from ice.config import IceConfig
from ice.portmap import ssdp
from ice.portmap.config import PortmapConfig
from ice.roles import Role
from stun.address import TransportAddress
from stun.aio.udp import UdpNetwork
from stun.network import DatagramReceiver
from tests.ice.portmap.fake_gateway import HERE, FakeGateway
from tests.ice.sessions import WIRE
from tests.simulation import Host, World, virtual_time

ROUTER = "192.168.1.1"


def lan(*speaks: str) -> tuple[Host, FakeGateway]:
    """A host and a router that maps in name only, on one network."""
    world = World(1)
    realm = world.realm("lan")
    host = world.host("h", realm, HERE.host, link=WIRE)
    router = world.host("router", realm, ROUTER, link=WIRE)
    gateway = FakeGateway(*speaks)

    def receive(data: bytes, remote: tuple[str, int]) -> None:
        answer = gateway.receive(data, world.now)
        if answer is not None:
            socket.send(answer, remote)

    socket = router.bind(TransportAddress(ROUTER, 5351), receive)
    return host, gateway


def session(host: Host, **settings: object) -> Session:
    config = IceConfig(portmap=PortmapConfig(enabled=True, gateway=ROUTER, **settings))  # type: ignore[arg-type]
    return Session(Role.CONTROLLING, config, host.network(), random.Random(1))


@virtual_time
async def test_a_mapped_port_is_a_candidate_of_its_own() -> None:
    host, gateway = lan()
    one = session(host)
    await one.gather()
    local, mapped = one.local_candidates
    assert (local.type, mapped.type) == (CandidateType.HOST, CandidateType.SERVER_REFLEXIVE)
    assert mapped.address == ("203.0.113.9", 61001)
    assert mapped.related_address == local.address
    assert mapped.foundation != local.foundation
    assert mapped.priority < local.priority
    assert len(gateway.mappings) == 1
    await one.close()
    assert gateway.mappings == {}
    assert not host.sockets


@virtual_time
async def test_a_router_that_is_silent_delays_gathering_by_its_patience_and_the_end_not_at_all() -> None:
    host, _ = lan("nothing")
    one = session(host)
    loop = asyncio.get_running_loop()
    await one.gather()
    assert loop.time() == pytest.approx(1.0, abs=0.01)
    assert [candidate.type for candidate in one.local_candidates] == [CandidateType.HOST]
    before = loop.time()
    await one.close()
    assert loop.time() - before < 0.01
    assert not host.sockets


@virtual_time
async def test_mapped_again_for_the_next_generation_at_the_address_of_then() -> None:
    host, gateway = lan("pcp")
    one = session(host, lifetime=120)
    await one.gather()
    first = one.local_candidates[1].address
    gateway.external = "198.51.100.77"
    await asyncio.sleep(80)
    assert [candidate.address for candidate in one._agent.local_candidates[1:]] == [], (
        "the old one is not there any more"
    )
    one._agent.set_remote_description(Session(Role.CONTROLLED).local_description, 80.0)
    one._agent.restart(80.0)
    assert one._agent.local_candidates[1].address == ("198.51.100.77", first.port)
    await one.close()


@virtual_time
async def test_a_session_that_ended_while_port_mapping_was_loaded_asks_for_nothing() -> None:
    host, gateway = lan()
    one = session(host)
    driver = one._driver_now()
    await driver.bind_base(TransportAddress(HERE.host, 0))
    one._agent.close(0.0)
    await driver.map_ports(one._config, random.Random(1))
    assert gateway.requests == []
    await one.close()
    assert not host.sockets


@virtual_time
async def test_off_unless_asked_for() -> None:
    host, gateway = lan()
    one = Session(Role.CONTROLLING, IceConfig(), host.network(), random.Random(1))
    await one.gather()
    await one.close()
    assert gateway.requests == []


# -- UPnP --

BASE = Base(TransportAddress("127.6.8.90", 5000))
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:{version}"
DEVICE = """<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">
<specVersion><major>1</major><minor>0</minor></specVersion><device>
<deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType><friendlyName>r</friendlyName>
<manufacturer>m</manufacturer><modelName>m</modelName><UDN>uuid:1</UDN><serviceList><service>
<serviceType>{service}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1</serviceId>
<SCPDURL>/scpd</SCPDURL><controlURL>{control}</controlURL><eventSubURL>/e</eventSubURL>
</service></serviceList></device></root>"""
ARGUMENTS = {
    "GetExternalIPAddress": (["NewExternalIPAddress"], []),
    "AddPortMapping": ([], ["RemoteHost", "ExternalPort", "Protocol", "InternalPort", "InternalClient", "Enabled",
                            "PortMappingDescription", "LeaseDuration"]),
    "DeletePortMapping": ([], ["RemoteHost", "ExternalPort", "Protocol"]),
}  # fmt: skip
TYPES = {"Port": "ui2", "Duration": "ui4", "Enabled": "boolean"}


def scpd(actions: list[str]) -> str:
    """The description of a service with these actions."""
    text, variables = "", set()
    for action in actions:
        arguments = ""
        for direction, names in zip(("out", "in"), ARGUMENTS[action], strict=True):
            for name in names:
                bare = name.removeprefix("New")
                variables.add(bare)
                arguments += (
                    f"<argument><name>New{bare}</name><direction>{direction}</direction>"
                    f"<relatedStateVariable>{bare}</relatedStateVariable></argument>"
                )
        text += f"<action><name>{action}</name><argumentList>{arguments}</argumentList></action>"
    table = "".join(
        f'<stateVariable sendEvents="no"><name>{name}</name>'
        f"<dataType>{next((kind for end, kind in TYPES.items() if name.endswith(end)), 'string')}</dataType>"
        "</stateVariable>"
        for name in sorted(variables)
    )
    return (
        '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0"><specVersion><major>1</major>'
        f"<minor>0</minor></specVersion><actionList>{text}</actionList><serviceStateTable>{table}"
        "</serviceStateTable></scpd>"
    )


class UpnpRouter:
    """A router of one service on loopback."""

    def __init__(self, version: int = 1) -> None:
        self.version = version
        self.external = "203.0.113.9"
        self.control = "/control"
        self.errors: list[int] = []
        self.calls: list[tuple[str, str]] = []
        self.long = False
        self.host = "127.6.8.89"

    async def answer(self, request: web.Request) -> web.Response:
        service = SERVICE.format(version=self.version)
        if request.path == "/":
            padding = "<!-- -->" * 100_000 if self.long else ""
            return web.Response(text=DEVICE.format(service=service, control=self.control) + padding)
        if request.path == "/scpd":
            return web.Response(text=scpd(list(ARGUMENTS)))
        name = request.headers["SOAPAction"].strip('"').partition("#")[2]
        self.calls.append((name, await request.text()))
        head = '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        if self.errors and name != "GetExternalIPAddress" and (code := self.errors.pop(0)):
            fault = (
                "<s:Fault><faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring><detail>"
                f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{code}</errorCode>'
                "<errorDescription>no</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>"
            )
            return web.Response(status=500, text=head + fault)
        out = "".join(f"<{argument}>{self.external}</{argument}>" for argument in ARGUMENTS[name][0])
        body = f'<u:{name}Response xmlns:u="{service}">{out}</u:{name}Response></s:Body></s:Envelope>'
        return web.Response(text=head + body)


@asynccontextmanager
async def upnp(router: UpnpRouter, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[UpnpGateway]:
    """The router at work, and what talks to it; searches go to loopback instead of to a multicast group."""
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", router.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.6.8.89", 0)
    await site.start()
    port = runner.addresses[0][1]
    target, location = ssdp.GATEWAY_TARGETS[0], f"http://{router.host}:{port}/"

    def search(data: bytes, remote: tuple[str, int]) -> None:
        responder.send(f"HTTP/1.1 200 OK\r\nST: {target}\r\nLOCATION: {location}\r\n\r\n".encode(), remote)

    responder = await UdpNetwork().bind(TransportAddress("127.6.8.89", 0), search)
    monkeypatch.setattr(UpnpGateway, "group", responder.local)
    gateway = UpnpGateway(PortmapConfig(enabled=True), "127.6.8.90", "127.6.8.89", UdpNetwork())
    try:
        yield gateway
    finally:
        await gateway.close()
        responder.close()
        await runner.cleanup()


@pytest.mark.parametrize("version", [1, 2])
async def test_upnp_of_both_versions(version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("async_upnp_client", reason="needs async-upnp-client")
    router = UpnpRouter(version)
    async with upnp(router, monkeypatch) as gateway:
        assert await gateway.map(BASE, 5000, 7200) == (TransportAddress("203.0.113.9", 5000), 7200)
        await gateway.unmap(BASE, 5000)
    assert [name for name, _ in router.calls] == ["GetExternalIPAddress", "AddPortMapping", "DeletePortMapping"]
    for word in ("<NewInternalClient>127.6.8.90<", "<NewProtocol>UDP<", "<NewLeaseDuration>7200<", ">lastresort<"):
        assert word in router.calls[1][1]


async def test_upnp_that_knows_permanent_mappings_only_and_ports_that_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("async_upnp_client", reason="needs async-upnp-client")
    router = UpnpRouter()
    router.errors = [725, 718]
    async with upnp(router, monkeypatch) as gateway:
        external, lifetime = await gateway.map(BASE, 5000, 7200)
    assert lifetime == 0
    assert external.port not in (0, 5000)
    assert len(router.calls) == 4


@pytest.mark.parametrize("case", ["refuses", "no address", "another host", "elsewhere", "long"])
async def test_upnp_routers_that_are_of_no_use(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("async_upnp_client", reason="needs async-upnp-client")
    router = UpnpRouter()
    match case:
        case "refuses":
            router.errors = [606]
        case "no address":
            router.external = ""
        case "another host":
            router.control = "http://127.6.8.91:1/control"
        case "elsewhere":
            router.host = "127.6.8.91"
        case "long":
            router.long = True
    async with upnp(router, monkeypatch) as gateway:
        with pytest.raises(UpnpError):
            await gateway.map(BASE, 5000, 7200)
    assert len(router.calls) <= 2


async def test_a_upnp_library_that_is_installed_and_cannot_be_imported_is_a_router_that_does_not_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "async_upnp_client"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "ice.aio.upnp_service", raising=False)
    (tmp_path / "async_upnp_client.py").write_text("raise ImportError('it wants another aiohttp')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert is_installed()
    async with upnp(UpnpRouter(), monkeypatch) as gateway:
        with pytest.raises(UpnpError, match="async-upnp-client cannot be used: it wants another aiohttp") as caught:
            await gateway.map(BASE, 5000, 7200)
        assert isinstance(caught.value.__cause__, ImportError)


HERE6, ROUTER6 = "2001:db8:1::7", "2001:db8:1::1"


class Firewall:
    """A router of IPv6 that lets in what is asked for in PCP, at our own addresses (RFC 6887 section 11)."""

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        """The ports that are let in, and for how long."""
        self._nonces: dict[int, bytes] = {}

    def answer(self, data: bytes) -> bytes:
        assert data[:2] == b"\x02\x01"
        assert len(data) == 60
        host = ipaddress.IPv6Address(HERE6).packed
        assert data[8:24] == host, "the packet's source"
        assert data[44:60] == bytes(16), "no suggestion but the family"
        nonce, port, lifetime = data[24:36], int.from_bytes(data[40:42], "big"), int.from_bytes(data[4:8], "big")
        assert self._nonces.setdefault(port, nonce) == nonce
        if lifetime:
            self.open[port] = lifetime
        else:
            del self.open[port]
        head = bytes((2, 0x81, 0, 0)) + data[4:8] + (1000).to_bytes(4, "big") + bytes(12)
        return head + data[24:42] + data[40:42] + host


@virtual_time
async def test_an_ipv6_firewall_is_opened_at_our_own_address_and_shut_at_the_end() -> None:
    world = World(1)
    realm = world.realm("lan")
    firewall = Firewall()
    socket = world.host("firewall", realm, ROUTER6).bind(
        TransportAddress(ROUTER6, 5351), lambda data, remote: socket.send(firewall.answer(data), remote)
    )
    host = world.host("h", realm, HERE6, link=WIRE)
    config = IceConfig(portmap=PortmapConfig(enabled=True, gateway_ipv6=ROUTER6))
    one = Session(Role.CONTROLLING, config, host.network(), random.Random(1))
    await one.gather()
    [local] = one.local_candidates
    assert local.type is CandidateType.HOST, "there is no other address to tell"
    assert firewall.open == {local.address.port: 7200}
    await one.close()
    assert firewall.open == {}


class ZonelessNetwork:
    """A network whose sockets want the zone of a link-local address, and report it without, as those of IPv6 do."""

    def __init__(self, firewall: Firewall) -> None:
        self._firewall = firewall

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> SimpleNamespace:
        def send(data: bytes, remote: tuple[str, int]) -> bool:
            assert remote == ("fe80::1%eth0", 5351)
            answer = self._firewall.answer(data)
            asyncio.get_running_loop().call_soon(receiver, answer, ("fe80::1", 5351))
            return True

        return SimpleNamespace(local=local._replace(port=40000), send=send, close=lambda: None)


async def test_a_link_local_router_is_known_by_its_address_without_the_zone() -> None:
    firewall = Firewall()
    config = PortmapConfig(enabled=True, gateway_ipv6="fe80::1%eth0")
    mapping = PortMapping(config, ZonelessNetwork(firewall), random.Random(1), lambda event: None)  # type: ignore[arg-type]
    base = Base(TransportAddress(HERE6, 5000))
    await mapping.map([base, Base(TransportAddress("fe80::7", 5001))])
    assert mapping.mapped == {base: base.address}
    assert firewall.open == {5000: 7200}
    mapping.end()
    await mapping.ended()
    assert firewall.open == {}
