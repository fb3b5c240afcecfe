"""Hosts with interfaces and sockets asyncio code sees them as a :class:`stun.network.Network`."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING

from stun.address import TransportAddress
from stun.network import DatagramReceiver, Interface
from tests.simulation.link import LinkProfile
from tests.simulation.nat import Packet
from tests.simulation.realm import Attachment, Fate, Realm
from tests.simulation.tcp import SimulatedTcp

if TYPE_CHECKING:
    from tests.simulation.world import World

__all__ = ["Host", "SimulatedNetwork", "SimulatedSocket"]

_WILDCARDS = {4: "0.0.0.0", 6: "::"}
_LOOPBACKS = {4: "127.0.0.1", 6: "::1"}
_LARGEST = 65_507


class SimulatedSocket:
    """A bound UDP socket of a simulated host; a :class:`stun.network.DatagramSocket`."""

    def __init__(self, host: Host, local: TransportAddress, receiver: DatagramReceiver) -> None:
        self._host = host
        self._local = local
        self.receiver = receiver
        self.closed = False

    @property
    def local(self) -> TransportAddress:
        """Where it is bound."""
        return self._local

    def send(self, data: bytes, remote: tuple[str, int]) -> bool:
        """Send one datagram; False when it is closed, too large, or the host has no way there."""
        if self.closed or len(data) > _LARGEST:
            return False
        return self._host.send(self._local, TransportAddress(*remote[:2]), bytes(data))

    def close(self) -> None:
        """Free the port."""
        if not self.closed:
            self.closed = True
            del self._host.sockets[self._local]


class Host:
    """One machine: addresses, a socket table, counters."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.sockets: dict[TransportAddress, SimulatedSocket] = {}
        self.sent = 0
        """Datagrams that its sockets have sent."""
        self.received = 0
        """Datagrams that its sockets have received."""
        self.tcp = SimulatedTcp(self)
        """Its TCP."""
        self._attachments: dict[str, Attachment] = {}
        self._interfaces: list[Interface] = []
        self._next_port = 50_000

    # -- interfaces --------------------------------------------------------------------------------------------------

    def add_interface(self, realm: Realm, *addresses: str, link: LinkProfile | None = None) -> str:
        """Plug the host into ``realm`` with ``addresses`` and return the name of the interface."""
        attachment = Attachment(self, realm, link or LinkProfile(), self.world.rng)
        name = f"eth{len({interface.name for interface in self._interfaces})}"
        for text in addresses:
            address = str(ipaddress.ip_address(text))
            if address in realm.members:
                raise ValueError(f"{address} is taken in {realm.name}")
            realm.members[address] = attachment
            self._attachments[address] = attachment
            self._interfaces.append(Interface(name, address, 24 if "." in address else 64))
        return name

    def remove_address(self, address: str) -> None:
        """Unplug one address: what is sent from it or to it goes nowhere from now on."""
        attachment = self._attachments.pop(address)
        del attachment.realm.members[address]
        self._interfaces = [interface for interface in self._interfaces if interface.host != address]

    def vanish(self) -> None:
        """Pull every plug; sockets stay open and hear nothing any more."""
        self._plug(False)

    def reappear(self) -> None:
        """Plug everything in again."""
        self._plug(True)

    def _plug(self, up: bool) -> None:
        for attachment in self._attachments.values():
            attachment.up = up

    def interfaces(self) -> list[Interface]:
        """Every address, loopback first."""
        families = sorted({6 if ":" in interface.host else 4 for interface in self._interfaces})
        loopback = [Interface("lo", _LOOPBACKS[family], 8 if family == 4 else 128) for family in families]
        return loopback + self._interfaces

    @property
    def addresses(self) -> list[str]:
        """Every address but loopback."""
        return [interface.host for interface in self._interfaces]

    # -- sockets -----------------------------------------------------------------------------------------------------

    def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> SimulatedSocket:
        """Bind a socket; port 0 picks one.

        Raises:
            OSError: the address is not ours, or the port is taken.
        """
        if local.host not in {*self._attachments, *_WILDCARDS.values(), *_LOOPBACKS.values()}:
            raise OSError(errno.EADDRNOTAVAIL, f"{local.host} is not an address of {self.name}")
        if local.port == 0:
            local = self._free(local.host)
        if local in self.sockets:
            raise OSError(errno.EADDRINUSE, f"{local} is taken")
        socket = SimulatedSocket(self, local, receiver)
        self.sockets[local] = socket
        return socket

    def _free(self, host: str) -> TransportAddress:
        while True:
            self._next_port = self._next_port + 1 if self._next_port < 65_535 else 50_000
            candidate = TransportAddress(host, self._next_port)
            if candidate not in self.sockets:
                return candidate

    def send(self, source: TransportAddress, destination: TransportAddress, data: bytes) -> bool:
        """Send a datagram; False when there is no way there from ``source``."""
        if source.family != destination.family:
            return False
        own = destination.host in self._attachments or destination.host in _LOOPBACKS.values()
        if source.host in _WILDCARDS.values():
            source = TransportAddress(self._source_for(destination.host if own else None, source.family), source.port)
        attachment = self._attachments.get(source.host)
        if attachment is None and not own:
            return False
        self.sent += 1
        return self.emit(Packet(source, destination, data))

    def emit(self, packet: Packet) -> bool:
        """Put a packet on the wire of its source; False when there is none."""
        host = packet.destination.host
        own = host in self._attachments or host in _LOOPBACKS.values()
        attachment = self._attachments.get(packet.source.host)
        if attachment is None and not own:
            return False
        self.world.note(packet, Fate.SENT)
        if own:
            self.world.at(self.world.now, lambda: self._deliver(packet))
        elif attachment is not None:
            attachment.send(packet)
        return True

    def _source_for(self, own: str | None, family: int) -> str:
        if own is not None:
            return own
        return next((host for host in self._attachments if (":" in host) == (family == 6)), _LOOPBACKS[family])

    def receive(self, packet: Packet, attachment: Attachment) -> None:
        """Take a packet from a wire."""
        if packet.destination.host in self._attachments:
            self._deliver(packet)
        else:
            self.world.note(packet, Fate.UNROUTABLE)

    def _deliver(self, packet: Packet) -> None:
        if packet.segment is not None:
            self.tcp.receive(packet)
            return
        destination = packet.destination
        wildcard = TransportAddress(_WILDCARDS[destination.family], destination.port)
        socket = self.sockets.get(destination) or self.sockets.get(wildcard)
        if socket is None:
            self.world.note(packet, Fate.REFUSED)
            return
        self.received += 1
        self.world.note(packet, Fate.DELIVERED)
        socket.receiver(packet.data, (packet.source.host, packet.source.port))

    def network(self) -> SimulatedNetwork:
        """Return the port through which asyncio code uses this host."""
        return SimulatedNetwork(self)


class SimulatedNetwork:
    """A :class:`stun.network.Network` on a simulated host; the running loop becomes the world's clock."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def interfaces(self) -> Sequence[Interface]:
        """Every address, loopback included."""
        return self.host.interfaces()

    async def resolve(self, host: str, port: int) -> Sequence[TransportAddress]:
        """Ask the world's DNS; takes ``World.dns_delay`` seconds for names."""
        world = self.host.world
        world.use_loop(asyncio.get_running_loop())
        if world.dns_delay and not host.replace(".", "").isdigit() and ":" not in host:
            await asyncio.sleep(world.dns_delay)
        return world.lookup(host, port)

    async def bind(self, local: TransportAddress, receiver: DatagramReceiver) -> SimulatedSocket:
        """Bind a socket."""
        self.host.world.use_loop(asyncio.get_running_loop())
        return self.host.bind(local, receiver)
