"""How much of a host its peers get to see: the modes of RFC 8828 section 5.2, and which addresses each of them uses."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from stun.network import Interface

__all__ = ["ExposureMode", "PortRange", "exposed", "without_stable_twins"]

_PRIVATE: Final = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]


class ExposureMode(enum.StrEnum):
    """Which of our addresses are used and told (RFC 8828 section 5.2)."""

    ALL_INTERFACES = "all-interfaces"
    """Mode 1: every address of every interface, which finds the best path and shows the most."""
    DEFAULT_ROUTE_AND_PRIVATE = "default-route-and-private"
    """Mode 2: what the kernel would send from by itself, and the private addresses of the same interface."""
    DEFAULT_ROUTE = "default-route"
    """Mode 3: what the kernel would send from by itself; only what a server sees of it is told."""
    PROXY = "proxy"
    """Mode 4: nothing but connections to TURN servers over TCP and TLS, as a proxy would carry them."""

    @property
    def follows_routes(self) -> bool:
        """Whether only addresses of default routes are used."""
        return self in (_DEFAULT_ROUTE_AND_PRIVATE, ExposureMode.DEFAULT_ROUTE)

    @property
    def tells_hosts(self) -> bool:
        """Whether the peer is told addresses as the interfaces have them."""
        return self in (_ALL_INTERFACES, _DEFAULT_ROUTE_AND_PRIVATE)


_ALL_INTERFACES: Final = ExposureMode.ALL_INTERFACES
_DEFAULT_ROUTE_AND_PRIVATE: Final = ExposureMode.DEFAULT_ROUTE_AND_PRIVATE


class PortRange(NamedTuple):
    """Ports that sockets may be bound to, both ends included; for hosts behind firewalls with a hole of that size."""

    first: int
    last: int

    def check(self) -> None:
        """Raises:
        ValueError: the ends are in the wrong order, or no ports.
        """
        if not 1 <= self.first <= self.last <= 65535:
            raise ValueError(f"ports {self.first}..{self.last} are no range within 1..65535")


def exposed(interfaces: Sequence[Interface], mode: ExposureMode, routes: Collection[str]) -> list[Interface]:
    """Return what of ``interfaces`` a mode uses.

    Args:
        interfaces: all addresses, in order.
        mode: how much to show.
        routes: our addresses that the kernel sends from to the rest of the world, one a family.
    """
    if mode is ExposureMode.PROXY:
        return []
    if not mode.follows_routes:
        return list(interfaces)
    names = {interface.name for interface in interfaces if interface.host in routes}
    alone = mode is ExposureMode.DEFAULT_ROUTE
    return [
        interface
        for interface in interfaces
        if interface.host in routes or (not alone and interface.name in names and _is_private(interface.host))
    ]


def _is_private(host: str) -> bool:
    ip = ipaddress.ip_address(host.partition("%")[0])
    return any(ip in network for network in _PRIVATE)


def without_stable_twins(interfaces: Iterable[Interface]) -> list[Interface]:
    """Leave out stable IPv6 addresses where the same interface has a temporary one in the same prefix.

    The stable one would let a host be recognised everywhere and for ever (RFC 8445 section 5.1.1.1, RFC 8981).
    """
    everything = list(interfaces)
    private = {(interface.name, _prefix(interface)) for interface in everything if interface.temporary}
    return [
        interface
        for interface in everything
        if interface.temporary or ":" not in interface.host or (interface.name, _prefix(interface)) not in private
    ]


def _prefix(interface: Interface) -> str:
    host = interface.host.partition("%")[0]
    return str(ipaddress.ip_network(f"{host}/{interface.prefix_length}", strict=False))
