"""TCP relaying on the server: Connect, ConnectionBind, ConnectionAttempt (RFC 6062 section 5)."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Deadline, Release, Transmit
from stun.message import Message, MessageClass, Method
from turn.service.allocation import Allocation
from turn.service.events import DialPeer, DropPeer, Splice
from turn.service.permissions import peer_problem
from turn.service.state import Request, ServerState
from turn.timetable import Timetable

__all__ = ["TcpRoom"]


class _Stage(enum.Enum):
    DIALLING = "Connect under way"
    WAITING = "waits for ConnectionBind"
    BOUND = "carries data"


@dataclass(slots=True)
class _PeerConnection:
    number: int
    """Its CONNECTION-ID."""
    allocation: Allocation
    peer: TransportAddress
    stage: _Stage
    request: Request | None = None
    """The Connect that waits for an answer."""
    path: FiveTuple | None = None
    """The client's data connection, once bound."""


class TcpRoom:
    """The connections between clients and their peers."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._connections: dict[int, _PeerConnection] = {}
        self._by_path: dict[FiveTuple, _PeerConnection] = {}
        self._timetable: Timetable[int] = Timetable()
        state.at_end.append(self._allocation_ended)

    def __len__(self) -> int:
        return len(self._connections)

    # -- requests --

    def connect(self, request: Request) -> None:
        """Judge a Connect and dial (section 5.2); the answer comes when the peer has answered."""
        state = self._state
        allocation = state.allocation_of(request)
        if allocation is None:
            return
        peer = request.message.get(att.XOR_PEER_ADDRESS)
        if peer is None or not allocation.is_tcp:
            state.fail(request, 400, "Bad Request")
            return
        problem = peer_problem(state, allocation, peer, TransportProtocol.TCP)
        if problem is not None:
            state.fail(request, *problem)
        elif any(self._connections[number].peer == peer for number in allocation.peer_connections):
            state.fail(request, 446, "Connection Already Exists")
        elif len(allocation.peer_connections) >= state.config.limits.peer_connections:
            state.fail(request, 508, "Insufficient Capacity")
        else:
            connection = self._add(allocation, peer, _Stage.DIALLING)
            connection.request = request
            self._timetable.set(connection.number, request.now + state.config.times.peer_connect)
            relay = allocation.relays[peer.family].address
            target = state.inside(peer, TransportProtocol.TCP)
            state.outbox.effects.append(DialPeer(connection.number, relay, target))

    def bind(self, request: Request, early: bytes) -> bool:
        """Judge a ConnectionBind (section 5.4); True when the stream now belongs to a peer's connection."""
        state = self._state
        number = request.message.get(att.CONNECTION_ID)
        connection = self._connections.get(number) if number is not None else None
        usable = request.path.protocol.is_stream and state.allocations.get(request.path) is None
        if not usable or connection is None or connection.stage is not _Stage.WAITING:
            state.fail(request, 400, "Bad Request")
            return False
        if connection.allocation.identity != request.identity:
            state.fail(request, 441, "Wrong Credentials")
            return False
        connection.stage = _Stage.BOUND
        connection.path = request.path
        self._by_path[request.path] = connection
        self._timetable.discard(connection.number)
        state.succeed(request)
        state.outbox.effects.append(Splice(connection.number, request.path, early))
        return True

    # -- what the driver tells --

    def connected(self, number: int, now: float) -> None:
        """A peer was reached."""
        connection = self._connections.get(number)
        if connection is None:
            self._state.outbox.effects.append(DropPeer(number))
            return
        if connection.stage is not _Stage.DIALLING or connection.request is None:
            return
        connection.stage = _Stage.WAITING
        self._state.stats.peer_connections += 1
        self._state.succeed(connection.request, (att.CONNECTION_ID, number))
        connection.request = None
        self._timetable.set(number, now + self._state.config.times.peer_bind)

    def failed(self, number: int) -> None:
        """A peer could not be reached."""
        connection = self._connections.get(number)
        if connection is not None and connection.stage is _Stage.DIALLING:
            self._give_up(connection)

    def accepted(self, relay: TransportAddress, peer: TransportAddress, now: float) -> int | None:
        """A peer connected to a relayed address (section 5.3); return the connection's number, or None to close it."""
        state = self._state
        found = state.allocations.by_relay.get((relay, TransportProtocol.TCP))
        allocation = found.allocation if found is not None else None
        peer = state.outside(peer, TransportProtocol.TCP)
        if allocation is None or allocation.permissions.get(peer.host, 0.0) <= now:
            state.stats.refused_peers += 1
            return None
        if len(allocation.peer_connections) >= state.config.limits.peer_connections:
            state.stats.refused_peers += 1
            return None
        connection = self._add(allocation, peer, _Stage.WAITING)
        state.stats.peer_connections += 1
        self._timetable.set(connection.number, now + state.config.times.peer_bind)
        attempt = Message(Method.CONNECTION_ATTEMPT, MessageClass.INDICATION, state.rng.randbytes(12))
        attempt.add(att.XOR_PEER_ADDRESS, peer).add(att.CONNECTION_ID, connection.number)
        state.outbox.effects.append(Transmit(attempt.serialize(), allocation.path))
        return connection.number

    def peer_closed(self, number: int) -> None:
        """The connection to a peer is gone."""
        connection = self._connections.get(number)
        if connection is None:
            return
        if connection.stage is _Stage.DIALLING:
            self._give_up(connection)
            return
        self._forget(connection)
        if connection.path is not None:
            self._state.outbox.effects.append(Release(connection.path))

    def path_closed(self, path: FiveTuple) -> bool:
        """A client's stream is gone; True when it was the data connection of one of ours."""
        connection = self._by_path.get(path)
        if connection is None:
            return False
        self._drop(connection)
        return True

    def is_data_path(self, path: FiveTuple) -> bool:
        """Whether a stream carries the bytes of a peer's connection."""
        return path in self._by_path

    def allocation_of(self, number: int) -> Allocation | None:
        """Return the allocation that a peer's connection belongs to."""
        connection = self._connections.get(number)
        return connection.allocation if connection is not None else None

    def handle_timeout(self, now: float) -> None:
        """Give up dialling, and close connections that nobody bound."""
        for number in self._timetable.due(now):
            connection = self._connections[number]
            if connection.stage is _Stage.DIALLING:
                self._state.outbox.effects.append(DropPeer(number))
                self._give_up(connection)
            else:
                self._drop(connection)

    def next_timeout(self) -> Deadline | None:
        """When a connection has waited long enough."""
        at = self._timetable.next_at()
        return Deadline(at, "peer connection") if at is not None else None

    # -- inside --

    def _add(self, allocation: Allocation, peer: TransportAddress, stage: _Stage) -> _PeerConnection:
        number = 0
        while number == 0 or number in self._connections:
            number = self._state.rng.getrandbits(32)
        connection = _PeerConnection(number, allocation, peer, stage)
        self._connections[number] = connection
        allocation.peer_connections.add(number)
        return connection

    def _give_up(self, connection: _PeerConnection) -> None:
        self._forget(connection)
        if connection.request is not None:
            self._state.fail(connection.request, 447, "Connection Timeout or Failure")

    def _drop(self, connection: _PeerConnection) -> None:
        self._forget(connection)
        self._state.outbox.effects.append(DropPeer(connection.number))

    def _forget(self, connection: _PeerConnection) -> None:
        del self._connections[connection.number]
        connection.allocation.peer_connections.discard(connection.number)
        self._timetable.discard(connection.number)
        if connection.path is not None:
            del self._by_path[connection.path]

    def _allocation_ended(self, allocation: Allocation) -> None:
        for number in list(allocation.peer_connections):
            connection = self._connections[number]
            self._drop(connection)
            if connection.path is not None:
                self._state.outbox.effects.append(Release(connection.path))
