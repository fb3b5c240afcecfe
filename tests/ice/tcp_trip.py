"""Agents with TCP in the simulated world: what a driver does with connections, without one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ice.candidate import TcpType
from ice.config import IceConfig
from ice.events import State
from ice.roles import Role
from ice.tcp import Connect, ConnectError
from ice.tcp_inputs import ACTIVE_PORT
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Release, Transmit
from stun.message import parse
from tests.ice.trip import SERVER, Peer, add_stun_server, mirrored
from tests.simulation.host import Host
from tests.simulation.link import LinkProfile
from tests.simulation.nat import Packet
from tests.simulation.tcp import SimulatedConnection
from tests.simulation.world import World

ALL = tuple(TcpType)
ACTIVE, PASSIVE, SO = TcpType.ACTIVE, TcpType.PASSIVE, TcpType.SIMULTANEOUS_OPEN
USABLE = (State.CONNECTED, State.COMPLETED)
Kinds = tuple[TcpType, ...]
LINK = LinkProfile(latency=0.01)


class TcpPeer(Peer):
    """An agent on a host, with the kinds of TCP bases that it is told to have, and UDP unless told otherwise."""

    def __init__(
        self,
        host: Host,
        role: Role,
        kinds: Collection[TcpType] = ALL,
        config: IceConfig | None = None,
        *,
        udp: bool = False,
        seed: int = 1,
        signalling: float = 0.05,
    ) -> None:
        self.connections: dict[FiveTuple, SimulatedConnection] = {}
        self.dialled: list[tuple[float, FiveTuple]] = []
        """Every Connect, and when."""
        self.closed: list[FiveTuple] = []
        """Every Release."""
        self._has_udp = udp
        self._kinds = kinds
        super().__init__(host, role, config, seed=seed, signalling=signalling)
        self._on_effect = self._perform_other

    def _add_bases(self) -> None:
        if self._has_udp:
            super()._add_bases()
        for kind in self._kinds:
            for address in self.host.addresses:
                self._add(kind, address)

    def _add(self, kind: TcpType, address: str) -> None:
        port = ACTIVE_PORT
        if kind is not TcpType.ACTIVE:
            port = 6000 + len(self.host.tcp.listeners)
            local = TransportAddress(address, port)
            self.host.tcp.listen(local, self._accepted)
        self.machine.add_tcp_base(TransportAddress(address, port), kind, self.host.world.now)

    # -- effects --

    def _perform(self, effect: Any) -> None:
        if isinstance(effect, Transmit) and effect.path.protocol is TransportProtocol.TCP:
            self.sent += 1
            if (connection := self.connections.get(effect.path)) is not None:
                connection.send(effect.data)
        else:
            super()._perform(effect)

    def _perform_other(self, effect: Any) -> None:
        match effect:
            case Connect():
                self._connect(effect)
            case Release(path):
                self.closed.append(path)
                if (connection := self.connections.pop(path, None)) is not None:
                    connection.close()
            case _:
                raise TypeError(f"nobody performs {effect!r}")

    def _connect(self, effect: Connect) -> None:
        path, world = effect.path, self.host.world
        self.dialled.append((world.now, path))
        local = path.local._replace(port=0) if path.local.port == ACTIVE_PORT else path.local
        try:
            connection = self.host.tcp.connect(local, path.remote, effect.ttl or 64)
        except OSError:
            world.at(world.now, lambda: self._failed(path, ConnectError.IN_USE))
            return
        self.connections[path] = connection
        connection.on_open = lambda: self._opened(path, connection)
        connection.on_fail = lambda: self._failed(path, ConnectError.REFUSED, connection)

    # -- inputs --

    def _opened(self, path: FiveTuple, connection: SimulatedConnection) -> None:
        self.connections[path] = connection
        connection.on_data = lambda data: self._on_data(path, data)
        connection.on_closed = lambda: self._closed(path, connection)
        self.machine.path_opened(path, self.host.world.now)
        self.pump()

    def _accepted(self, connection: SimulatedConnection) -> None:
        self._opened(FiveTuple(connection.local, connection.remote, TransportProtocol.TCP), connection)

    def _failed(self, path: FiveTuple, error: ConnectError, connection: SimulatedConnection | None = None) -> None:
        if connection is None or self.connections.get(path) is connection:
            self.connections.pop(path, None) if connection is not None else None
            self.machine.path_failed(path, error, self.host.world.now)
            self.pump()

    def _on_data(self, path: FiveTuple, data: bytes) -> None:
        self.received += 1
        self.machine.receive_datagram(data, path, self.host.world.now)
        self.pump()

    def _closed(self, path: FiveTuple, connection: SimulatedConnection) -> None:
        if self.connections.get(path) is connection:
            del self.connections[path]
            self.machine.path_closed(path, self.host.world.now)
            self.pump()


def add_tcp_stun_server(world: World, address: str = SERVER) -> TransportAddress:
    """Put a STUN server on the internet that answers over UDP and TCP, and return where."""
    server = add_stun_server(world, address)
    host = world.hosts[f"stun {address}"]

    def accept(connection: SimulatedConnection) -> None:
        def answer(data: bytes) -> None:
            request = parse(data)
            connection.send(request.success((att.XOR_MAPPED_ADDRESS, connection.remote)).serialize())

        connection.on_data = answer

    host.tcp.listen(server, accept)
    return server


def is_connected(*peers: TcpPeer) -> bool:
    """Whether both use one pair."""
    return all(peer.state in USABLE for peer in peers) and mirrored(
        peers[0].machine.selected_pair, peers[1].machine.selected_pair
    )


def two_hosts(
    world: World, kinds_a: Kinds, kinds_b: Kinds, config: IceConfig | None = None, *, udp: bool = False
) -> tuple[TcpPeer, TcpPeer]:
    """Return two agents on the internet, with the bases that each is to have."""
    a = world.host("a", world.internet, "192.0.2.1", link=LINK)
    b = world.host("b", world.internet, "198.51.100.2", link=LINK)
    return (
        TcpPeer(a, Role.CONTROLLING, kinds_a, config, udp=udp),
        TcpPeer(b, Role.CONTROLLED, kinds_b, config, udp=udp, seed=2),
    )


def lose_connections(*peers: TcpPeer, of: Packet | None = None) -> None:
    """Have every connection gone at both ends at once, or the one that a packet is ``of``."""
    ends = None if of is None else {(of.source, of.destination), (of.destination, of.source)}
    for peer in peers:
        for path, connection in list(peer.connections.items()):
            if ends is None or (connection.local, connection.remote) in ends:
                del peer.host.tcp.connections[connection.local, connection.remote]
                del peer.connections[path]
                peer.machine.path_closed(path, peer.host.world.now)
    for peer in peers:
        peer.pump()
