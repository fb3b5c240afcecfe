"""RFC 8828: which addresses each mode uses and tells, temporary addresses, port ranges."""

from __future__ import annotations

import random
import socket
from dataclasses import replace
from typing import Any

import pytest

from ice.aio import Session
from ice.aio.binding import hosts_to_bind, ports_to_try
from ice.candidate import CandidateType, TcpType
from ice.config import IceConfig
from ice.events import ErrorStage
from ice.exposure import ExposureMode, PortRange, exposed, without_stable_twins
from ice.interfaces import usable_addresses
from ice.roles import Role
from stun.address import TransportAddress
from stun.aio import UdpNetwork
from stun.network import Interface
from tests.ice.sessions import STUN, behind, pair
from tests.simulation import NatBehaviour, World, virtual_time
from tests.simulation.host import Host, SimulatedNetwork, SimulatedSocket
from tests.simulation.stun_server import stun_server
from tests.simulation.turn_server import PASSWORD, USER, turn_server
from turn.config import TurnServerConfig

LAN = Interface("eth0", "192.168.1.5", 24)
LAN_PUBLIC = Interface("eth0", "198.51.100.5", 24)
LAN6, ULA6 = Interface("eth0", "2001:db8::5", 64), Interface("eth0", "fd00::5", 64)
VPN = Interface("tun0", "10.9.9.9", 24)
ALL = [LAN, LAN_PUBLIC, LAN6, ULA6, VPN]


@pytest.mark.parametrize(
    ("mode", "routes", "expected"),
    [
        (ExposureMode.ALL_INTERFACES, (), ALL),
        (ExposureMode.DEFAULT_ROUTE_AND_PRIVATE, ["198.51.100.5", "2001:db8::5"], [LAN, LAN_PUBLIC, LAN6, ULA6]),
        (ExposureMode.DEFAULT_ROUTE_AND_PRIVATE, ["10.9.9.9"], [VPN]),
        (ExposureMode.DEFAULT_ROUTE_AND_PRIVATE, ["192.168.1.5"], [LAN, ULA6]),
        (ExposureMode.DEFAULT_ROUTE, ["198.51.100.5", "2001:db8::5"], [LAN_PUBLIC, LAN6]),
        (ExposureMode.DEFAULT_ROUTE, [], []),
        (ExposureMode.PROXY, ["198.51.100.5"], []),
    ],
)
def test_what_each_mode_uses(mode: ExposureMode, routes: list[str], expected: list[Interface]) -> None:
    assert exposed(ALL, mode, routes) == expected


def test_a_temporary_address_displaces_the_stable_one_of_its_prefix_alone() -> None:
    temporary = Interface("eth0", "2001:db8::1234", 64, temporary=True)
    elsewhere = Interface("wlan0", "2001:db8::6", 64)
    assert without_stable_twins([LAN, LAN6, temporary, ULA6, elsewhere]) == [LAN, temporary, ULA6, elsewhere]
    config = IceConfig(prefer_temporary=False)
    assert usable_addresses([LAN6, temporary], config) == ["2001:db8::5", "2001:db8::1234"]
    assert usable_addresses([LAN6, temporary], IceConfig()) == ["2001:db8::1234"]


def test_a_temporary_address_that_is_filtered_displaces_nothing() -> None:
    temporary = Interface("eth0", "2001:db8::1234", 64, temporary=True)
    config = IceConfig(interface_filter=lambda interface: not interface.temporary)
    assert usable_addresses([LAN6, temporary], config) == ["2001:db8::5"]


# -- sessions --


class Routed(SimulatedNetwork):
    """A simulated host whose kernel tells where default routes leave from."""

    def __init__(self, host: Host, *routes: str) -> None:
        super().__init__(host)
        self.routes = {6 if ":" in route else 4: route for route in routes}

    async def bind(self, local: TransportAddress, receiver: Any) -> Any:
        socket = await super().bind(local, receiver)
        return _Routed(socket, self.routes.get(local.family)) if local.ip.is_unspecified else socket


class _Routed:
    def __init__(self, socket: SimulatedSocket, route: str | None) -> None:
        self.socket, self.local, self.send, self.close = socket, socket.local, socket.send, socket.close
        self.route = route

    def connect(self, remote: tuple[str, int]) -> Any:
        return None if self.route is None else _Twin(TransportAddress(self.route, self.local.port))


class _Twin:
    def __init__(self, local: TransportAddress) -> None:
        self.local = local

    def send(self, data: bytes, remote: tuple[str, int]) -> bool:
        raise AssertionError("a question for the way sends nothing")

    def close(self) -> None:
        pass


async def gathered(config: IceConfig, host: Host, *routes: str) -> list[tuple[CandidateType, str, Any]]:
    session = Session(Role.CONTROLLING, config, Routed(host, *routes), random.Random(1))
    try:
        await session.gather()
        return [(each.type, each.address.host, each.related_address) for each in session.local_candidates]
    finally:
        await session.close()


@virtual_time
async def test_mode_3_tells_what_a_server_sees_and_nothing_else() -> None:
    world = World(1)
    stun_server(world, STUN)
    config = IceConfig(stun_servers=[STUN], exposure=ExposureMode.DEFAULT_ROUTE)
    inside = behind(world, 1, NatBehaviour.port_restricted_cone())
    hidden = ("0.0.0.0", 9)
    assert await gathered(config, inside, "192.168.1.2") == [(CandidateType.SERVER_REFLEXIVE, "198.51.100.1", hidden)]
    outside = behind(world, 2, None)
    # Without a NAT what the server sees is the host candidate, and public.
    assert await gathered(config, outside, "198.51.100.2") == [(CandidateType.HOST, "198.51.100.2", None)]
    assert await gathered(config, outside) == [], "no default route, no address"


@virtual_time
async def test_mode_2_leaves_the_second_interface_alone() -> None:
    world = World(1)
    host = world.host("h", world.internet, "192.168.1.2", "198.51.100.2")
    config = IceConfig(exposure=ExposureMode.DEFAULT_ROUTE_AND_PRIVATE)
    found = await gathered(config, host, "198.51.100.2")
    names = {interface.host: interface.name for interface in host.interfaces()}
    same = names["192.168.1.2"] == names["198.51.100.2"]
    assert [address for _, address, _ in found] == (["192.168.1.2"] if same else []) + ["198.51.100.2"]


@virtual_time
async def test_mode_4_goes_by_streams_to_relays_only() -> None:
    world = World(1)
    turn = turn_server(world, "203.0.113.99")
    servers = [TurnServerConfig(url=f"{turn.url}?transport=udp", username=USER, password=PASSWORD)]
    config = IceConfig(exposure=ExposureMode.PROXY, turn_servers=servers)
    host = behind(world, 1, None)
    session = Session(Role.CONTROLLING, config, host.network(), random.Random(1))
    errors: list[Any] = []
    session.on("candidateerror", errors.append)
    await session.gather()
    await session.close()
    assert (session.local_candidates, host.sent) == ([], 0)
    assert [(error.error_code, error.stage) for error in errors] == [(701, ErrorStage.GATHERING)]
    assert "neither TCP nor TLS" in errors[0].error_text


def test_mode_4_needs_a_relay() -> None:
    with pytest.raises(ValueError, match="no TURN server"):
        IceConfig(exposure=ExposureMode.PROXY)


async def test_the_kernel_tells_the_way_and_nothing_is_sent() -> None:
    config = IceConfig(exposure=ExposureMode.DEFAULT_ROUTE)
    hosts = await hosts_to_bind(UdpNetwork(), config)
    mine = {interface.host for interface in UdpNetwork().interfaces()}
    assert set(hosts) <= mine
    assert len({":" in host for host in hosts}) == len(hosts), "one a family at most"


# -- ports --


@virtual_time
async def test_bases_stay_in_the_port_range_and_skip_what_is_taken() -> None:
    async with pair(config=IceConfig(port_range=(5000, 5002))) as both:
        host = both.hosts[0]
        taken = [
            host.bind(TransportAddress(host.addresses[0], port), lambda data, remote: None) for port in (5000, 5002)
        ]
        await both.connect()
        assert [candidate.address.port for candidate in both.controlling.local_candidates] == [5001]
        assert both.controlled.local_candidates[0].address.port in range(5000, 5003)
        for socket in taken:
            socket.close()


@virtual_time
async def test_a_range_without_a_free_port_gives_no_candidate() -> None:
    async with pair(config=IceConfig(port_range=(5000, 5000))) as both:
        host = both.hosts[0]
        taken = host.bind(TransportAddress(host.addresses[0], 5000), lambda data, remote: None)
        await both.controlling.gather()
        assert both.controlling.local_candidates == []
        taken.close()


async def test_listening_tcp_keeps_to_the_range_too() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = taken.getsockname()[1]
        config = replace(
            IceConfig.for_loopback(), interfaces=["lo"], include_ipv6=False, port_range=(first, min(first + 20, 65535))
        )
        session = Session(Role.CONTROLLING, config)
        try:
            await session.gather()
            listening = [each for each in session.local_candidates if each.tcp_type is TcpType.PASSIVE]
            assert len(listening) == 1
            assert first < listening[0].address.port <= first + 20
        finally:
            await session.close()


def test_ports_come_in_no_order_that_can_be_foreseen() -> None:
    config = IceConfig(port_range=(5000, 5099))
    orders = [list(ports_to_try(config, random.Random(seed))) for seed in range(3)]
    assert all(sorted(order) == list(range(5000, 5100)) for order in orders)
    assert orders[0] != orders[1] != orders[2]
    assert list(ports_to_try(IceConfig(), random.Random(1))) == [0]


@pytest.mark.parametrize("bad", [(0, 5), (6, 5), (5, 65536)])
def test_what_is_no_port_range(bad: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no range"):
        PortRange(*bad).check()
    with pytest.raises(ValueError, match="no range"):
        IceConfig(port_range=bad)
