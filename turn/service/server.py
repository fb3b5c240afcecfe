"""The TURN server (RFC 8656, 6062, 8016), which is a STUN server too: a foyer that judges who comes in, and routes.

A :class:`~stun.machine.StreamMachine` whose driver owns the sockets. Effects are :class:`~stun.machine.Transmit`,
:class:`~stun.machine.Release` and those of :mod:`turn.service.events`; events tell an operator what happens.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.attributes import Attribute
from stun.auth_server import LongTermServerConfig, Refused
from stun.errors import StunParseError
from stun.machine import Deadline, Transmit, earliest
from stun.message import Message, MessageClass, Method, parse
from stun.rate_limit import RateLimiter, source_key
from stun.values import Icmp, PasswordAlgorithm
from turn.credentials import UserStore
from turn.service.allocate import AllocateRoom
from turn.service.allocation import Allocation, Door, Relay
from turn.service.config import TurnServiceConfig
from turn.service.data import DataPlane
from turn.service.events import EndReason, RelayFailure, SendToPeer, ServerEvent
from turn.service.mobility import TicketBox
from turn.service.permissions import PermissionRoom
from turn.service.policy import PeerPolicy
from turn.service.quota import ByteBudget
from turn.service.refresh import RefreshRoom
from turn.service.state import Request, ServerState
from turn.service.stats import TurnServerStats
from turn.service.streams import StreamRoom
from turn.service.tcp import TcpRoom
from turn.service.tokens import TokenDoor

__all__ = ["TurnServer"]

_BEHAVIOUR: frozenset[Attribute[Any]] = frozenset({att.CHANGE_REQUEST, att.PADDING, att.RESPONSE_PORT})
"""What only servers of RFC 5780 understand."""


class TurnServer:
    """One server on any number of listening addresses."""

    def __init__(
        self,
        config: TurnServiceConfig,
        users: UserStore,
        rng: random.Random,
        listening: tuple[str, ...] = (),
        unix_time: Callable[[], float] | None = None,
    ) -> None:
        """Args:
        config: what to offer, and limits.
        users: who may have allocations.
        rng: ports, tickets, nonce secrets, connection ids; ``random.SystemRandom`` outside of tests.
        listening: the IP addresses that the server listens on, which are no peers; those of relays are known.
        unix_time: tells the time in Unix seconds, for access tokens (RFC 7635); nothing else needs it.

        Raises:
            ValueError: ``config`` has tokens, and there is no ``unix_time``.
        """
        self.config = config
        hosts = {relay.host for relay in config.relays} | {
            relay.advertise for relay in config.relays if relay.advertise
        }
        self._state = ServerState(config, PeerPolicy(config.peers, {*listening, *hosts}), rng)
        self._users = users
        algorithms = (PasswordAlgorithm.SHA256, PasswordAlgorithm.MD5) if config.sha256 else ()
        long_term = LongTermServerConfig(
            realm=config.realm,
            algorithms=algorithms,
            username_anonymity=users.knows_hashes,
            nonce_lifetime=config.nonce_lifetime,
        )
        self._door = TokenDoor(config.tokens, long_term, users, rng, unix_time)
        self._not_understood = _BEHAVIOUR if config.tokens is not None else _BEHAVIOUR | {att.ACCESS_TOKEN}
        limits = config.unauthenticated
        self._budget = ByteBudget(limits.excess_rate, limits.excess_burst, limits.sources)
        self._failures = RateLimiter(limits.failure_rate, limits.failure_burst, limits.sources)
        tickets = TicketBox(rng)
        self._allocate = AllocateRoom(self._state, tickets)
        self._refresh = RefreshRoom(self._state, tickets)
        self._permissions = PermissionRoom(self._state)
        self._tcp = TcpRoom(self._state)
        self._streams = StreamRoom(self._state, self._is_busy)
        self.data = DataPlane(self._state)
        """What a driver asks about relayed datagrams."""
        self._rooms: dict[Method, Callable[[Request], None]] = {
            Method.ALLOCATE: self._allocate.handle,
            Method.REFRESH: self._refresh.handle,
            Method.CREATE_PERMISSION: self._permissions.create_permission,
            Method.CHANNEL_BIND: self._permissions.bind_channel,
            Method.CONNECT: self._tcp.connect,
            Method.CONNECTION_BIND: self._bind_connection,
        }

    # -- what there is --

    @property
    def stats(self) -> TurnServerStats:
        """What the server has done so far."""
        return self._state.stats

    @property
    def allocations(self) -> dict[int, Allocation]:
        """The living allocations, by number; to be looked at only."""
        return self._state.allocations.by_number

    @property
    def peer_connections(self) -> int:
        """TCP connections with peers, those under way included."""
        return len(self._tcp)

    @property
    def connections(self) -> int:
        """Client connections (TCP, TLS, DTLS)."""
        return len(self._streams)

    @property
    def ports_in_use(self) -> int:
        """Relayed ports, reserved ones included."""
        return len(self._state.ports)

    def door(self, local: TransportAddress, protocol: TransportProtocol) -> Door:
        """Return the live table of the allocations behind one listening address, for the driver's fast path."""
        return self._state.allocations.door(local, protocol)

    def relay_at(self, address: TransportAddress, protocol: TransportProtocol = TransportProtocol.UDP) -> Relay | None:
        """Return the relay that is bound at an address, or None."""
        return self._state.allocations.by_relay.get((address, protocol))

    # -- clients --

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take one datagram of a client (UDP or DTLS). Never raises."""
        if path.remote.port == 0:
            self.stats.ignored += 1
            return
        self._streams.touch(path, now)
        self._message(data, path, now)

    def path_opened(self, path: FiveTuple, now: float) -> None:
        """A client connected over TCP, TLS or DTLS."""
        self._streams.opened(path, now)

    def receive_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take bytes of a client's stream; ``b""`` is its end. Never raises."""
        if not data:
            self._state.release(path)
            return
        messages = self._streams.messages(data, path, now)
        for index, message in enumerate(messages):
            self._message(message, path, now, messages[index + 1 :])
            if self._tcp.is_data_path(path):
                return

    def path_closed(self, path: FiveTuple, now: float) -> None:
        """A client's connection is gone; so is its allocation, unless its client may come back elsewhere (RFC 8016)."""
        self._streams.closed(path)
        if self._tcp.path_closed(path):
            return
        self._allocate.cancel(path)
        allocation = self._state.allocations.get(path)
        if allocation is None or self._refresh.path_gone(allocation, path):
            return
        self._state.end(allocation, EndReason.DISCONNECTED, now)

    def client_data(self, allocation: Allocation, path: FiveTuple) -> None:
        """Tell that a moving client (``allocation.pending_path``) sent ChannelData on ``path``."""
        self._refresh.data_arrived(allocation, path)

    # -- relayed addresses --

    def relay_opened(self, address: TransportAddress, protocol: TransportProtocol, now: float) -> None:
        """Answer to OpenRelay: the address is bound."""
        self._allocate.opener.opened(address, protocol, now)

    def relay_failed(
        self, address: TransportAddress, protocol: TransportProtocol, failure: RelayFailure, now: float
    ) -> None:
        """Answer to OpenRelay: the address cannot be bound."""
        self._allocate.opener.failed(address, protocol, failure)

    def receive_from_peer(self, data: bytes, relay: TransportAddress, peer: TransportAddress, now: float) -> None:
        """Take a datagram of a peer the long way, as drivers do that have no fast path."""
        found = self.relay_at(relay)
        message = self.data.from_peer(found, data, peer, now) if found is not None else None
        if message is not None and found is not None and found.allocation is not None:
            self._state.outbox.effects.append(Transmit(message, found.allocation.path))

    def receive_icmp(self, error: Icmp, relay: TransportAddress, peer: TransportAddress, now: float) -> None:
        """Take an ICMP error about a datagram that went from ``relay`` to ``peer`` (port 0 when that is not known)."""
        found = self.relay_at(relay)
        message = self.data.icmp(found, peer, error, now) if found is not None else None
        if message is not None and found is not None and found.allocation is not None:
            self._state.outbox.effects.append(Transmit(message, found.allocation.path))

    # -- TCP peers (RFC 6062) --

    def peer_connected(self, number: int, now: float) -> None:
        """Answer to DialPeer: the peer is connected."""
        self._tcp.connected(number, now)

    def peer_failed(self, number: int, now: float) -> None:
        """Answer to DialPeer: the peer refuses or is not there."""
        self._tcp.failed(number)

    def peer_accepted(self, relay: TransportAddress, peer: TransportAddress, now: float) -> int | None:
        """A peer connected to a relayed address; return its number, or None when it is to be closed at once."""
        return self._tcp.accepted(relay, peer, now)

    def peer_closed(self, number: int, now: float) -> None:
        """A peer's connection is gone."""
        self._tcp.peer_closed(number)

    def spliced(self, number: int, size: int, to_peer: bool, now: float) -> float:
        """Count bytes of a spliced connection; return the seconds to stop reading for."""
        allocation = self._tcp.allocation_of(number)
        return self.data.spliced(allocation, size, to_peer, now) if allocation is not None else 0.0

    # -- time --

    def handle_timeout(self, now: float) -> None:
        """End what has expired."""
        state = self._state
        for number in state.timetable.due(now):
            allocation = state.allocations.by_number[number]
            expired = [family for family, relay in allocation.relays.items() if relay.expires <= now]
            if len(expired) == len(allocation.relays):
                state.end(allocation, EndReason.EXPIRED, now)
                continue
            for family in expired:
                state.close_family(allocation, family)
            allocation.expire(now)
            state.watch(allocation)
        self._allocate.opener.expire(now)
        self._tcp.handle_timeout(now)
        self._streams.handle_timeout(now)

    def next_timeout(self) -> Deadline | None:
        """Return when something expires next."""
        allocation, reservation = self._state.timetable.next_at(), self._allocate.opener.timetable.next_at()
        return earliest(
            Deadline(allocation, "allocation") if allocation is not None else None,
            Deadline(reservation, "reservation") if reservation is not None else None,
            self._tcp.next_timeout(),
            self._streams.next_timeout(),
        )

    def drain(self) -> None:
        """Make no new allocations from now on; those that are there live on (300 or 508 for others)."""
        self._state.draining = True

    def close(self, now: float) -> None:
        """End everything; the effects that free the sockets are still to be carried out."""
        self._state.draining = True
        for allocation in list(self.allocations.values()):
            self._state.end(allocation, EndReason.CLOSED, now)
        self._allocate.opener.close()

    # -- outputs --

    def next_effect(self) -> Any | None:
        """Return the next thing for the driver to do, or None."""
        return self._state.outbox.next_effect()

    def next_event(self) -> ServerEvent | None:
        """Return the next thing that an operator may want to know, or None."""
        return self._state.outbox.next_event()

    # -- inside --

    def _is_busy(self, path: FiveTuple) -> bool:
        return self._state.allocations.get(path) is not None or self._tcp.is_data_path(path)

    def _message(self, data: bytes, path: FiveTuple, now: float, behind: list[bytes] | None = None) -> None:
        if data and 0x40 <= data[0] <= 0x7F:
            self._channel_data(data, path, now)
            return
        try:
            message = parse(data)
        except StunParseError:
            self.stats.unparsable += 1
            return
        if message.message_class is MessageClass.REQUEST:
            self._request(message, path, now, behind or [])
        elif message.message_class is MessageClass.INDICATION and message.method is Method.SEND:
            self._send(message, path, now)
        else:
            self.stats.ignored += 1

    def _channel_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        allocation = self._state.allocations.get(path)
        if allocation is None:
            self.stats.no_allocation += 1
            return
        self._refresh.data_arrived(allocation, path)
        found = self.data.from_client(allocation, data, now)
        if found is not None:
            relay, peer, payload = found
            self._state.outbox.effects.append(SendToPeer(relay.address, TransportAddress(*peer), payload))

    def _send(self, message: Message, path: FiveTuple, now: float) -> None:
        allocation = self._state.allocations.get(path)
        if allocation is None:
            self.stats.no_allocation += 1
            return
        self._refresh.data_arrived(allocation, path)
        self.data.send_indication(allocation, message, now)

    def _request(self, message: Message, path: FiveTuple, now: float, behind: list[bytes]) -> None:
        self.stats.requests[message.method.name.lower()] += 1
        if message.method is Method.BINDING:
            self._answer_binding(message, path, now)
            return
        request = self._authenticated(message, path, now)
        if request is None:
            return
        unknown = message.unknown_required(self._not_understood)
        if unknown:
            self._state.fail(request, 420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, unknown))
        elif message.method is Method.CONNECTION_BIND:
            self._bind_connection(request, behind)
        else:
            self._rooms[message.method](request)

    def _bind_connection(self, request: Request, behind: list[bytes] | None = None) -> None:
        if self._allocate.is_pending(request.path):
            self._state.fail(request, 400, "Bad Request")
            return
        self._tcp.bind(request, b"".join([*(behind or []), self._streams.rest(request.path)]))

    def _answer_binding(self, message: Message, path: FiveTuple, now: float) -> None:
        unknown = message.unknown_required(self._not_understood)
        if unknown:
            self.stats.errors[420] += 1
            response = message.failure(420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, unknown))
        else:
            self.stats.bindings += 1
            response = message.success((att.XOR_MAPPED_ADDRESS, path.remote))
        if self.config.software is not None:
            response.add(att.SOFTWARE, self.config.software)
        self._answer_stranger(message, response, path, now)

    def _authenticated(self, message: Message, path: FiveTuple, now: float) -> Request | None:
        source = source_key(path.remote.host)
        # Who guesses passwords is not even heard, but whoever has an allocation already is, as its user only.
        existing = self._state.allocations.get(path)
        is_guessing = not self._failures.has_any(source, now)
        if existing is None and is_guessing:
            self.stats.guesses += 1
            return None
        grant = self._door.grant_of(message, existing.grant if existing is not None else None, now)
        verdict = self._door.check(message, path.remote, grant, now)
        if isinstance(verdict, Refused) and (owner := self._nonce_owner(message, path)) is not None:
            owners = self._door.grant_of(message, owner.grant, now)
            elsewhere = self._door.check(message, owner.path.remote, owners, now)
            if owners is not None or not isinstance(elsewhere, Refused):
                verdict, grant = elsewhere, owners
        if not isinstance(verdict, Refused):
            identity = self._users.identity(verdict.username) if grant is None else grant.identity
            if grant is not None and existing is not None and existing.grant is not None:
                # Whoever has a fresh nonce for this path and a good token is its client with a newer one (section 9).
                identity, existing.grant = existing.identity, grant
            if is_guessing and existing is not None and existing.identity != identity:
                self.stats.guesses += 1
                return None
            return Request(message, path, verdict, identity, now, grant)
        if verdict.response is None:
            return None
        error = verdict.response.error
        code = error.code if error is not None else 0
        self.stats.errors[code] += 1
        if code == 401 and message.integrity is not None and not self._failures.take(source, now):
            self.stats.guesses += 1
            return None
        self._answer_stranger(message, verdict.response, path, now)
        return None

    def _nonce_owner(self, message: Message, path: FiveTuple) -> Allocation | None:
        """Return whose nonce a data connection (RFC 6062) may have: its control connection has another client port."""
        number = message.get(att.CONNECTION_ID) if message.method is Method.CONNECTION_BIND else None
        allocation = self._tcp.allocation_of(number) if number is not None else None
        if allocation is not None and allocation.path.remote.host == path.remote.host:
            return allocation
        return None

    def _answer_stranger(self, message: Message, response: Message, path: FiveTuple, now: float) -> None:
        """Answer somebody who showed no credentials: over UDP the source may be forged."""
        data = response.serialize(fingerprint=message.has_fingerprint)
        if path.protocol is TransportProtocol.UDP and not self._budget.allows(
            source_key(path.remote.host), len(message.wire), len(data), now
        ):
            self.stats.unanswered += 1
            return
        self._state.outbox.effects.append(Transmit(data, path))
