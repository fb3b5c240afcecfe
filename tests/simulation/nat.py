"""The translator: a table of mappings, driven by :class:`~tests.simulation.nat_behaviour.NatBehaviour`.

It is a pure function of packets and time, without links or hosts, so that its rules can be tested alone.
"""

from __future__ import annotations

import enum
import ipaddress
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stun.address import TransportAddress
from tests.simulation.nat_behaviour import (
    Filtering,
    Hairpin,
    Mapping,
    NatBehaviour,
    PayloadRewriting,
    Pooling,
    PortAllocation,
    PortSharing,
    Refresh,
    StrayInput,
    Translation,
)

__all__ = ["Nat", "NatMapping", "Packet", "Segment"]

_PORTS = range(1024, 65536)
_FOREVER = float("inf")


class Segment(enum.Enum):
    """What a TCP segment says."""

    SYN = "open"
    SYN_ACK = "open, and I have yours"
    ACK = "I have your open"
    DATA = "bytes"
    FIN = "no more"
    RST = "there is no such connection"


class Packet(NamedTuple):
    """A UDP datagram or a TCP segment with its addresses."""

    source: TransportAddress
    destination: TransportAddress
    data: bytes
    segment: Segment | None = None
    """None for UDP."""
    ttl: int = 64
    """How many routers may hand it on."""

    @property
    def reset(self) -> Packet:
        """The RST that answers this segment."""
        return Packet(self.destination, self.source, b"", Segment.RST)


@dataclass(slots=True, eq=False)
class NatMapping:
    """One row of the table: an inner endpoint, its outer endpoint, and whom it has talked to."""

    internal: TransportAddress
    external: TransportAddress
    key: tuple[object, ...]
    expires: float
    sessions: dict[TransportAddress, float] = field(default_factory=dict)
    """Remote endpoints with the time at which the permission of each runs out."""


class Nat:
    """The table and its rules.

    Args:
        behaviour: the switches.
        externals: the outer addresses, at least one (none is needed when nothing is translated).
        rng: for random ports.
    """

    def __init__(self, behaviour: NatBehaviour, externals: Sequence[str], rng: random.Random) -> None:
        self.behaviour = behaviour
        self.externals = tuple(externals)
        self._rng = rng
        self._mappings: dict[tuple[object, ...], NatMapping] = {}
        self._by_external: dict[TransportAddress, list[NatMapping]] = {}
        self._own: dict[tuple[TransportAddress, TransportAddress], float] = {}
        self._paired: dict[str, str] = {}
        self._next_port = 40_000

    @property
    def mappings(self) -> Sequence[NatMapping]:
        """Every mapping in the table, the expired ones that nobody has touched since included."""
        return tuple(self._mappings.values())

    def forward(self, external: TransportAddress, internal: TransportAddress) -> None:
        """Forward ``external`` to ``internal`` for good, whoever sends (a port forwarding rule)."""
        mapping = NatMapping(internal, external, self._key(internal, external), _FOREVER)
        self._insert(mapping)

    def forget(self) -> None:
        """Lose every mapping but the forwarded ones, as a router does that is restarted: hosts get other ports then."""
        for mapping in [mapping for mapping in self._mappings.values() if mapping.expires < _FOREVER]:
            self._remove(mapping)

    def outbound(self, packet: Packet, now: float) -> Packet | None:
        """Translate a packet from inside to outside; None when it is dropped."""
        if self.behaviour.udp_blocked:
            return None
        mapping = self._mapping_for(packet.source, packet.destination, now)
        if mapping is None:
            return None
        if self.behaviour.refresh is not Refresh.INBOUND or packet.destination not in mapping.sessions:
            self._refresh(mapping, packet.destination, now)
        data = self._rewrite(packet.data, mapping.internal, mapping.external)
        return packet._replace(source=mapping.external, data=data)

    def inbound(self, packet: Packet, now: float) -> Packet | None:
        """Translate a packet from outside to inside; None when it is filtered."""
        if self.behaviour.udp_blocked:
            return None
        mapping = self._admitting(packet.destination, packet.source, now)
        if mapping is None:
            self._note_stray(packet, now)
            return None
        if self.behaviour.refresh is not Refresh.OUTBOUND:
            self._refresh(mapping, packet.source, now)
        data = self._rewrite(packet.data, mapping.external, mapping.internal)
        return packet._replace(destination=mapping.internal, data=data)

    def hairpin(self, packet: Packet, now: float) -> Packet | None:
        """Turn round a packet from inside to one of our outer endpoints; None when it is dropped."""
        if self.behaviour.hairpin is Hairpin.NONE:
            return None
        out = self.outbound(packet, now)
        back = self.inbound(out, now) if out is not None else None
        if back is not None and self.behaviour.hairpin is Hairpin.INTERNAL_SOURCE:
            return back._replace(source=packet.source)
        return back

    def end_session(self, external: TransportAddress, remote: TransportAddress) -> None:
        """Let ``remote`` in no longer at ``external``, as NATs do for which an RST ends a session."""
        for mapping in self._by_external.get(external, ()):
            mapping.sessions.pop(remote, None)

    # -- the table -----------------------------------------------------------------------------------------------

    def _key(self, internal: TransportAddress, remote: TransportAddress) -> tuple[object, ...]:
        match self.behaviour.mapping:
            case Mapping.ENDPOINT_INDEPENDENT:
                return (internal,)
            case Mapping.ADDRESS_DEPENDENT:
                return (internal, remote.host)
            case Mapping.ADDRESS_AND_PORT_DEPENDENT:
                return (internal, remote)

    def _mapping_for(self, internal: TransportAddress, remote: TransportAddress, now: float) -> NatMapping | None:
        key = self._key(internal, remote)
        mapping = self._mappings.get(key)
        if mapping is not None and mapping.expires > now:
            return mapping
        if mapping is not None:
            self._remove(mapping)
        external = self._allocate(internal, remote, now)
        if external is None:
            return None
        mapping = NatMapping(internal, external, key, now + self.behaviour.lifetime)
        self._insert(mapping)
        return mapping

    def _insert(self, mapping: NatMapping) -> None:
        if len(self._mappings) >= self.behaviour.max_mappings:
            self._remove(next(iter(self._mappings.values())))
        self._mappings[mapping.key] = mapping
        self._by_external.setdefault(mapping.external, []).append(mapping)

    def _remove(self, mapping: NatMapping) -> None:
        del self._mappings[mapping.key]
        sharers = self._by_external[mapping.external]
        sharers.remove(mapping)
        if not sharers:
            del self._by_external[mapping.external]

    def _refresh(self, mapping: NatMapping, remote: TransportAddress, now: float) -> None:
        mapping.expires = max(mapping.expires, now + self.behaviour.lifetime)
        mapping.sessions[remote] = now + self.behaviour.lifetime

    # -- allocation ----------------------------------------------------------------------------------------------

    def _allocate(self, internal: TransportAddress, remote: TransportAddress, now: float) -> TransportAddress | None:
        if self.behaviour.translation is Translation.NOTHING:
            return internal
        host = self._external_host(internal.host)
        if self.behaviour.allocation is PortAllocation.PRESERVE:
            wish = TransportAddress(host, internal.port)
            if self._is_free(wish, remote, now):
                return wish
        for _ in _PORTS:
            port = self._rng.choice(_PORTS)
            if self.behaviour.allocation is PortAllocation.SEQUENTIAL:
                port = self._next_port
                self._next_port = port + 1 if port + 1 in _PORTS else _PORTS[0]
            candidate = TransportAddress(host, port)
            if self._is_free(candidate, remote, now):
                return candidate
        return None

    def _external_host(self, internal: str) -> str:
        if self.behaviour.pooling is Pooling.ARBITRARY:
            return self._rng.choice(self.externals)
        if internal not in self._paired:
            self._paired[internal] = self.externals[len(self._paired) % len(self.externals)]
        return self._paired[internal]

    def _is_free(self, external: TransportAddress, remote: TransportAddress, now: float) -> bool:
        for mapping in list(self._by_external.get(external, ())):
            if mapping.expires <= now:
                self._remove(mapping)
        if self._own.get((external, remote), 0.0) > now:
            return False
        sharers = self._by_external.get(external, ())
        if self.behaviour.sharing is PortSharing.NEVER:
            return not sharers
        return all(remote not in mapping.sessions for mapping in sharers)

    # -- filtering -----------------------------------------------------------------------------------------------

    def _admitting(self, external: TransportAddress, remote: TransportAddress, now: float) -> NatMapping | None:
        for mapping in self._by_external.get(external, ()):
            if mapping.expires > now and self._admits(mapping, remote, now):
                return mapping
        return None

    def _admits(self, mapping: NatMapping, remote: TransportAddress, now: float) -> bool:
        if mapping.expires == _FOREVER:
            return True
        match self.behaviour.filtering:
            case Filtering.ENDPOINT_INDEPENDENT:
                return True
            case Filtering.ADDRESS_DEPENDENT:
                return any(peer.host == remote.host and until > now for peer, until in mapping.sessions.items())
            case Filtering.ADDRESS_AND_PORT_DEPENDENT:
                return mapping.sessions.get(remote, 0.0) > now

    def _note_stray(self, packet: Packet, now: float) -> None:
        if self.behaviour.stray_input is StrayInput.OWN_SESSION and packet.destination.host in self.externals:
            self._own[packet.destination, packet.source] = now + self.behaviour.lifetime

    # -- payloads ------------------------------------------------------------------------------------------------

    def _rewrite(self, data: bytes, old: TransportAddress, new: TransportAddress) -> bytes:
        if self.behaviour.rewriting is PayloadRewriting.NONE:
            return data
        return data.replace(_on_the_wire(old), _on_the_wire(new))


def _on_the_wire(address: TransportAddress) -> bytes:
    """A port and an address as MAPPED-ADDRESS carries them."""
    return struct.pack("!H", address.port) + ipaddress.ip_address(address.host).packed
