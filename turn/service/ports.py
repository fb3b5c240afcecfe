"""Which ports relayed addresses get: random ones of a range, even ones, pairs (RFC 8656 section 7.2, RFC 6056)."""

from __future__ import annotations

import itertools
import random

from stun.address import TransportAddress, TransportProtocol
from turn.service.config import RelayHost

__all__ = ["RelayPorts"]

_PROBES = 8

Taken = tuple[str, int, TransportProtocol]


class RelayPorts:
    """Picks ports and remembers the taken ones. Somebody else may have a port too; only binding it tells."""

    def __init__(self, hosts: tuple[RelayHost, ...], ports: tuple[int, int], rng: random.Random) -> None:
        self._hosts = {family: [host for host in hosts if host.family == family] for family in (4, 6)}
        self._first, self._last = ports
        self._rng = rng
        self._turn = {4: 0, 6: 0}
        self._taken: set[Taken] = set()

    def __len__(self) -> int:
        return len(self._taken)

    def has_family(self, family: int) -> bool:
        """Whether there is a host of that family (4 or 6)."""
        return bool(self._hosts.get(family))

    def next_host(self, family: int) -> RelayHost:
        """Return the hosts of a family in turn; there has to be one."""
        hosts = self._hosts[family]
        self._turn[family] = (self._turn[family] + 1) % len(hosts)
        return hosts[self._turn[family]]

    def take(
        self, host: RelayHost, protocol: TransportProtocol, *, even: bool = False, pair: bool = False
    ) -> TransportAddress | None:
        """Take a random free port; ``even`` wants an even one, ``pair`` the next higher one too. None: none was found.

        Looking at random may fail when most are taken; then all are looked at, from a random start.
        """
        step = 2 if even or pair else 1
        first = self._first + (self._first % step)
        count = (self._last - first - (1 if pair else 0)) // step + 1
        if count <= 0:
            return None
        probes = [self._rng.randrange(count) for _ in range(_PROBES)]
        for index in itertools.chain(probes, range(probes[0], count), range(probes[0])):
            port = first + index * step
            if self._is_free(host.host, port, protocol) and (not pair or self._is_free(host.host, port + 1, protocol)):
                break
        else:
            return None
        self._taken.add((host.host, port, protocol))
        if pair:
            self._taken.add((host.host, port + 1, protocol))
        return TransportAddress(host.host, port)

    def give_back(self, address: TransportAddress, protocol: TransportProtocol) -> None:
        """Free a port."""
        self._taken.discard((address.host, address.port, protocol))

    def _is_free(self, host: str, port: int, protocol: TransportProtocol) -> bool:
        return (host, port, protocol) not in self._taken
