"""TURN servers in the simulated world: the library's own server machine on a host of its own."""

from __future__ import annotations

import random
from typing import Any

from stun.address import TransportAddress
from tests.simulation.host import SimulatedSocket
from tests.simulation.machines import Driven
from tests.simulation.realm import Realm
from tests.simulation.world import World
from turn.credentials import StaticUsers
from turn.service.config import RelayHost, RelayLimits, TurnServiceConfig
from turn.service.events import CloseRelay, OpenRelay, SendToPeer
from turn.service.server import TurnServer

__all__ = ["PASSWORD", "USER", "SimulatedTurnServer", "turn_server"]

USER, PASSWORD = "maria", "secret"


class SimulatedTurnServer(Driven[TurnServer]):
    """A server whose relayed addresses are sockets of its host."""

    def __init__(self, world: World, address: str, realm: Realm, limits: RelayLimits, **settings: Any) -> None:
        config = TurnServiceConfig(realm="example.org", relays=(RelayHost(host=address),), limits=limits, **settings)
        machine = TurnServer(
            config, StaticUsers("example.org", {USER: PASSWORD}), random.Random(world.rng.random()), (address,)
        )
        super().__init__(world.host(f"turn {address}", realm, address), machine, self._carry_out)
        self.relays: dict[TransportAddress, SimulatedSocket] = {}
        self.address = self.bind(address, 3478)

    @property
    def url(self) -> str:
        """How clients name it."""
        return f"turn:{self.address.host}"

    def _carry_out(self, effect: Any) -> None:
        now = self.host.world.now
        match effect:
            case OpenRelay(address, protocol):
                self.relays[address] = self.host.bind(
                    address, lambda data, peer: self._from_peer(data, address, TransportAddress(*peer))
                )
                self.machine.relay_opened(address, protocol, now)
            case CloseRelay(address, _):
                self.relays.pop(address).close()
            case SendToPeer(relay, peer, data):
                self.relays[relay].send(data, peer)
            case _:
                raise TypeError(f"nobody carries out {effect!r}")

    def _from_peer(self, data: bytes, relay: TransportAddress, peer: TransportAddress) -> None:
        self.machine.receive_from_peer(data, relay, peer, self.host.world.now)
        self.pump()

    def restart(self) -> None:
        """Forget every allocation, as a server does that was started again."""
        self.machine.close(self.host.world.now)
        self.pump()


def turn_server(
    world: World,
    address: str = "203.0.113.99",
    *,
    realm: Realm | None = None,
    limits: RelayLimits | None = None,
    **settings: Any,
) -> SimulatedTurnServer:
    """Put a TURN server at ``address`` (port 3478) and return it; works stepped and on a loop."""
    return SimulatedTurnServer(world, address, realm or world.internet, limits or RelayLimits(), **settings)
