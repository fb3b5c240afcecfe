"""Which addresses of this machine become host candidates (RFC 8445 section 5.1.1.1, RFC 8828 section 5.2)."""

from __future__ import annotations

import fnmatch
import ipaddress
from collections.abc import Collection, Iterable
from functools import lru_cache

from ice.config import IceConfig
from ice.exposure import exposed, without_stable_twins
from stun.network import Interface

__all__ = ["usable_addresses"]

_ip = lru_cache(maxsize=256)(ipaddress.ip_address)  # Every session asks about the same few.


def usable_addresses(interfaces: Iterable[Interface], config: IceConfig, routes: Collection[str] = ()) -> list[str]:
    """Return the hosts to bind sockets to, in the order given, each once.

    Args:
        interfaces: all that there are.
        config: what of them is wanted.
        routes: our addresses that default routes leave from, for the modes that go by them.

    Left out: what the configuration excludes, loopback unless it is asked for, link-local IPv6 (it needs a zone that
    the text of a candidate cannot carry), site-local, IPv4-compatible and IPv4-mapped IPv6, unspecified and multicast.
    """
    networks = [ipaddress.ip_network(network) for network in config.excluded_networks]
    hosts: dict[str, None] = {}
    usable = []
    for interface in interfaces:
        ip = _ip(interface.host)
        if _is_wanted(interface, config) and _is_usable(ip, config) and not any(ip in network for network in networks):
            usable.append(interface)
    if config.prefer_temporary:
        usable = without_stable_twins(usable)
    usable.sort(key=lambda interface: _matches(interface.name, config.unreliable_interfaces))  # Else in their order.
    for interface in exposed(usable, config.exposure, routes):
        hosts[str(_ip(interface.host))] = None
    return list(hosts)[: config.max_local_bases]


def _is_wanted(interface: Interface, config: IceConfig) -> bool:
    if config.interfaces is not None and not _matches(interface.name, config.interfaces):
        return False
    if _matches(interface.name, config.excluded_interfaces):
        return False
    return config.interface_filter is None or config.interface_filter(interface)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _is_usable(ip: ipaddress.IPv4Address | ipaddress.IPv6Address, config: IceConfig) -> bool:
    if ip.is_unspecified or ip.is_multicast:
        return False
    if ip.is_loopback:
        wanted = config.include_loopback
    elif isinstance(ip, ipaddress.IPv6Address):
        compatible = int(ip) >> 32 == 0
        wanted = not (ip.is_link_local or ip.is_site_local or compatible or ip.ipv4_mapped is not None)
    else:
        wanted = True
    return wanted and (config.include_ipv6 if ip.version == 6 else config.include_ipv4)
