"""Which of the addresses that peers say they see us at are believed (libp2p identify, go-libp2p's quorum).

One report is hearsay: an address counts as ours only when observers in enough different networks agree. Only what is
reported over a connection to one of our listen ports says anything about that port; the caller sees to that.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable

from signalling.libp2p.addresses import ip_of
from signalling.libp2p.host_config import IdentifyConfig
from signalling.libp2p.multiaddr import Multiaddr

__all__ = ["ObservedAddresses", "is_public"]


class ObservedAddresses:
    """Counts observers of each address, in a table of bounded size."""

    def __init__(self, config: IdentifyConfig) -> None:
        self._config = config
        self._observers: OrderedDict[Multiaddr, dict[Hashable, str]] = OrderedDict()

    def report(self, address: Multiaddr, network: str, connection: Hashable) -> None:
        """An observer in ``network`` says over ``connection`` that it sees us at ``address``."""
        if not is_public(address):
            return
        observers = self._observers.setdefault(address, {})
        if len(observers) < self._config.max_observed_addresses:
            observers[connection] = network
        self._observers.move_to_end(address)
        while len(self._observers) > self._config.max_observed_addresses:
            self._observers.popitem(last=False)

    def connection_closed(self, connection: Hashable) -> None:
        """Forget what was said over ``connection``."""
        for address, observers in list(self._observers.items()):
            observers.pop(connection, None)
            if not observers:
                del self._observers[address]

    def confirmed(self) -> tuple[Multiaddr, ...]:
        """Return the addresses that enough networks agree on, in a stable order."""
        quorum = self._config.observation_quorum
        believed = [address for address, seen in self._observers.items() if len(set(seen.values())) >= quorum]
        return tuple(sorted(believed, key=str))


def is_public(address: Multiaddr) -> bool:
    """Whether the address starts with a globally reachable IP address and runs through no relay."""
    host = ip_of(address)
    return host is not None and host.is_global and not host.is_multicast and "p2p-circuit" not in address.protocols()
