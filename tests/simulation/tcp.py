"""TCP for simulated hosts: the handshake in all its forms, resets, and segments that NATs see.

What is modelled is what NATs and ICE react to: SYN, simultaneous SYNs, RST, FIN. SYNs are repeated; bytes are not, so
links that lose packets are not for worlds with TCP.
"""

from __future__ import annotations

import enum
import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stun.address import TransportAddress
from tests.simulation.nat import Packet, Segment
from tests.simulation.realm import Fate

if TYPE_CHECKING:
    from tests.simulation.host import Host

__all__ = ["SimulatedConnection", "SimulatedTcp", "TcpState"]

_SYN_REPEATS = (1.0, 3.0, 7.0)
"""When an unanswered SYN is sent again, in seconds after the first (RFC 6298: 1 s, doubled)."""


class TcpState(enum.Enum):
    """The states of RFC 9293 that are told apart here."""

    SYN_SENT = enum.auto()
    SYN_RECEIVED = enum.auto()
    ESTABLISHED = enum.auto()
    CLOSED = enum.auto()


def _nothing(*_: object) -> None:
    return None


@dataclass(eq=False)
class SimulatedConnection:
    """One connection of a simulated host."""

    stack: SimulatedTcp
    local: TransportAddress
    remote: TransportAddress
    state: TcpState
    is_accepted: bool = False
    ttl: int = 64
    on_open: Callable[[], None] = _nothing
    on_fail: Callable[[], None] = _nothing
    on_data: Callable[[bytes], None] = _nothing
    on_closed: Callable[[], None] = _nothing
    received: list[bytes] = field(default_factory=list)
    """What came before anybody listened with ``on_data``."""

    def send(self, data: bytes) -> None:
        """Send bytes; they arrive whole, as one segment."""
        if self.state is TcpState.ESTABLISHED:
            self.stack.emit(Packet(self.local, self.remote, data, Segment.DATA))

    def close(self) -> None:
        """End it: FIN when it is open, silence before."""
        if self.state is TcpState.ESTABLISHED:
            self.stack.emit(Packet(self.local, self.remote, b"", Segment.FIN))
        self._drop()

    def _drop(self) -> None:
        self.state = TcpState.CLOSED
        self.stack.connections.pop((self.local, self.remote), None)

    def receive(self, packet: Packet) -> None:
        """Take a segment."""
        match packet.segment:
            case Segment.SYN if self.state is TcpState.SYN_SENT:
                self.state = TcpState.SYN_RECEIVED  # A simultaneous open (RFC 9293 section 3.5).
                self._answer(Segment.SYN_ACK)
            case Segment.SYN if self.state is TcpState.SYN_RECEIVED:
                self._answer(Segment.SYN_ACK)
            case Segment.SYN_ACK if self.state in (TcpState.SYN_SENT, TcpState.SYN_RECEIVED):
                self._answer(Segment.ACK)
                self._establish()
            case Segment.ACK if self.state is TcpState.SYN_RECEIVED:
                self._establish()
            case Segment.DATA if self.state is not TcpState.SYN_SENT:
                if self.state is TcpState.SYN_RECEIVED:
                    self._establish()
                self.on_data(packet.data)
            case Segment.FIN | Segment.RST:
                self._end()
            case _:
                pass

    def _answer(self, segment: Segment) -> None:
        self.stack.emit(Packet(self.local, self.remote, b"", segment))

    def _establish(self) -> None:
        self.state = TcpState.ESTABLISHED
        if self.is_accepted:
            self.stack.accepted(self)
        else:
            self.on_open()

    def _end(self) -> None:
        was = self.state
        self._drop()
        if was is TcpState.ESTABLISHED:
            self.on_closed()
        elif not self.is_accepted:
            self.on_fail()

    def repeat(self) -> None:
        """Send the SYN again if nobody has answered."""
        if self.state is TcpState.SYN_SENT:
            self.stack.emit(Packet(self.local, self.remote, b"", Segment.SYN, self.ttl))


class SimulatedTcp:
    """The TCP of one host."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.listeners: dict[TransportAddress, Callable[[SimulatedConnection], None]] = {}
        self.connections: dict[tuple[TransportAddress, TransportAddress], SimulatedConnection] = {}
        self.opened = 0
        """Connections that were asked for."""
        self._next_port = 40_000

    def listen(self, local: TransportAddress, on_accept: Callable[[SimulatedConnection], None]) -> None:
        """Accept connections at ``local``."""
        if local in self.listeners:
            raise OSError(errno.EADDRINUSE, f"{local} is taken")
        self.listeners[local] = on_accept

    def connect(self, local: TransportAddress, remote: TransportAddress, ttl: int = 64) -> SimulatedConnection:
        """Begin to open a connection; port 0 picks one. The caller sets its callbacks.

        Raises:
            OSError: there is one with these ends.
        """
        if local.port == 0:
            self._next_port += 1
            local = local._replace(port=self._next_port)
        if (local, remote) in self.connections:
            raise OSError(errno.EADDRNOTAVAIL, f"{local} to {remote} exists")
        connection = SimulatedConnection(self, local, remote, TcpState.SYN_SENT, ttl=ttl)
        self.connections[local, remote] = connection
        self.opened += 1
        world = self._host.world
        for delay in (0.0, *_SYN_REPEATS):
            world.at(world.now + delay, connection.repeat)
        return connection

    def accepted(self, connection: SimulatedConnection) -> None:
        """The handshake of an incoming connection is done."""
        on_accept = self.listeners.get(connection.local)
        if on_accept is None:
            connection.close()
        else:
            on_accept(connection)

    def emit(self, packet: Packet) -> None:
        """Send a segment."""
        self._host.emit(packet)

    def receive(self, packet: Packet) -> None:
        """Take a segment from a wire."""
        self._host.world.note(packet, Fate.DELIVERED)
        key = packet.destination, packet.source
        connection = self.connections.get(key)
        if connection is not None:
            connection.receive(packet)
        elif packet.segment is Segment.SYN and packet.destination in self.listeners:
            connection = SimulatedConnection(self, *key, TcpState.SYN_RECEIVED, is_accepted=True)
            self.connections[key] = connection
            self.emit(Packet(*key, b"", Segment.SYN_ACK))
        elif packet.segment is not Segment.RST:
            self.emit(packet.reset)
