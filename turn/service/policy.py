"""Which peers a client may reach through the server: RFC 8656 sections 10.2, 21.1, 21.2 and 21.4.

A relay stands inside somebody's network. Without a policy its clients could reach what only that network should reach.
"""

from __future__ import annotations

import enum
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["PeerPolicy", "PeerPolicyConfig", "Refusal"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refusal(enum.Enum):
    """Why a peer is refused."""

    OWN = "an address of the server itself"
    DENIED = "denied by the configuration"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "a private network"
    MULTICAST = "multicast or broadcast"
    RESERVED = "an unspecified or reserved address"
    TUNNELLED = "an address of a tunnel (Teredo, 6to4 or embedded IPv4)"


def _networks(*texts: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_TABLE: tuple[tuple[Refusal, tuple[Network, ...]], ...] = (
    # RFC 8656 section 21.4: a loop through 6to4 or Teredo; the other prefixes carry IPv4 destinations in disguise.
    (
        Refusal.TUNNELLED,
        _networks("2002::/16", "2001::/32", "192.88.99.0/24", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"),
    ),
    (Refusal.LOOPBACK, _networks("127.0.0.0/8", "::1/128")),
    (Refusal.LINK_LOCAL, _networks("169.254.0.0/16", "fe80::/10")),
    (
        Refusal.PRIVATE,
        _networks("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fec0::/10"),
    ),
    (Refusal.MULTICAST, _networks("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")),
    (
        Refusal.RESERVED,
        _networks("0.0.0.0/8", "240.0.0.0/4", "192.0.0.0/24", "198.18.0.0/15", "::/96", "100::/64", "5f00::/16"),
    ),
)
"""In this order, the first match tells; 255.255.255.255 and ::1 are inside of later rows."""

_TUNNELLED_CLIENTS = _networks("2002::/16", "2001::/32")

_NEVER = frozenset({Refusal.TUNNELLED, Refusal.MULTICAST, Refusal.RESERVED})
"""What no allow-list opens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerPolicyConfig:
    """What is opened and closed beside the built-in table."""

    allow: tuple[Network, ...] = ()
    """Opens loopback, link-local and private networks, and addresses of the server. Tunnels and multicast stay shut."""
    deny: tuple[Network, ...] = ()
    """Closed before anything is allowed."""
    own_relays: bool = True
    """Whether clients may reach each other's relayed addresses: all else is closed on the server's own hosts."""
    cache: int = 4096
    """Addresses whose judgement is remembered."""

    @classmethod
    def of(cls, allow: Iterable[str] = (), deny: Iterable[str] = (), own_relays: bool = True) -> PeerPolicyConfig:
        """Return the policy of networks written as text.

        Raises:
            ValueError: a text is no network.
        """
        return cls(
            allow=tuple(ipaddress.ip_network(text) for text in allow),
            deny=tuple(ipaddress.ip_network(text) for text in deny),
            own_relays=own_relays,
        )


class PeerPolicy:
    """Judges peer addresses."""

    def __init__(self, config: PeerPolicyConfig, own: Iterable[str] = ()) -> None:
        """Args:
        config: the allow and deny lists.
        own: the IP addresses of the server: those it listens on, relays from and advertises.
        """
        self._config = config
        self._own = frozenset(ipaddress.ip_address(host) for host in own)
        self._judged: OrderedDict[str, Refusal | None] = OrderedDict()

    def refusal(self, host: str) -> Refusal | None:
        """Return why ``host`` (an IP literal) is refused as a peer; None when it is welcome."""
        if host in self._judged:
            self._judged.move_to_end(host)
            return self._judged[host]
        judgement = self._judgement(ipaddress.ip_address(host))
        self._judged[host] = judgement
        if len(self._judged) > self._config.cache:
            self._judged.popitem(last=False)
        return judgement

    @staticmethod
    def is_tunnelled_client(host: str) -> bool:
        """Whether a client's address is one of Teredo or 6to4, from where no allocation is made (section 21.4)."""
        return ":" in host and _is_in(ipaddress.ip_address(host), _TUNNELLED_CLIENTS)

    def _judgement(self, address: Address) -> Refusal | None:
        if _is_in(address, self._config.deny):
            return Refusal.DENIED
        general = next((refusal for refusal, networks in _TABLE if _is_in(address, networks)), None)
        if general in _NEVER or _is_in(address, self._config.allow):
            return general if general in _NEVER else None
        return Refusal.OWN if address in self._own else general


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(network.version == address.version and address in network for network in networks)
