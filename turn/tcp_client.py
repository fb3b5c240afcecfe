"""TCP allocations, the client's side (RFC 6062): connections to peers, each bound to a connection of its own."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.errors import StunParseError
from stun.machine import Deadline, Outbox, Release, Transmit
from stun.message import HEADER_LENGTH, MAX_MESSAGE, Message, Method, parse
from turn.authentication import Authentication
from turn.config import TurnClientConfig
from turn.errors import (
    TurnConnectionExistsError,
    TurnConnectionTimeoutError,
    TurnError,
    TurnProtocolError,
    TurnUnreachableError,
)
from turn.events import ConnectionAttempted, PeerConnected, PeerConnectFailed
from turn.requests import Ask, Requests

__all__ = ["BindFailed", "Bound", "ConnectRequest", "DataConnection", "PeerConnections"]


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The context of Connect."""

    peer: TransportAddress


class PeerConnections:
    """What the control connection has to do with connections of peers (sections 4.3 and 4.4)."""

    def __init__(self, config: TurnClientConfig, server: str) -> None:
        self.events: deque[PeerConnected | PeerConnectFailed | ConnectionAttempted] = deque()
        self.asks: deque[Ask[ConnectRequest]] = deque()
        self.dropped = 0
        """ConnectionAttempts beyond the limit."""
        self._config = config
        self._server = server
        self._connecting: set[TransportAddress] = set()
        self._not_before: dict[TransportAddress, float] = {}
        self._attempted: dict[int, float] = {}

    def connect(self, peer: TransportAddress, now: float) -> None:
        """Ask the server to connect to a peer."""
        self._not_before = {known: at for known, at in self._not_before.items() if at > now}
        if peer in self._connecting:
            text = f"a connection to {peer} is being made already"
            self.events.append(PeerConnectFailed(peer, TurnConnectionExistsError(text, server=self._server)))
        elif peer in self._not_before:
            wait = self._not_before[peer] - now
            text = f"the server could not connect to {peer} a moment ago"
            error = TurnConnectionTimeoutError(text, server=self._server, retry_after=wait)
            self.events.append(PeerConnectFailed(peer, error))
        else:
            self._connecting.add(peer)
            self.asks.append(Ask(Method.CONNECT, [(att.XOR_PEER_ADDRESS, peer)], ConnectRequest(peer)))

    def connected(self, context: ConnectRequest, response: Message, now: float) -> None:
        """The server has connected to a peer."""
        number = response.get(att.CONNECTION_ID)
        if number is None:
            error = TurnProtocolError("the response to Connect has no CONNECTION-ID", server=self._server)
            self.not_connected(context, error, now)
        else:
            self._connecting.discard(context.peer)
            self.events.append(PeerConnected(context.peer, number))

    def not_connected(self, context: ConnectRequest, error: TurnError, now: float) -> None:
        """The server has not connected to a peer."""
        self._connecting.discard(context.peer)
        self._not_before[context.peer] = now + self._config.connect_pause
        self.events.append(PeerConnectFailed(context.peer, error))

    def attempted(self, indication: Message, now: float) -> None:
        """A peer has connected: ConnectionAttempt (section 4.4)."""
        peer = indication.get(att.XOR_PEER_ADDRESS)
        number = indication.get(att.CONNECTION_ID)
        before = now - self._config.bind_timeout
        self._attempted = {known: at for known, at in self._attempted.items() if at > before}
        full = len(self._attempted) >= self._config.max_attempted
        if peer is None or number is None or full or number in self._attempted:
            self.dropped += 1
            return
        self._attempted[number] = now
        self.events.append(ConnectionAttempted(peer, number))

    def taken(self, connection_id: int) -> None:
        """A connection of a peer is being bound: it waits no more."""
        self._attempted.pop(connection_id, None)


@dataclass(frozen=True, slots=True)
class Bound:
    """Event: from here on the connection carries the peer's bytes."""


@dataclass(frozen=True, slots=True)
class BindFailed:
    """Event: the server did not bind the connection; it has to be closed."""

    error: TurnError


class DataConnection:
    """One data connection: ConnectionBind first, then nothing but the peer's bytes (RFC 6062 section 4.3)."""

    def __init__(
        self,
        config: TurnClientConfig,
        server: str,
        auth: Authentication,
        connection_id: int,
        path: FiveTuple,
        rng: random.Random,
    ) -> None:
        """Args:
        config: times and limits.
        server: which server, for people.
        auth: a copy of the control connection's; nonces are learnt per connection.
        connection_id: of :class:`PeerConnected` or :class:`ConnectionAttempted`.
        path: the new connection to the server.
        rng: makes transaction ids.
        """
        self.path = path
        self.is_bound = False
        self.data: deque[bytes] = deque()
        """What the peer has sent; ``b""`` is its end."""
        self._server = server
        self._id = connection_id
        self._requests: Requests[None] = Requests(config, server, auth, rng, renewable=False)
        self._outbox: Outbox[Transmit | Release, Bound | BindFailed] = Outbox()
        self._head = bytearray()
        self._over = False

    @property
    def wanted(self) -> int:
        """Bytes that are missing to the next header or message; whoever reads no more leaves the peer's bytes alone."""
        size = _size(self._head) if len(self._head) >= HEADER_LENGTH else HEADER_LENGTH
        return size - len(self._head)

    def start(self, now: float) -> None:
        """Bind the connection; call it once, as soon as the connection is open."""
        ask: Ask[None] = Ask(Method.CONNECTION_BIND, [(att.CONNECTION_ID, self._id)], None)
        self._requests.send(ask, self.path, now)
        self._drain()

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what came on the connection; ``b""`` is its end. Never raises."""
        if self.is_bound:
            self.data.append(data)
            return
        if self._over:
            return
        if not data:
            self._fail(TurnUnreachableError("the server closed the data connection", server=self._server))
            return
        self._head += data
        # A response may end in the middle of a segment: what follows is the peer's.
        while not self.is_bound and not self._over and (message := self._cut()) is not None:
            try:
                response = parse(message)
            except StunParseError:
                continue
            self._requests.receive(response, self.path, now)
            self._drain()
        if self.is_bound and self._head:
            self.data.append(bytes(self._head))
            self._head.clear()

    def handle_timeout(self, now: float) -> None:
        """Give up a server that says nothing."""
        self._requests.handle_timeout(now)
        self._drain()

    def next_effect(self) -> Transmit | Release | None:
        """Return the next thing to send, or that the connection is to be closed."""
        return self._outbox.next_effect()

    def next_event(self) -> Bound | BindFailed | None:
        """Return the outcome."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when the server is given up."""
        return None if self._over else self._requests.next_timeout()

    def _cut(self) -> bytes | None:
        head = self._head
        if len(head) < HEADER_LENGTH:
            return None
        size = _size(head)
        if head[0] > 3 or size & 3 or size > MAX_MESSAGE:
            self._fail(TurnProtocolError("the data connection does not start with STUN", server=self._server))
            return None
        if len(head) < size:
            return None
        message = bytes(head[:size])
        del head[:size]
        return message

    def _drain(self) -> None:
        self._outbox.effects.extend(self._requests.effects)
        self._requests.effects.clear()
        while self._requests.outcomes:
            outcome = self._requests.outcomes.popleft()
            if outcome.error is not None:
                self._fail(outcome.error)
            else:
                self.is_bound = True
                self._outbox.events.append(Bound())

    def _fail(self, error: TurnError) -> None:
        if not self._over:
            self._over = True
            self._outbox.effects.append(Release(self.path))
            self._outbox.events.append(BindFailed(error))


def _size(head: bytearray) -> int:
    return HEADER_LENGTH + (head[2] << 8 | head[3])
