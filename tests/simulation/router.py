"""A NAT or firewall box between two realms."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tests.simulation.link import LinkProfile
from tests.simulation.nat import Nat, Packet
from tests.simulation.nat_behaviour import NatBehaviour
from tests.simulation.realm import Attachment, Fate, Realm

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["NatRouter"]


class NatRouter:
    """The box: a :class:`Nat` with a wire on each side. ``inside`` is the realm behind it."""

    def __init__(
        self,
        world: World,
        behaviour: NatBehaviour,
        externals: Sequence[str],
        inside: Realm,
        outside: Realm,
        prefixes: Sequence[str],
        link: LinkProfile | None,
    ) -> None:
        self.world = world
        self.nat = Nat(behaviour, externals, world.rng)
        self.inside = inside
        self.inner = Attachment(self, inside, LinkProfile(), world.rng)
        self.outer = Attachment(self, outside, link or LinkProfile(), world.rng)
        inside.gateway = self.inner
        for address in externals:
            outside.members[address] = self.outer
        for prefix in prefixes:
            outside.routes.append((ipaddress.ip_network(prefix), self.outer))

    def receive(self, packet: Packet, attachment: Attachment) -> None:
        """Translate a packet and send it on, or drop it."""
        now = self.world.now
        if attachment is self.outer:
            translated, way = self.nat.inbound(packet, now), self.inner
        elif packet.destination.host in self.nat.externals:
            translated, way = self.nat.hairpin(packet, now), self.inner
        else:
            translated, way = self.nat.outbound(packet, now), self.outer
        if translated is None:
            self.world.note(packet, Fate.FILTERED)
        else:
            way.send(translated)

    def reboot(self) -> None:
        """Forget every mapping, as a router does that loses power."""
        self.nat = Nat(self.nat.behaviour, self.nat.externals, self.world.rng)
