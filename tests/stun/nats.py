"""A behaviour discovery server in the simulated world, and a client that examines the NAT before it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from stun.address import TransportAddress
from stun.behaviour import NatReport, NatTest
from stun.behaviour_client import QUICK_TESTS, BehaviourClient, BindPort, ReleasePort
from stun.behaviour_server import BehaviourRules, other_addresses
from stun.binding_server import BindingServer
from stun.config import BehaviourClientConfig, BehaviourServerConfig
from tests.simulation import Driven, LinkProfile, World
from tests.simulation.nat_behaviour import NatBehaviour, Translation

PRIMARY = TransportAddress("198.51.100.1", 3478)
OTHER = TransportAddress("198.51.100.2", 3479)


def add_server(world: World, other_host: str | None = OTHER.host, **settings: Any) -> Driven[BindingServer]:
    """A server with two ports, and two addresses unless told otherwise."""
    others = other_addresses(PRIMARY, other_host, OTHER.port)
    machine = BindingServer(behaviour=BehaviourRules(BehaviourServerConfig(**settings), others))
    server = Driven(world.host("server", world.internet, PRIMARY.host, OTHER.host), machine)
    for address in others:
        server.bind(address.host, address.port)
    return server


class Examiner:
    """A client behind ``nat`` that runs one examination to its end."""

    def __init__(
        self,
        world: World,
        nat: NatBehaviour | None,
        *,
        server: TransportAddress = PRIMARY,
        second: TransportAddress | None = None,
        tests: frozenset[NatTest] = QUICK_TESTS,
        link: LinkProfile | None = None,
        **settings: Any,
    ) -> None:
        link = link or LinkProfile(latency=0.01)
        if nat is None:
            host = world.host("client", world.internet, "192.0.2.7", link=link)
        elif nat.translation is Translation.NOTHING:
            host = world.host("client", world.nat(nat, prefixes=["192.0.2.7/32"]).inside, "192.0.2.7", link=link)
        else:
            host = world.host("client", world.nat(nat, "203.0.113.9").inside, "10.0.0.2", link=link)
        config = replace(BehaviourClientConfig(), **settings)
        machine = BehaviourClient(server, random.Random(5), second=second, tests=tests, config=config)
        self.world = world
        self.driven = Driven(host, machine, self._perform)
        self.opened = 0
        self.released = 0

    def run(self) -> NatReport:
        """Examine, and return what was found; nothing is left open."""
        self.driven.machine.start(self.world.now)
        self.driven.pump()
        self.world.run(stop=lambda: bool(self.driven.events))
        (report,) = self.driven.events
        assert isinstance(report, NatReport)
        assert self.driven.machine.next_timeout() is None
        assert self.opened == self.released
        return report

    def _perform(self, effect: object) -> None:
        if isinstance(effect, BindPort):
            self.opened += 1
            self.driven.machine.port_bound(effect.key, self.driven.bind(), self.world.now)
        else:
            assert isinstance(effect, ReleasePort)
            self.released += 1
            self.driven._sockets.pop(effect.local).close()
