"""Which addresses of this machine become host candidates (RFC 8445 section 5.1.1.1, RFC 8828 section 5.2)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ice.config import IceConfig
from stun.network import Interface

__all__ = ["usable_addresses"]


def usable_addresses(interfaces: Iterable[Interface], config: IceConfig) -> list[str]:
    """Return the hosts to bind sockets to, in the order given, each once.

    Left out: what the configuration excludes, loopback unless it is asked for, link-local IPv6 (it needs a zone that
    the text of a candidate cannot carry), site-local, IPv4-compatible and IPv4-mapped IPv6, unspecified and multicast.
    """
    networks = [ipaddress.ip_network(network) for network in config.excluded_networks]
    hosts: dict[str, None] = {}
    for interface in interfaces:
        if config.interfaces is not None and interface.name not in config.interfaces:
            continue
        if interface.name in config.excluded_interfaces:
            continue
        ip = ipaddress.ip_address(interface.host)
        if _is_usable(ip, config) and not any(ip in network for network in networks):
            hosts[str(ip)] = None
    return list(hosts)[: config.max_local_bases]


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
