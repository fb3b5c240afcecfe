"""Address realms (RFC 2663): sets of addresses that reach each other, and the wires by which nodes hang on them."""

from __future__ import annotations

import enum
import ipaddress
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tests.simulation.link import Link, LinkProfile
from tests.simulation.nat import Packet

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Attachment", "Fate", "Node", "Realm"]

_Prefix = ipaddress.IPv4Network | ipaddress.IPv6Network


class Fate(enum.Enum):
    """What became of a packet."""

    SENT = "left a socket"
    DELIVERED = "reached a socket"
    LOST = "was lost on a link"
    FILTERED = "was dropped by a NAT or firewall"
    UNROUTABLE = "had nowhere to go"
    REFUSED = "reached a host without a socket there"


class Node(Protocol):
    """What can hang on a realm: a host or a router."""

    def receive(self, packet: Packet, attachment: Attachment) -> None:
        """Take a packet that came in by ``attachment``."""


class Attachment:
    """A node's wire to a realm: an uplink and a downlink."""

    def __init__(self, node: Node, realm: Realm, profile: LinkProfile, rng: random.Random) -> None:
        self.node = node
        self.realm = realm
        self.uplink = Link(profile, rng)
        self.downlink = Link(profile, rng)

    @property
    def up(self) -> bool:
        """Whether the wire is plugged in; settable."""
        return self.uplink.up

    @up.setter
    def up(self, value: bool) -> None:
        self.uplink.up = self.downlink.up = value

    def send(self, packet: Packet) -> None:
        """Send a packet from the node into the realm."""
        self._travel(self.uplink, packet, lambda: self.realm.switch(packet, self))

    def deliver(self, packet: Packet) -> None:
        """Send a packet from the realm to the node."""
        self._travel(self.downlink, packet, lambda: self.node.receive(packet, self))

    def _travel(self, link: Link, packet: Packet, arrive: Callable[[], None]) -> None:
        world = self.realm.world
        arrivals = link.arrivals(world.now, len(packet.data) + 28)
        if not arrivals:
            world.note(packet, Fate.LOST)
        for when in arrivals:
            world.at(when, arrive)


class Realm:
    """One address realm: who is where in it, and where everything else goes."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.members: dict[str, Attachment] = {}
        self.routes: list[tuple[_Prefix, Attachment]] = []
        self.gateway: Attachment | None = None

    def switch(self, packet: Packet, sender: Attachment) -> None:
        """Hand a packet on to whoever has its destination, else to the gateway."""
        target = self._target(packet.destination.host)
        if target is None or target is sender:
            self.world.note(packet, Fate.UNROUTABLE)
        else:
            target.deliver(packet)

    def _target(self, destination: str) -> Attachment | None:
        if destination in self.members:
            return self.members[destination]
        if self.routes:
            address = ipaddress.ip_address(destination)
            for prefix, attachment in self.routes:
                if address in prefix:
                    return attachment
        return self.gateway
