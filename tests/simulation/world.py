"""The world: a clock, a heap of things to happen, realms, hosts and NATs.

It runs in two ways. In the *stepping* way, :meth:`World.step` jumps to the next thing to happen and protocol machines
are driven directly (:mod:`tests.simulation.machines`). In the *loop* way a :class:`VirtualTimeLoop` (or any asyncio
loop) is the clock and hosts are reached through :class:`tests.simulation.host.SimulatedNetwork`.
"""

from __future__ import annotations

import asyncio
import heapq
import ipaddress
import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence

from stun.address import TransportAddress
from tests.simulation.host import Host
from tests.simulation.link import LinkProfile
from tests.simulation.nat import Packet
from tests.simulation.nat_behaviour import NatBehaviour, Translation
from tests.simulation.realm import Fate, Realm
from tests.simulation.router import NatRouter

__all__ = ["World"]

Observer = Callable[[float, Packet, Fate], None]


class World:
    """Everything that exists in one test.

    Args:
        seed: of the one random generator; two worlds with one seed behave alike.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = random.Random(seed)
        self.counts: Counter[Fate] = Counter()
        """What became of packets, over the whole world."""
        self.observers: list[Observer] = []
        self.names: dict[str, Sequence[str]] = {}
        """The DNS: name to addresses."""
        self.dns_delay = 0.0
        """Seconds that a name takes to resolve."""
        self.hosts: dict[str, Host] = {}
        self.internet = Realm(self, "internet")
        self._now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.TimerHandle | None = None

    # -- building --------------------------------------------------------------------------------------------------

    def realm(self, name: str) -> Realm:
        """Make an address realm that is connected to nothing yet."""
        return Realm(self, name)

    def host(self, name: str, realm: Realm, *addresses: str, link: LinkProfile | None = None) -> Host:
        """Make a host with one interface, and ``addresses`` on it (both families may be given)."""
        host = Host(self, name)
        self.hosts[name] = host
        host.add_interface(realm, *addresses, link=link)
        return host

    def nat(
        self,
        behaviour: NatBehaviour,
        *externals: str,
        outside: Realm | None = None,
        name: str = "home",
        prefixes: Sequence[str] = (),
        link: LinkProfile | None = None,
    ) -> NatRouter:
        """Make a NAT between ``outside`` (the internet unless told) and a new realm, its ``inside``.

        Args:
            externals: its addresses on the outside.
            prefixes: inner networks that are routed from outside as they are; needed where nothing is translated.
        """
        if behaviour.translation is Translation.ADDRESS_AND_PORT and not externals:
            raise ValueError("a NAT needs an outer address")
        return NatRouter(self, behaviour, externals, Realm(self, name), outside or self.internet, prefixes, link)

    # -- time ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds: of the loop when there is one, else of the world's own clock."""
        return self._loop.time() if self._loop is not None else self._now

    def at(self, when: float, action: Callable[[], None]) -> None:
        """Let ``action`` happen at ``when``; things of one time happen in the order in which they were put in."""
        heapq.heappush(self._heap, (when, next(self._order), action))
        if self._loop is not None and self._heap[0][2] is action:
            self._arm()

    def next_at(self) -> float | None:
        """When the next thing happens, or None."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> bool:
        """Jump to the next thing and let it happen; False when there is nothing.

        Raises:
            RuntimeError: an asyncio loop is this world's clock.
        """
        if self._loop is not None:
            raise RuntimeError("this world runs on an asyncio loop")
        if not self._heap:
            return False
        when, _, action = heapq.heappop(self._heap)
        self._now = max(self._now, when)
        action()
        return True

    def run(self, until: float | None = None, stop: Callable[[], bool] | None = None, limit: int = 1_000_000) -> float:
        """Step until ``stop()`` is true, time ``until`` has come, or nothing is left; return the time.

        Raises:
            RuntimeError: ``limit`` steps were not enough.
        """
        for _ in range(limit):
            if stop is not None and stop():
                return self._now
            following = self.next_at()
            if following is None or (until is not None and following > until):
                if until is not None:
                    self._now = max(self._now, until)
                return self._now
            self.step()
        raise RuntimeError(f"no end in sight after {limit} steps")

    def use_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take ``loop`` as the clock from now on; asking twice is harmless.

        Raises:
            RuntimeError: another loop is the clock already.
        """
        if self._loop is loop:
            return
        if self._loop is not None:
            raise RuntimeError("this world has another loop")
        self._loop = loop
        shift = loop.time() - self._now
        self._heap = [(when + shift, order, action) for when, order, action in self._heap]
        self._arm()

    def _arm(self) -> None:
        """Have the loop call us when the next thing is due."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self._heap and self._loop is not None:
            self._wake = self._loop.call_at(self._heap[0][0], self._due)

    def _due(self) -> None:
        self._wake = None
        assert self._loop is not None
        now = self._loop.time()
        while self._heap and self._heap[0][0] <= now + 1e-9:
            heapq.heappop(self._heap)[2]()
        self._arm()

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def note(self, packet: Packet, fate: Fate) -> None:
        """Count what became of a packet and tell the observers."""
        self.counts[fate] += 1
        for observer in self.observers:
            observer(self.now, packet, fate)

    def lookup(self, host: str, port: int) -> list[TransportAddress]:
        """Return what the DNS knows of ``host``; an IP literal is its own answer.

        Raises:
            OSError: unknown name.
        """
        if host in self.names:
            return [TransportAddress.parse(address, port) for address in self.names[host]]
        try:
            return [TransportAddress(str(ipaddress.ip_address(host)), port)]
        except ValueError:
            raise OSError(f"no such name: {host}") from None
