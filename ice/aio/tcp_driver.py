"""The TCP half of what runs an agent: listeners, dials and connections, by the paths that the agent knows."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ice.aio.shared_network import NetworkSeat
from ice.aio.stats import Traffic
from ice.aio.tcp_connection import Receiver, TcpConnection
from ice.aio.tcp_relayed import RelayedConnection
from ice.aio.tcp_sockets import SystemTcp, TcpDial
from ice.candidate import TcpType
from ice.tcp import Connect, ConnectError, Framing
from ice.tcp_config import TcpConfig
from ice.tcp_inputs import ACTIVE_PORT
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.aio import UdpNetwork
from stun.demux import is_stun
from stun.machine import Transmit
from stun.network import Network
from stun.nothing import NO_ENTRIES
from turn.aio.peer_stream import PeerStream

if TYPE_CHECKING:
    from ice.aio.driver import AgentDriver

__all__ = ["TcpDriver"]

Send = Callable[[bytes, tuple[str, int]], bool]


class _Listening:
    """A listening socket, or what we have of one: what it accepts becomes a connection of the agent."""

    __slots__ = ("_driver", "listener")

    def __init__(self, driver: TcpDriver, tcp: SystemTcp, wanted: TransportAddress, backlog: int) -> None:
        self._driver = driver
        self.listener = tcp.listen(wanted, self._accepted, backlog)

    def _accepted(self, connection: socket.socket, remote: TransportAddress) -> None:
        self._driver.accepted(FiveTuple(self.listener.local, remote, TransportProtocol.TCP), connection)


class TcpDriver:
    """Carries out the TCP effects of one agent and tells it what came of them.

    Args:
        driver: what runs the agent; it is pumped after every input given to the agent.
        network: where UDP comes from; its attribute ``tcp``, or the system's TCP beside the system's UDP.
        config: limits.
        put: takes the peer's data.
        traffic: where discarded packets are counted.
    """

    __slots__ = (
        "_closed",
        "_config",
        "_dials",
        "_driver",
        "_listening",
        "_loop",
        "_put",
        "_tcp",
        "_traffic",
        "connections",
    )

    def __init__(
        self,
        driver: AgentDriver,
        network: Network | NetworkSeat,
        config: TcpConfig,
        put: Callable[[bytes], None],
        traffic: Traffic,
    ) -> None:
        default = SystemTcp(config) if isinstance(network, UdpNetwork) else None
        self._tcp: SystemTcp | None = getattr(network, "tcp", default)
        self._driver = driver
        self._config = config
        self._put = put
        self._traffic = traffic
        self._loop = asyncio.get_running_loop()
        self._listening: tuple[_Listening, ...] = ()
        self._dials: dict[FiveTuple, TcpDial] = NO_ENTRIES
        self.connections: dict[FiveTuple, TcpConnection | RelayedConnection] = NO_ENTRIES
        """The open connections by their logical paths."""
        self._closed = False

    @property
    def is_possible(self) -> bool:
        """Whether the network has TCP."""
        return self._tcp is not None

    def add_base(self, host: str, tcp_type: TcpType, port: int = 0) -> None:
        """Make a TCP base of the agent on one of our hosts, listening at ``port`` if it listens; 0 takes any.

        Raises:
            OSError: the address cannot be bound, or the session is over.
        """
        if self._tcp is None or self._closed:
            raise OSError("there is no TCP (any more)")
        local = TransportAddress(host, ACTIVE_PORT)
        if tcp_type is not TcpType.ACTIVE:
            listening = _Listening(self, self._tcp, TransportAddress(host, port), self._config.max_incoming)
            self._listening += (listening,)
            local = listening.listener.local
        self._driver.agent.add_tcp_base(local, tcp_type, self._loop.time())

    def accepted(self, path: FiveTuple, connection: socket.socket) -> None:
        """Take a connection of the peer's."""
        self._open(path, connection, Framing.ICE)

    # -- effects --

    def connect(self, effect: Connect) -> None:
        """Carry out a Connect."""
        path = effect.path
        local = path.local._replace(port=0) if path.local.port == ACTIVE_PORT else path.local
        if self._tcp is None or self._closed or path in self._dials or path in self.connections:
            self._loop.call_soon(self._failed, path, ConnectError.IN_USE)
            return
        try:
            dialled = partial(self._dialled, effect)
            if self._dials is NO_ENTRIES:
                self._dials = {}
            self._dials[path] = self._tcp.dial(local, path.remote, dialled, effect.ttl)
        except OSError:
            self._loop.call_soon(self._failed, path, ConnectError.OTHER)

    def _dialled(self, effect: Connect, outcome: socket.socket | ConnectError) -> None:
        self._take_dial(effect.path)
        if isinstance(outcome, ConnectError):
            self._failed(effect.path, outcome)
        else:
            self._open(effect.path, outcome, effect.framing)

    def _failed(self, path: FiveTuple, error: ConnectError) -> None:
        if not self._closed and path not in self.connections:
            self._driver.agent.path_failed(path, error, self._loop.time())
            self._driver.pump()

    def _open(self, path: FiveTuple, connected: socket.socket, framing: Framing) -> None:
        if self._closed or path in self.connections:
            connected.close()
            return
        if (dial := self._take_dial(path)) is not None:
            dial.cancel()  # The peer's connection between the same two ports was there first.
        try:
            connection = TcpConnection(
                connected, self._receiver(path, framing), partial(self._gone, path), framing, self._config, self._loop
            )
        except OSError:  # Reset before we came to look at it.
            connected.close()
            self._failed(path, ConnectError.REFUSED)
            return
        self._opened(path, connection)

    def _opened(self, path: FiveTuple, connection: TcpConnection | RelayedConnection) -> None:
        if self.connections is NO_ENTRIES:
            self.connections = {}
        self.connections[path] = connection
        self._driver.agent.path_opened(path, self._loop.time())
        self._driver.pump()

    def adopt(self, path: FiveTuple, stream: PeerStream) -> None:
        """Take a connection that a TURN server has made for us."""
        if self._closed or path in self.connections:
            stream.abort()
            return
        receiver, gone = self._receiver(path, Framing.ICE), partial(self._gone, path)
        self._opened(path, RelayedConnection(stream, receiver, gone, self._config))

    def _gone(self, path: FiveTuple) -> None:
        if self._take_connection(path) is not None and not self._closed:
            self._driver.agent.path_closed(path, self._loop.time())
            self._driver.pump()

    def release(self, path: FiveTuple) -> None:
        """Carry out a Release."""
        if (dial := self._take_dial(path)) is not None:
            dial.cancel()
        if (connection := self._take_connection(path)) is not None:
            connection.close()

    def transmit(self, effect: Transmit) -> None:
        """Send a STUN message; without a connection it is lost, as on its way."""
        if (connection := self.connections.get(effect.path)) is not None:
            connection.send_check(effect.data)

    # Most sessions have connections for a few seconds, if at all: emptied tables would keep their room.

    def _take_dial(self, path: FiveTuple) -> TcpDial | None:
        dial = self._dials.pop(path, None)
        if not self._dials:
            self._dials = NO_ENTRIES
        return dial

    def _take_connection(self, path: FiveTuple) -> TcpConnection | RelayedConnection | None:
        connection = self.connections.pop(path, None)
        if not self.connections:
            self.connections = NO_ENTRIES
        return connection

    # -- data --

    def sender(self, path: FiveTuple) -> Send:
        """Return what sends data on a path, also when its connection is opened again."""

        def send(data: bytes, remote: tuple[str, int]) -> bool:
            connection = self.connections.get(path)
            return connection is not None and connection.send(data)

        return send

    def _receiver(self, path: FiveTuple, framing: Framing) -> Receiver:
        put, traffic, time = self._put, self._traffic, self._loop.time
        agent, pump = self._driver.agent, self._driver.pump
        sources, remote = agent.accepted_sources(path.local, TransportProtocol.TCP), path.remote

        def receive(data: bytes) -> None:
            if data[0] < 4 and is_stun(data):
                agent.receive_datagram(data, path, time())
                pump()
            elif remote in sources.accepted and framing is Framing.ICE:
                put(data)
            else:
                traffic.discarded += 1

        return receive

    # -- the end --

    def close(self) -> None:
        """Stop listening, close every connection after what was sent; harmless twice."""
        self._closed = True
        for listening in self._listening:
            listening.listener.close()
        for dial in self._dials.values():
            dial.cancel()
        for connection in list(self.connections.values()):
            connection.close()
        self._listening = ()
        self._dials.clear()
        self.connections.clear()
