"""The settings of candidates that are names instead of addresses (draft-ietf-mmusic-mdns-ice-candidates-03)."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["MdnsConfig", "MdnsMode"]


class MdnsMode(enum.StrEnum):
    """What is done with names that multicast DNS answers."""

    OFF = "off"
    """Nothing: the peer's names are dropped and counted, ours are never made."""
    RESOLVE = "resolve"
    """The peer's names are resolved on the local network; our own candidates have addresses."""
    PUBLISH = "publish"
    """As RESOLVE, and our own private addresses are told as names, so that only the local network can read them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MdnsConfig:
    """What is resolved and published, how fast and how much. Times are in seconds."""

    mode: MdnsMode = MdnsMode.RESOLVE
    """Browsers hide their addresses this way, so resolving is what connects to one on the same network at once."""
    resolve_timeout: float = 5.0
    """How long a name may take to be answered; its candidates are dropped after that (draft section 3.2.2)."""
    resolve_interval: float = 0.05
    """The least time between two questions: a peer must not make us flood the local network (draft section 5)."""
    max_names: int = 32
    """The most names of the peer that are asked for in one session."""
    max_resolving: int = 8
    """The most questions that are open at one time."""
    max_candidates: int = 64
    """The most candidates that wait for their names."""
    publish_timeout: float = 3.0
    """How long publishing a name of ours may take; its candidates are not told after that."""
    hidden_networks: Sequence[str] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",
        "169.254.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
    """The addresses that PUBLISH hides: private, shared, link-local and unique local ones (draft section 3.1.1).
    What is public is known to whoever is talked to."""

    def __post_init__(self) -> None:
        for network in self.hidden_networks:
            ipaddress.ip_network(network)  # Raises ValueError now rather than when an address comes.
        if min(self.max_names, self.max_resolving, self.max_candidates) < 1:
            raise ValueError("max_names, max_resolving and max_candidates must be positive")
        if min(self.resolve_timeout, self.publish_timeout) <= 0 or self.resolve_interval < 0:
            raise ValueError("resolve_timeout and publish_timeout must be positive, resolve_interval not negative")

    def hides(self, host: str) -> bool:
        """Whether ``host`` is one of the addresses that are not to be seen."""
        ip = ipaddress.ip_address(host.partition("%")[0])
        return any(ip in ipaddress.ip_network(network) for network in self.hidden_networks)
