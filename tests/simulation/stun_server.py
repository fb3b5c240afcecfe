"""STUN servers in the simulated world: the library's own server machine on a host of its own."""

from __future__ import annotations

from stun.address import TransportAddress
from stun.binding_server import BindingServer
from tests.simulation.machines import Driven
from tests.simulation.realm import Realm
from tests.simulation.world import World

__all__ = ["stun_server"]


def stun_server(world: World, *addresses: str, realm: Realm | None = None, name: str = "stun") -> Driven[BindingServer]:
    """Put a STUN server at ``addresses`` (port 3478 on each) and return it; works stepped and on a loop."""
    driven = Driven(world.host(name, realm or world.internet, *addresses), BindingServer())
    for address in addresses:
        assert driven.bind(address, 3478) == TransportAddress(address, 3478)
    return driven
