"""Small readings of multiaddrs that several rooms share."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

from signalling.libp2p.host_config import HostConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

__all__ = ["AddressBook", "Endpoint", "dial_order", "endpoint_of", "ip_of", "tcp_address", "with_peer", "without_peer"]


class Endpoint(NamedTuple):
    """Where a TCP-based address leads."""

    host: str
    """An IP literal (with ``%zone`` if the address has one) or a name."""
    port: int
    family: int
    """4 or 6 when only that family may be used, 0 for either."""


_FAMILIES = {"ip4": 4, "ip6": 6, "dns4": 4, "dns6": 6, "dns": 0}


def endpoint_of(address: Multiaddr) -> Endpoint | None:
    """Return host and port of an address that starts with an IP address or a name and ``/tcp``; None for others."""
    parts = list(address.components)
    zone = f"%{parts.pop(0).value}" if parts and parts[0].name == "ip6zone" else ""
    if len(parts) < 2 or parts[0].name not in _FAMILIES or parts[1].name != "tcp":
        return None
    return Endpoint(parts[0].value + zone, int(parts[1].value), _FAMILIES[parts[0].name])


def tcp_address(host: str, port: int) -> Multiaddr:
    """Return the address of a socket name: ``/ip4/…/tcp/…``, ``/ip6/…/tcp/…``, or with ``/ip6zone`` in front."""
    host, _, zone = host.partition("%")
    if ":" not in host:
        return Multiaddr(f"/ip4/{host}/tcp/{port}")
    mapped = ipaddress.IPv6Address(host).ipv4_mapped
    if mapped is not None:
        return Multiaddr(f"/ip4/{mapped}/tcp/{port}")
    return Multiaddr(f"/ip6zone/{zone}/ip6/{host}/tcp/{port}" if zone else f"/ip6/{host}/tcp/{port}")


def ip_of(address: Multiaddr) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return the IP address that the multiaddr starts with, or None."""
    for component in address.components[:2]:
        if component.name in ("ip4", "ip6"):
            return ipaddress.ip_address(component.value)
        if component.name != "ip6zone":
            break
    return None


def with_peer(address: Multiaddr, peer: PeerId) -> Multiaddr:
    """Return the address with ``/p2p/<peer>`` behind it, unless it leads to a peer already."""
    return address if address.peer_id is not None else address.encapsulate(f"/p2p/{peer}")


def without_peer(address: Multiaddr, peer: PeerId) -> Multiaddr:
    """Return the address without ``/p2p/<peer>`` at its end."""
    return address[:-1] if len(address) and address.peer_id == peer and address.protocols()[-1] == "p2p" else address


def dial_order(addresses: Iterable[Multiaddr]) -> list[Multiaddr]:
    """Return the addresses in the order to try them: direct before relayed ones, IPv6 and IPv4 by turns (RFC 8305)."""
    direct: dict[bool, list[Multiaddr]] = {True: [], False: []}
    relayed = []
    for address in dict.fromkeys(addresses):
        if "p2p-circuit" in address.protocols():
            relayed.append(address)
        else:
            direct[address.value_for("ip6") is not None].append(address)
    six, four = direct[True], direct[False]
    turns = [address for pair in zip(six, four, strict=False) for address in pair]
    return turns + six[len(four) :] + four[len(six) :] + relayed


class AddressBook:
    """Where peers were said to be, in a table of bounded size."""

    def __init__(self, config: HostConfig) -> None:
        self._config = config
        self._peers: OrderedDict[PeerId, tuple[Multiaddr, ...]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._peers)

    def add(self, peer: PeerId, addresses: Iterable[Multiaddr]) -> None:
        """Remember addresses of ``peer``, in front of those known; each is kept with ``/p2p/<peer>`` behind it."""
        fresh = []
        for address in addresses:
            if address.peer_id in (None, peer) and len(address):
                fresh.append(with_peer(address, peer))
        known = self._peers.pop(peer, ())
        merged = tuple(dict.fromkeys((*fresh, *known)))[: self._config.max_known_addresses]
        if merged:
            self._peers[peer] = merged
        while len(self._peers) > self._config.max_known_peers:
            self._peers.popitem(last=False)

    def get(self, peer: PeerId) -> tuple[Multiaddr, ...]:
        """Return the addresses of ``peer``, newest first; this counts as a use."""
        if peer in self._peers:
            self._peers.move_to_end(peer)
        return self._peers.get(peer, ())

    def forget(self, peer: PeerId, address: Multiaddr) -> None:
        """Drop an address that turned out wrong."""
        left = tuple(known for known in self._peers.get(peer, ()) if known != with_peer(address, peer))
        if left:
            self._peers[peer] = left
        else:
            self._peers.pop(peer, None)
