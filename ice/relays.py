"""Relayed candidates: the TURN servers of one session, their allocations and permissions (RFC 8445 5.1.1.2, 7.2.2)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Final

from ice.candidate import Base
from ice.config import IceConfig
from ice.events import CandidateErrorFound, ErrorStage
from ice.local import LocalCandidates
from ice.relay import (
    FetchCredentials,
    Relay,
    RelayedFound,
    RelayLost,
    RelayState,
    RelayTarget,
)
from ice.relay_permissions import RelayPermissions
from ice.relay_tables import RelayEffect
from ice.remote import unusable
from stun.address import FiveTuple
from stun.machine import Deadline, Release, Transmit, earliest
from turn.client import TurnClient
from turn.config import AccessToken, Credentials, TurnServerConfig
from turn.errors import TurnError, TurnLimitError, TurnProtocolError
from turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    ChannelFailed,
    Closed,
    CredentialsWanted,
    PermissionFailed,
    PermissionGranted,
    TurnEvent,
)
from turn.framing import cut_read

__all__ = ["RelayEffect", "Relays"]

_ALLOCATED: Final = RelayState.ALLOCATED


class Relays(RelayPermissions):
    """Owns one :class:`~turn.client.TurnClient` for each allocation.

    Every input of the outside ends in ``settle(now)``, with which the agent takes the news, what came from peers, and
    then drains :attr:`effects`.
    """

    __slots__ = ("_config", "_ended", "_grace_at", "_rng", "_settle")

    def __init__(
        self, config: IceConfig, local: LocalCandidates, rng: random.Random, settle: Callable[[float], None]
    ) -> None:
        super().__init__(local)
        self._config = config
        self._rng = rng
        self._settle = settle
        self._ended = False
        self._grace_at: float | None = None

    # -- servers: inputs of the driver --

    def add_server(
        self, config: TurnServerConfig, target: RelayTarget, now: float, credentials: Credentials | None = None
    ) -> None:
        """Ask a server for an allocation; those beyond ``max_relays`` are errors."""
        if self._ended:
            return
        self._furnish(self._config, self._drain)
        if len(self._relays) >= self._config.max_relays:
            text = f"there are {len(self._relays)} relays already"
            self.server_failed(config, TurnLimitError(text, server=f"{config.url} ({target.server})"), now)
            return
        relay = Relay(len(self._relays), config, target, credentials or config.fixed_credentials)
        relay.give_up_at = now + self._config.gathering_timeout
        self._relays.append(relay)
        self.effects.append(relay.open_link(now))
        self._settle(now)

    def server_failed(self, config: TurnServerConfig, error: TurnError, now: float) -> None:
        """A server could not even be asked: no address, no credentials."""
        if not self._ended:
            self._furnish(self._config, self._drain)
            self.news.append(self.problems.note(config.url, None, ErrorStage.GATHERING, error))
            self._settle(now)

    def link_opened(self, number: int, path: FiveTuple, now: float) -> None:
        """Answer to OpenLink: the way is open."""
        relay = self._relays[number]
        if relay.state is not RelayState.CONNECTING or self._ended:
            self.effects.append(Release(path))
            return
        try:
            client = TurnClient(relay.config, path, self._rng, relay.credentials)
        except ValueError as error:  # Credentials that cannot be written.
            self.effects.append(Release(path))
            self._fail(relay, TurnError(str(error), server=relay.config.url), ErrorStage.GATHERING)
            self._settle(now)
            return
        relay.client, relay.path, relay.state = client, path, RelayState.ALLOCATING
        self.by_path[path] = relay
        client.start(now)
        self._drain(relay, now)
        self._settle(now)

    def link_failed(self, number: int, error: TurnError, now: float) -> None:
        """Answer to OpenLink: there is no way."""
        relay = self._relays[number]
        if relay.state is RelayState.CONNECTING:
            self._fail(relay, error, ErrorStage.GATHERING)
            self._settle(now)

    def renew(self, number: int, credentials: Credentials | AccessToken, now: float) -> None:
        """Answer to FetchCredentials.

        Raises:
            ValueError: the credentials cannot be sent.
        """
        relay = self._relays[number]
        if isinstance(credentials, Credentials):  # Tokens are for one server, and asked for when it has named itself.
            relay.credentials = credentials
        if relay.client is not None:
            relay.client.renew(credentials, now)
            self._drain(relay, now)
            self._settle(now)

    def renewal_failed(self, number: int, error: TurnError, now: float) -> None:
        """Answer to FetchCredentials: there are none."""
        relay = self._relays[number]
        if relay.client is not None:
            relay.client.renewal_failed(error, now)
            self._drain(relay, now)
            self._settle(now)

    # -- the network --

    def receive(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what came from a server: a datagram, or bytes of a stream (``b""`` is its end). Never raises."""
        relay = self.by_path.get(path)
        if relay is None or (client := relay.client) is None:
            return
        is_stream = path.protocol.is_stream
        take = client.receive_data if is_stream else client.receive_datagram
        for piece in cut_read(data, relay.config.client.max_received) if is_stream else (data,):
            if path in self.by_path:  # It may be lost by what is in a piece.
                take(piece, path, now)
                self._drain(relay, now)
        self._settle(now)

    def path_failed(self, path: FiveTuple, error: TurnError | None, now: float) -> None:
        """A way to a server has ended, with an error or by the server's will."""
        relay = self.by_path.get(path)
        if relay is None or relay.client is None:
            return
        if error is None:
            relay.client.path_closed(path, now)
        else:
            relay.client.path_failed(error, path, now)
        self._drain(relay, now)
        self._settle(now)

    # -- inputs of the agent --

    def send(self, data: bytes, path: FiveTuple) -> None:
        """Have a relay send to a peer; the path is the one from our relayed base."""
        relay = self.by_base[Base.of(path)]
        assert relay.client is not None
        assert relay.path is not None
        wire = relay.client.encode(path.remote, data)
        if wire is None:
            self.unpermitted += 1
        else:
            self.effects.append(Transmit(wire, relay.path))

    def select(self, path: FiveTuple, now: float) -> None:
        """A pair is selected: its relay binds a channel, the others are given back after a while."""
        self._ended = True
        for relay in self._relays:
            if relay.state.is_pending:
                self._release(relay, now)
            elif Base.of(path) in relay.ends():
                relay.release_at = None
                if relay.client is not None and not relay.is_tcp:
                    relay.client.bind_channel(path.remote, now)
                    self._drain(relay, now)
            elif relay.state is _ALLOCATED and relay.release_at is None:
                relay.release_at = now + self._config.relay_grace

    def probe(self, base: Base, now: float) -> None:
        """The peer is silent: if that is by a relay of ours, ask its server whether it still has the allocation."""
        relay = self.by_base.get(base)
        if relay is not None and relay.client is not None:
            relay.client.probe(now)
            self._drain(relay, now)

    def restart(self, now: float) -> list[Base]:
        """A new generation: the allocations there are stay, and those given back or lost are asked for again.

        Also those that are still being given back: the new way to the server is another, and so is the allocation.
        Returns the bases that are gone.
        """
        self._ended, self._grace_at = False, None
        self._name_anew()
        gone: list[Base] = []
        for relay in self._relays[:]:
            relay.release_at = None
            if not relay.state.is_pending and relay.state is not _ALLOCATED:
                gone += relay.ends()
                self._begin_anew(relay, now)
        return gone

    def _begin_anew(self, relay: Relay, now: float) -> None:
        for base in relay.ends():
            self._local.drop_relayed(base)
        relay.bases.clear()  # The new allocation may have the same address.
        for other in [other for other in self.by_path.values() if other.number == relay.number]:
            if other is not relay:
                self._forget(other)  # One at a time is on its way out; the allocation of this one runs out by itself.
        successor = relay.successor(now + self._config.gathering_timeout)
        self._relays[relay.number] = successor
        self.effects.append(successor.open_link(now))

    def close(self, now: float) -> None:
        """Give everything back."""
        self._ended = True
        for relay in self._relays:
            if relay.state.is_pending or relay.state is _ALLOCATED:
                self._release(relay, now)

    def handle_timeout(self, now: float) -> None:
        """Let the clients do what is due, give up servers that do not answer, release what nobody needs."""
        for relay in list(self.by_path.values()):
            if relay.client is not None and (deadline := relay.client.next_timeout()) and deadline.at <= now:
                relay.client.handle_timeout(now)
                self._drain(relay, now)
        for relay in self._relays:
            if relay.state.is_pending and now >= relay.patience(self._grace_at):
                self._give_up(relay, now)
            elif relay.release_at is not None and now >= relay.release_at:
                self._release(relay, now)

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None."""
        return earliest(*self._deadlines())

    def _deadlines(self) -> Iterator[Deadline | None]:
        for relay in self._relays:
            yield from relay.deadlines(self._grace_at)
        for relay in self.by_path.values():
            if relay.client is not None:
                yield relay.client.next_timeout()

    # -- clients --

    def _drain(self, relay: Relay, now: float) -> None:
        client = relay.client
        while client is not None:
            while (effect := client.next_effect()) is not None:
                if isinstance(effect, Transmit):  # The way is released with the event that ends the allocation.
                    self.effects.append(effect)
            while (received := client.next_data()) is not None:
                peer, data = received
                if (base := relay.bases.get(peer.family)) is not None:
                    self.received.append((data, FiveTuple(base, peer)))
            if (event := client.next_event()) is None:
                return
            self._on_event(relay, event, now)
            client = relay.client

    def _on_event(self, relay: Relay, event: TurnEvent, now: float) -> None:
        match event:
            case Allocated():
                self._allocated(relay, event, now)
            case AllocationFailed(error):
                self._not_allocated(relay, error, now)
            case AllocationLost(error):
                self._lost(relay, error)
            case Closed():
                self._forget(relay)
                if relay.state is not RelayState.FAILED:
                    relay.state = RelayState.RELEASED
            case PermissionGranted() | PermissionFailed() | ChannelFailed():
                self._on_permission(relay, event)
            case CredentialsWanted(server_name):
                self.effects.append(FetchCredentials(relay.number, relay.config, server_name))
            case _:
                self.tcp.on_event(relay, event)

    def _allocated(self, relay: Relay, event: Allocated, now: float) -> None:
        relay.state = _ALLOCATED
        for address in event.relayed:
            if unusable(address, self._config):
                text = f"the server relays at {address}, where no peer can reach it"
                self._tell(relay, ErrorStage.GATHERING, TurnProtocolError(text, server=relay.name))
                continue
            # Section 5.1.3: none for an address that is there already.
            for candidate in self._local.add_relayed(address, event.mapped, relay.target, tcp=relay.is_tcp):
                assert candidate.base_key is not None
                relay.bases[address.family] = address
                self.by_base[candidate.base_key] = relay
                self.news.append(RelayedFound(candidate))
        for error in event.family_errors:
            self._tell(relay, ErrorStage.GATHERING, error)
        if not relay.bases:
            self._release(relay, now)
            return
        if self._grace_at is None:
            self._grace_at = now + self._config.gathering_grace
        self._want(relay, self._hosts, now)

    def _not_allocated(self, relay: Relay, error: TurnError, now: float) -> None:
        self._forget(relay)
        if not relay.state.is_pending:
            relay.state = RelayState.RELEASED
        elif relay.try_again(error, now):
            self.effects.append(relay.open_link(now))
        else:
            self._fail(relay, error, ErrorStage.GATHERING)

    def _lost(self, relay: Relay, error: TurnError) -> None:
        self._fail(relay, error, ErrorStage.RELAYING)
        self.news.extend(RelayLost(base, error) for base in relay.ends())
        self._forget(relay)

    def _give_up(self, relay: Relay, now: float) -> None:
        waited = now - relay.give_up_at + self._config.gathering_timeout
        self._fail(relay, relay.overdue(waited), ErrorStage.GATHERING)
        if relay.client is not None:
            relay.client.close(now)
            self._drain(relay, now)

    def _release(self, relay: Relay, now: float) -> None:
        relay.release_at = None
        self._leave(relay)
        relay.state = RelayState.RELEASED if relay.client is None else RelayState.RELEASING
        if relay.client is not None:
            relay.client.close(now)
            self._drain(relay, now)

    def _forget(self, relay: Relay) -> None:
        """The way to the server is of no more use."""
        self._leave(relay)
        if relay.path is not None and self.by_path.pop(relay.path, None) is not None:
            self.effects.append(Release(relay.path))

    def _leave(self, relay: Relay) -> None:
        """Nothing is relayed by it any more: no pairs are to be formed with it, and no answer to be waited for."""
        for base in relay.ends():
            self.by_base.pop(base, None)
            self._local.forget_permissions(base)

    # -- telling why --

    def _fail(self, relay: Relay, error: TurnError, stage: ErrorStage) -> None:
        relay.state = RelayState.FAILED
        relay.release_at = None
        relay.error = self._tell(relay, stage, error)

    def _tell(self, relay: Relay, stage: ErrorStage, error: TurnError) -> CandidateErrorFound:
        problem = self.problems.note(relay.config.url, relay.path, stage, error)
        self.news.append(problem)
        return problem
