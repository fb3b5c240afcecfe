"""The rooms of a TURN client, and how what one makes reaches the other: asks, outcomes, effects and events."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from stun import attributes as att
from stun.address import FiveTuple, TransportProtocol
from stun.machine import Deadline, Outbox, Release, Transmit, earliest
from stun.message import Message, MessageClass, Method
from stun.transaction import new_transaction_id
from turn.allocation import AllocateRequest, Allocation, AllocationState, RefreshRequest
from turn.authentication import Authentication
from turn.channels import ChannelRequest, Channels
from turn.config import Credentials, RelayTransport, TurnServerConfig
from turn.data import DataPlane
from turn.errors import TurnAllocationMismatchError, TurnError
from turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    Closed,
    CredentialsWanted,
    FamilyLost,
    PeerUnreachable,
    PermissionFailed,
    PermissionGranted,
    TurnEvent,
)
from turn.permissions import PermissionRequest, Permissions
from turn.renewal import Renewal
from turn.requests import Outcome, Requests
from turn.tcp_client import ConnectRequest, PeerConnections

__all__ = ["Rooms"]

_ALLOCATED: Final = AllocationState.ALLOCATED
_CLOSING: Final = AllocationState.CLOSING
_DEAD: Final = AllocationState.DEAD


class Rooms:
    """Everything that belongs to one allocation."""

    def __init__(
        self,
        config: TurnServerConfig,
        server: str,
        path: FiveTuple,
        rng: random.Random,
        credentials: Credentials | None,
    ) -> None:
        tuning = config.client
        self.outbox: Outbox[Transmit | Release, TurnEvent] = Outbox()
        self.dropped = 0
        """Indications that made no sense."""
        self.auth = Authentication(credentials, third_party=config.access_tokens is not None)
        self.allocation = Allocation(config, server, path)
        self.permissions = Permissions(tuning, server)
        self.channels = Channels(tuning, server)
        self.connections = PeerConnections(tuning, server)
        self.renewal = Renewal(tuning)
        renewable = config.credentials is not None or config.access_tokens is not None
        self.requests: Requests[Any] = Requests(tuning, server, self.auth, rng, renewable=renewable)
        tables = self.channels.heads, self.channels.peers, self.permissions.open
        self.data = DataPlane(config, *tables, path.protocol.is_stream, rng)
        self._config = config
        self._rng = rng
        self._keepalive_at: float | None = None
        self._handlers: dict[type, Callable[[Any, Outcome[Any], float], None]] = {
            AllocateRequest: self._allocate_done,
            RefreshRequest: self._refresh_done,
            PermissionRequest: self._permission_done,
            ChannelRequest: self._channel_done,
            ConnectRequest: self._connect_done,
        }

    # -- inputs

    def indication(self, message: Message, now: float) -> None:
        """Take an indication of the server."""
        if message.method is Method.CONNECTION_ATTEMPT and self._config.transport is RelayTransport.TCP:
            self.connections.attempted(message, now)
        elif not self._data_or_icmp(message):
            self.dropped += 1

    def handle_timeout(self, now: float) -> None:
        """Do what is due in every room."""
        self.requests.handle_timeout(now)
        self.allocation.handle_timeout(now)
        self.permissions.handle_timeout(now)
        self.channels.handle_timeout(now)
        if self._keepalive_at is not None and self._keepalive_at <= now:
            message = Message(Method.BINDING, MessageClass.INDICATION, new_transaction_id(self._rng))
            wire = message.serialize(fingerprint=self._config.client.fingerprint)
            self.outbox.effects.append(Transmit(wire, self.allocation.path))
            self._schedule_keepalive(now)

    def lose(self, error: TurnError) -> None:
        """The way to the server, or the allocation on it, is gone."""
        self.requests.abandon()
        self.allocation.fail(error)

    def work(self, now: float) -> None:
        """Take outcomes, let the rooms ask, and collect what they have made, until nothing is left to do."""
        while True:
            while self.requests.outcomes:
                outcome = self.requests.outcomes.popleft()
                self._handlers[type(outcome.context)](outcome.context, outcome, now)
            self.ask(now)
            self._collect(now)
            if not self.requests.outcomes:
                return

    def ask(self, now: float) -> None:
        """Send the requests that the rooms want sent."""
        send = self.requests.send
        path = self.allocation.path
        while self.allocation.asks:
            send(*self.allocation.asks.popleft(), now)
        if self.allocation.state is not _ALLOCATED:
            return
        while self.connections.asks:
            send(self.connections.asks.popleft(), path, now)
        if self.data.worth_a_channel:
            for peer in self.data.worth_a_channel:
                self.channels.want(peer, now)
            self.data.worth_a_channel.clear()
        for permission in self.permissions.requests(self.allocation.families, now):
            send(permission, path, now)
        for channel in self.channels.requests(self.allocation.families, now):
            send(channel, path, now)

    def next_timeout(self) -> Deadline | None:
        """Return the soonest deadline of all rooms."""
        soonest = earliest(self.requests.next_timeout(), self.allocation.next_timeout())
        if self.allocation.state is not _ALLOCATED:
            return soonest  # the other rooms ask for nothing before and after
        return earliest(
            soonest,
            self.permissions.next_timeout(),
            self.channels.next_timeout(),
            self.renewal.next_timeout(),
            None if self._keepalive_at is None else Deadline(self._keepalive_at, "keepalive"),
        )

    # -- outcomes

    def _allocate_done(self, context: AllocateRequest, outcome: Outcome[Any], now: float) -> None:
        if outcome.response is not None:
            encrypted = outcome.path.protocol in (TransportProtocol.TLS, TransportProtocol.DTLS)
            authentic = encrypted or self.auth.signed.token is not None
            self.allocation.allocated(outcome.response, now, authentic=authentic)
        elif outcome.error is not None:
            self.allocation.not_allocated(context, outcome.error)

    def _refresh_done(self, context: RefreshRequest, outcome: Outcome[Any], now: float) -> None:
        if outcome.response is not None:
            before = self.allocation.path
            self.allocation.refreshed(context, outcome.path, outcome.response, now)
            if self.allocation.path != before:
                self.requests.path_changed(before, self.allocation.path, now)
        elif outcome.error is not None:
            self.allocation.not_refreshed(context, outcome.path, outcome.error, now)

    def _permission_done(self, context: PermissionRequest, outcome: Outcome[Any], now: float) -> None:
        if outcome.error is None:
            self.permissions.confirmed(context, now)
        elif not self._is_gone(outcome.error):
            self.permissions.refused(context, outcome.error, now)

    def _channel_done(self, context: ChannelRequest, outcome: Outcome[Any], now: float) -> None:
        if outcome.error is None:
            self.channels.confirmed(context, now)
            if context.peer in self.channels:
                self.permissions.want((context.peer.host,))  # where CreatePermission has failed, this has not
            self.permissions.refreshed(context.peer.host, now)
        elif not self._is_gone(outcome.error):
            self.channels.refused(context, outcome.error)

    def _connect_done(self, context: ConnectRequest, outcome: Outcome[Any], now: float) -> None:
        if outcome.response is not None:
            self.connections.connected(context, outcome.response, now)
        elif outcome.error is not None and not self._is_gone(outcome.error):
            self.connections.not_connected(context, outcome.error, now)

    def _is_gone(self, error: TurnError) -> bool:
        # 437 to whatever request means that the server has no allocation for us (RFC 8656 section 5).
        if not isinstance(error, TurnAllocationMismatchError):
            return False
        self.lose(error)
        return True

    # -- draining

    def _collect(self, now: float) -> None:
        effects, events = self.outbox.effects, self.outbox.events
        if self.requests.effects:
            effects.extend(self.requests.effects)
            self.requests.effects.clear()
        for room in (self.allocation, self.channels, self.connections):
            if room.events:
                for event in room.events:
                    self._note(event, now)
                    events.append(event)
                room.events.clear()
        if self.permissions.events:
            for permission in self.permissions.events:
                self._settle(permission, now)
                events.append(permission)
            self.permissions.events.clear()
        closing = self.allocation.state in (_CLOSING, _DEAD)
        if not closing and self.renewal.is_due(now, self.requests.wants_credentials):
            events.append(CredentialsWanted(self.auth.server_name))

    def _settle(self, event: PermissionGranted | PermissionFailed, now: float) -> None:
        if isinstance(event, PermissionFailed):
            self.data.refused(event.host)
            return
        self.channels.admit(event.host, now)
        path = self.allocation.path
        self.outbox.effects.extend(Transmit(wire, path) for wire in self.data.granted(event.host))

    def _note(self, event: TurnEvent, now: float) -> None:
        if isinstance(event, Allocated):
            self._schedule_keepalive(now)
        elif isinstance(event, FamilyLost):
            for host in self.permissions.keep_families(self.allocation.families):
                self.channels.cut(host)
                self.data.cut(host)
        elif isinstance(event, (AllocationFailed, AllocationLost, Closed)):
            self._keepalive_at = None
            self.requests.abandon()
            self.renewal.stop()
            self.permissions.clear()
            self.channels.clear()
            self.data.clear()

    def _schedule_keepalive(self, now: float) -> None:
        interval = self._config.client.keepalive
        if interval is not None and not self.allocation.path.protocol.is_stream:
            self._keepalive_at = now + interval

    def _data_or_icmp(self, message: Message) -> bool:
        if message.method is not Method.DATA or message.unknown_required():
            return False
        if self.data.data_indication(message):
            return True
        icmp = message.get(att.ICMP)
        peer = message.get(att.XOR_PEER_ADDRESS)
        if icmp is None or peer is None or peer.host not in self.permissions.open:
            return False
        self.outbox.events.append(PeerUnreachable(peer, icmp))
        return True
