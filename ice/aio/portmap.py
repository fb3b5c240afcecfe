"""Looking for port-mapping services from asyncio code: the default gateway, the local network, the probe on sockets."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from pathlib import Path

from ice.portmap import ssdp
from ice.portmap.probe import PortMapper, PortmapProbe, ProbeConfig, ProbeFinished
from stun.address import TransportAddress
from stun.aio.driver import Driver
from stun.aio.routes import route_to
from stun.aio.udp import UdpNetwork
from stun.network import Network

__all__ = ["default_gateway", "default_gateway_ipv6", "find_port_mappers"]

logger = logging.getLogger("ice")

_ROUTES, _ROUTES_IPV6 = Path("/proc/net/route"), Path("/proc/net/ipv6_route")
_UP, _GATEWAY = 1, 2


def default_gateway(routes: Path = _ROUTES) -> str | None:
    """Return the IPv4 default gateway; None when there is none, or when the system does not show its routes there."""
    try:
        lines = routes.read_text().splitlines()[1:]
    except OSError:
        return None
    found: list[tuple[int, str]] = []
    for fields in map(str.split, lines):
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        if int(fields[3], 16) & (_UP | _GATEWAY) == _UP | _GATEWAY:
            address = ipaddress.IPv4Address(int(fields[2], 16).to_bytes(4, "little"))
            found.append((int(fields[6]), str(address)))
    return min(found)[1] if found else None


def default_gateway_ipv6(routes: Path = _ROUTES_IPV6) -> str | None:
    """As :func:`default_gateway` for IPv6; a link-local address has its zone."""
    try:
        lines = routes.read_text().splitlines()
    except OSError:
        return None
    found: list[tuple[int, str]] = []
    for fields in map(str.split, lines):
        # Destination and its prefix, source and its prefix, next hop, metric, two counters, flags, interface.
        if len(fields) < 10 or int(fields[0], 16) or int(fields[1], 16) or int(fields[3], 16):
            continue
        if int(fields[8], 16) & (_UP | _GATEWAY) == _UP | _GATEWAY:
            address = ipaddress.IPv6Address(bytes.fromhex(fields[4]))
            zone = f"%{fields[9]}" if address.is_link_local else ""
            found.append((int(fields[5], 16), f"{address}{zone}"))
    return min(found)[1] if found else None


async def find_port_mappers(
    gateway: str | None,
    *,
    local_host: str | None = None,
    group: TransportAddress = ssdp.GROUP,
    network: Network | None = None,
    config: ProbeConfig | None = None,
) -> Sequence[PortMapper]:
    """Ask for port-mapping services for some seconds, and return those that answered.

    Args:
        gateway: the default gateway, see :func:`default_gateway`; None asks nobody for PCP and NAT-PMP.
        local_host: our IPv4 address on the network to search; None takes the one that the route to the gateway has,
            and searches for nothing where there is neither.
        group: where UPnP searches go.
        network: where sockets are bound; real ones by default.
        config: times.

    Raises:
        OSError: a socket cannot be bound.
    """
    network = network or UdpNetwork()
    if local_host is None and gateway is not None:
        local_host = await route_to(TransportAddress(gateway, 9), network)
    if local_host is None:
        return []
    loop = asyncio.get_running_loop()
    found: list[PortMapper] = []
    over: asyncio.Future[None] = loop.create_future()

    def on_event(event: PortMapper | ProbeFinished) -> None:
        if isinstance(event, PortMapper):
            found.append(event)
        elif not over.done():
            over.set_result(None)

    probe = PortmapProbe(config)
    driver: Driver[PortMapper | ProbeFinished] = Driver(probe, network, on_event)
    try:
        search = await driver.bind(TransportAddress(local_host, 0))
        probe.search(search, loop.time(), group)
        if gateway is not None:
            local = await driver.bind(TransportAddress(local_host, 0))
            probe.ask_gateway(local, gateway, loop.time())
        driver.pump()
        await over
    finally:
        driver.close()
    return found
