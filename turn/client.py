"""The TURN client of one allocation: a machine over one path to one server (RFC 8656, 6062, 8016).

:class:`TurnClient` is a foyer: what the application and the network want goes to the rooms of the allocation, its
permissions, channels, data and peer connections (:mod:`turn.rooms`); every rule lives in its own room.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Final

from stun.address import FiveTuple, TransportAddress
from stun.errors import StunParseError
from stun.machine import Deadline, Release, Transmit
from stun.message import MessageClass, parse
from turn.allocation import AllocationState
from turn.config import AccessToken, Credentials, RelayTransport, TurnServerConfig
from turn.errors import TurnError, TurnFramingError, TurnUnreachableError
from turn.events import TurnEvent
from turn.framing import TurnStreamDecoder
from turn.rooms import Rooms
from turn.tcp_client import DataConnection

__all__ = ["TurnClient"]

_REQUEST: Final = MessageClass.REQUEST
_INDICATION: Final = MessageClass.INDICATION


class TurnClient:
    """One allocation on one server.

    Requests that can share a message do: what is asked for between two drains goes out together. Data that has to wait
    for a permission is kept, and sent with the permission's arrival.
    """

    def __init__(
        self,
        config: TurnServerConfig,
        server_path: FiveTuple,
        rng: random.Random,
        credentials: Credentials | None = None,
    ) -> None:
        """Args:
        config: the server, and what to ask it for.
        server_path: our address, the server's, and what runs between them.
        rng: makes transaction ids; ``random.SystemRandom`` outside of tests.
        credentials: what the provider of ``config`` has fetched; the fixed ones of ``config`` by default.

        Raises:
            ValueError: the credentials cannot be sent, or a TCP allocation is asked for over datagrams.
        """
        if config.transport is RelayTransport.TCP and not server_path.protocol.is_stream:
            raise ValueError("a TCP allocation needs TCP or TLS to the server (RFC 6062 section 4.1)")
        self.config = config
        self.server = f"{config.url} ({server_path.remote})"
        """Which server, as errors name it."""
        self.dropped = 0
        """Messages that made no sense or came from elsewhere."""
        self._rng = rng
        self._now = 0.0
        self._owes = False
        self._decoders = {server_path: TurnStreamDecoder()}
        credentials = credentials or config.fixed_credentials
        self._lifetime = None if credentials is None else credentials.lifetime
        self._rooms = Rooms(config, self.server, server_path, rng, credentials)
        self._effects = self._rooms.outbox.effects
        self._worth_a_channel = self._rooms.data.worth_a_channel
        self.encode = self._rooms.data.encode
        """``(peer, data) -> bytes | None``: what carries data to a peer; None when :meth:`send` has to be asked."""
        self.decode = self._rooms.data.decode
        """``bytes -> (peer, data) | None``: the data of a ChannelData message; give the rest to the machine."""

    # -- what an application looks at

    @property
    def state(self) -> AllocationState:
        """Where the allocation is in its life."""
        return self._rooms.allocation.state

    @property
    def path(self) -> FiveTuple:
        """The path to the server; a move changes it."""
        return self._rooms.allocation.path

    @property
    def relayed(self) -> tuple[TransportAddress, ...]:
        """The relayed addresses; none before the allocation."""
        return self._rooms.allocation.relayed

    @property
    def mapped(self) -> TransportAddress | None:
        """Our address as the server sees it."""
        return self._rooms.allocation.mapped

    @property
    def uses_sha256(self) -> bool:
        """Whether requests are signed with SHA-256, which a server has to offer."""
        return self._rooms.auth.uses_sha256

    @property
    def has_work(self) -> bool:
        """Whether data that was encoded past the machine has made a peer worth a channel: drain the machine."""
        return bool(self._worth_a_channel)

    @property
    def dropped_data(self) -> int:
        """Relayed datagrams, either way, for which there was no room or no permission."""
        return self._rooms.data.dropped

    def is_permitted(self, host: str) -> bool:
        """Whether the server holds a permission for a host now."""
        return host in self._rooms.permissions.open

    def has_channel(self, peer: tuple[str, int]) -> bool:
        """Whether data to a peer goes over a channel now."""
        return peer in self._rooms.channels.heads

    @property
    def channel_peers(self) -> tuple[TransportAddress, ...]:
        """The peers that data goes to over a channel now."""
        return self._rooms.channels.bound_peers

    # -- inputs of the application

    def start(self, now: float) -> None:
        """Ask for the allocation; over a stream, once it is open.

        Raises:
            ValueError: it was started before.
        """
        if self.state is not AllocationState.NEW:
            raise ValueError("an allocation starts once")
        self._rooms.renewal.known(self._lifetime, now)
        self._rooms.allocation.start()
        self._work(now)

    def create_permission(self, hosts: Iterable[str], now: float) -> None:
        """Let peers at these hosts (IP literals) send to us, from the next drain on until they are dropped.

        Permissions that are asked for before the allocation is there go out with its arrival.

        Raises:
            ValueError: one of them is no IP literal.
        """
        self._now, self._owes = now, True
        self._rooms.permissions.want([TransportAddress.parse(host, 0).host for host in hosts])

    def drop_permission(self, host: str, now: float) -> None:
        """Let a permission run out, and the channels of its host, whose renewal would renew it.

        Nothing that comes from the host is taken from now on.
        """
        self._now, self._owes = now, True
        self._rooms.permissions.drop(host)
        self._rooms.channels.cut(host)
        self._rooms.data.cut(host)

    def bind_channel(self, peer: TransportAddress, now: float) -> None:
        """Bind a channel to a peer, whatever the policy, and keep it bound until it is released.

        Raises:
            ValueError: the peer's host is no IP literal.
        """
        self._now, self._owes = now, True
        peer = TransportAddress.parse(*peer)
        self._rooms.permissions.want((peer.host,))
        self._rooms.channels.want(peer, now)

    def release_channel(self, peer: tuple[str, int], now: float) -> None:
        """Let a channel run out; its number rests for five minutes after that."""
        self._now, self._owes = now, True
        self._rooms.channels.release(peer)
        self._rooms.data.forget(peer)

    def send(self, peer: TransportAddress, data: bytes, now: float) -> None:
        """Send data to a peer: at once with a permission, else with the permission's arrival.

        Raises:
            ValueError: ``data`` is too long for any datagram, or the peer's host is no IP literal.
        """
        self._now, self._owes = now, True
        peer = TransportAddress.parse(*peer)
        wire = self.encode(peer, data)
        if wire is not None:
            self._effects.append(Transmit(wire, self.path))
        elif self.state not in (AllocationState.CLOSING, AllocationState.DEAD):
            self._rooms.permissions.want((peer.host,))
            if peer.host in self._rooms.permissions:
                self._rooms.data.wait(peer, data)

    def connect_peer(self, peer: TransportAddress, now: float) -> None:
        """Have the server connect to a peer (RFC 6062 section 4.3); the outcome is an event.

        Raises:
            ValueError: this is no TCP allocation, or there is none.
        """
        if self.config.transport is not RelayTransport.TCP or self.state is not AllocationState.ALLOCATED:
            raise ValueError("only an established TCP allocation connects to peers")
        self._rooms.connections.connect(peer, now)
        self._work(now)

    def data_connection(self, connection_id: int, path: FiveTuple) -> DataConnection:
        """Return the machine for a new connection to the server that is to carry a peer's bytes."""
        self._rooms.connections.taken(connection_id)
        auth = self._rooms.auth.copy()
        return DataConnection(self.config.client, self.server, auth, connection_id, path, self._rng)

    def probe(self, now: float) -> None:
        """Refresh the allocation now: peers have fallen silent, and the server may have forgotten it."""
        self._rooms.allocation.probe()
        self._work(now)

    def delete_family(self, family: int, now: float) -> None:
        """Give one relayed address of a dual allocation back (RFC 8656 section 8.1).

        Raises:
            ValueError: it is not one of two.
        """
        self._rooms.allocation.delete_family(family)
        self._work(now)

    def move(self, path: FiveTuple, now: float) -> None:
        """Move the allocation to a new path, a stream one once it is open (RFC 8016); the outcome is an event.

        Raises:
            ValueError: the server has granted no mobility, or the kind of path is another one.
        """
        if path.protocol.is_stream is not self.path.protocol.is_stream:
            raise ValueError("an allocation moves from streams to streams and from datagrams to datagrams")
        self._rooms.allocation.move(path)
        self._work(now)

    def renew(self, credentials: Credentials | AccessToken, now: float) -> None:
        """Take new credentials, for the first request that the server refuses the old ones for.

        An access token goes to the server at once, with a Refresh (RFC 7635 section 9).

        Raises:
            ValueError: the credentials cannot be sent.
        """
        requests = self._rooms.requests
        if requests.wants_credentials:
            self._rooms.auth.adopt(credentials)
        else:
            self._rooms.auth.hold(credentials)
            if isinstance(credentials, AccessToken):
                self._rooms.allocation.probe()
        self._rooms.renewal.known(credentials.lifetime, now)
        requests.resume(now)
        self._work(now)

    def renewal_failed(self, error: TurnError, now: float) -> None:
        """There are no new credentials: requests that wait for them fail, and they are asked for again later."""
        self._rooms.renewal.failed(now)
        self._rooms.requests.give_up(error)
        self._work(now)

    def close(self, now: float) -> None:
        """Give the allocation back to the server; ``Closed`` is the last event. Harmless twice."""
        if self.state is AllocationState.ALLOCATED:
            self._rooms.requests.abandon()
        self._rooms.allocation.close(now)
        self._work(now)

    # -- inputs of the network

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take one message of the server. Never raises."""
        if path.remote != self.path.remote:
            self.dropped += 1
            return
        decoded = self.decode(data)
        if decoded is not None:
            self._rooms.data.deliver(*decoded)
            return
        try:
            message = parse(data)
        except StunParseError:
            self.dropped += 1
            return
        if message.message_class is _INDICATION:
            self._rooms.indication(message, now)
        elif message.message_class is not _REQUEST:
            self._rooms.requests.receive(message, path, now)
        self._work(now)

    def path_opened(self, path: FiveTuple, now: float) -> None:
        """A stream to the server was opened: the first one, or one to move to."""
        self._decoders[path] = TurnStreamDecoder()

    def receive_data(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what came on a stream; ``b""`` is the server's end. Never raises."""
        decoder = self._decoders.get(path)
        if decoder is None or not data:
            self.path_closed(path, now)
            return
        try:
            messages = decoder.receive(data)
        except TurnFramingError as error:
            self._effects.append(Release(path))
            self.path_failed(TurnUnreachableError(str(error), server=self.server), path, now)
            return
        for message in messages:
            self.receive_datagram(message, path, now)

    def path_closed(self, path: FiveTuple, now: float) -> None:
        """A stream to the server is gone, and with it the allocation that lives on it."""
        self.path_failed(TurnUnreachableError("the server closed the connection", server=self.server), path, now)

    def path_failed(self, error: TurnError, path: FiveTuple, now: float) -> None:
        """The way to the server broke, and this is why."""
        self._decoders.pop(path, None)
        if path != self.path:
            self._rooms.requests.path_gone(path, error)  # a move has failed
        elif not self._rooms.allocation.strand(error):
            self._rooms.lose(error)
        self._work(now)

    def handle_timeout(self, now: float) -> None:
        """Refresh, send again, and give up what is due."""
        self._rooms.handle_timeout(now)
        self._work(now)

    # -- outputs

    def next_effect(self) -> Transmit | Release | None:
        """Return the next thing to send, or the stream to close."""
        if not self._effects and (self._owes or self._worth_a_channel):
            self._work(self._now)
        return self._effects.popleft() if self._effects else None

    def next_event(self) -> TurnEvent | None:
        """Return the next event."""
        return self._rooms.outbox.next_event()

    def next_data(self) -> tuple[TransportAddress, bytes] | None:
        """Return the next relayed datagram and its peer; what :meth:`decode` returned is not among them."""
        received = self._rooms.data.received
        return received.popleft() if received else None

    def next_timeout(self) -> Deadline | None:
        """Return when ``handle_timeout`` is wanted."""
        return self._rooms.next_timeout()

    def _work(self, now: float) -> None:
        self._now, self._owes = now, False
        self._rooms.work(now)
