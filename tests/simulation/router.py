"""A NAT or firewall box between two realms."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.simulation.link import LinkProfile
from tests.simulation.nat import Nat, Packet, Segment
from tests.simulation.nat_behaviour import NatBehaviour, StraySyn
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
        self.tcp_nat = _tcp_nat(behaviour, externals, world.rng)
        """The table of TCP, which knows nothing of UDP's."""
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
        nat = self.nat if packet.segment is None else self.tcp_nat
        if attachment is self.outer:
            translated, way = nat.inbound(packet, now), self.inner
            self._meet(packet, translated is not None)
        elif packet.destination.host in nat.externals:
            translated, way = nat.hairpin(packet, now), self.inner
        else:
            translated, way = nat.outbound(packet, now), self.outer
        if translated is None or packet.ttl <= 1:
            self.world.note(packet, Fate.FILTERED)
        else:
            way.send(translated._replace(ttl=packet.ttl - 1))

    def _meet(self, packet: Packet, is_let_in: bool) -> None:
        """Do what a NAT does about TCP from outside beyond translating it (RFC 5382)."""
        behaviour = self.nat.behaviour
        if packet.segment is Segment.RST and is_let_in and behaviour.reset_ends_session:
            self.tcp_nat.end_session(packet.destination, packet.source)
        elif packet.segment is Segment.SYN and not is_let_in and behaviour.stray_syn is StraySyn.RESET:
            self.outer.send(packet.reset)

    def reboot(self) -> None:
        """Forget every mapping, as a router does that loses power."""
        self.tcp_nat = _tcp_nat(self.nat.behaviour, self.nat.externals, self.world.rng)
        self.nat = Nat(self.nat.behaviour, self.nat.externals, self.world.rng)


def _tcp_nat(behaviour: NatBehaviour, externals: Sequence[str], rng: random.Random) -> Nat:
    for_tcp = replace(behaviour, udp_blocked=behaviour.tcp_blocked, lifetime=behaviour.tcp_lifetime)
    return Nat(for_tcp, externals, rng)
