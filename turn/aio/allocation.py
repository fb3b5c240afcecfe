"""One allocation, alive: relayed datagrams and connections for asyncio code, and events about its fate."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine
from typing import Any

from pyee.asyncio import AsyncIOEventEmitter

from stun.address import FiveTuple, TransportAddress
from stun.network import Network
from turn.aio.credentials import fetch_again
from turn.aio.driver import ClientDriver, DataSink
from turn.aio.inbox import Inbox
from turn.aio.peer_stream import PeerStream, open_peer_stream
from turn.aio.resolve import Target
from turn.aio.waiters import Waiters
from turn.config import Credentials, RelayTransport, TurnServerConfig
from turn.errors import TurnClosedError, TurnConnectionExistsError, TurnCredentialsError, TurnError
from turn.events import (
    Allocated,
    AllocationFailed,
    AllocationLost,
    ChannelBound,
    ChannelFailed,
    Closed,
    ConnectionAttempted,
    CredentialsWanted,
    FamilyLost,
    Moved,
    MoveFailed,
    PeerConnected,
    PeerConnectFailed,
    PeerUnreachable,
    PermissionFailed,
    PermissionGranted,
    TurnEvent,
)

__all__ = ["TurnAllocation"]

logger = logging.getLogger("turn")


class TurnAllocation(AsyncIOEventEmitter):
    """An allocation on a TURN server; :func:`turn.allocate` makes them.

    Events (besides pyee's ``error``): ``lost(error)`` once, when the allocation is gone; ``data(data, peer)`` for every
    datagram, if somebody listens, instead of :meth:`receive`; ``icmp(peer, icmp)``; ``permissionfailed(host, error)``;
    ``familylost(family)``; ``moved(path)``.
    """

    def __init__(
        self, config: TurnServerConfig, network: Network, rng: random.Random, server_name: str | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.info: Allocated | None = None
        """What the server granted at first."""
        self._rng = rng
        self._server_name = server_name
        self._inbox: Inbox[tuple[bytes, TransportAddress]] = Inbox(config.client.max_received)
        self._attempts: Inbox[ConnectionAttempted] = Inbox(config.client.max_attempted)
        self._driver = ClientDriver(config, network, self._event, self._received)
        self._error: TurnError | None = None
        self._waiters = Waiters()
        self._tasks: set[asyncio.Task[None]] = set()
        self._streams: set[PeerStream] = set()
        self.on("new_listener", self._listened)

    # -- life

    async def open(self, target: Target, credentials: Credentials | None) -> None:
        """Ask the server; called once, by :func:`turn.allocate`.

        Raises:
            TurnError: there is no allocation.
        """
        self._server_name = self._server_name or target.name
        try:
            await self._driver.open(target.address, target.protocol, self._server_name, credentials, self._rng)
            event = await self._waiters.add(Allocated)
            assert isinstance(event, Allocated)
            self.info = event
        except TurnError:
            self._end(TurnClosedError("there is no allocation", server=self.config.url))
            raise
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Give the allocation back and close everything; harmless twice."""
        try:
            if self._error is None and self._driver.is_open:
                self._driver.client.close(self._now())
                waiting = self._waiters.add(Closed)
                self._driver.pump()
                await waiting
        except TurnError:
            pass  # lost in the same moment
        finally:
            self._end(TurnClosedError("the allocation was closed", server=self.config.url))
            self._driver.close()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def __aenter__(self) -> TurnAllocation:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # -- what it is

    @property
    def relayed(self) -> tuple[TransportAddress, ...]:
        """The relayed transport addresses: peers send to these."""
        return self._driver.client.relayed

    @property
    def mapped(self) -> TransportAddress:
        """Our address as the server sees it."""
        mapped = self._driver.client.mapped
        assert mapped is not None, "an allocation that is open has one"
        return mapped

    @property
    def path(self) -> FiveTuple:
        """The path to the server."""
        return self._driver.client.path

    @property
    def uses_sha256(self) -> bool:
        """Whether the server takes SHA-256 instead of MD5 and SHA-1."""
        return self._driver.client.uses_sha256

    @property
    def error(self) -> TurnError | None:
        """Why the allocation is gone; None while it is there."""
        return self._error

    # -- datagrams

    async def permit(self, *hosts: str) -> None:
        """Let peers at these hosts (IP literals) send to us, until the allocation ends or :meth:`forbid`.

        Raises:
            TurnError: the server does not permit one of them; the first refusal is raised.
            ValueError: one of them is no IP literal.
        """
        client = self._usable().client
        literals = dict.fromkeys(TransportAddress.parse(host, 0).host for host in hosts)
        wanted = [host for host in literals if not client.is_permitted(host)]
        waiting = [self._waiters.add(host) for host in wanted]
        client.create_permission(wanted, self._now())
        self._driver.pump()
        if waiting:
            await asyncio.gather(*waiting)

    def forbid(self, host: str) -> None:
        """Let a permission run out, and the channels to its host, which takes the server up to ten minutes.

        Data that waits for the permission is dropped, and so is what comes from the host. Whoever waits in
        :meth:`permit` or :meth:`bind_channel` for this host gets a TurnError.

        Raises:
            TurnError: the allocation is gone.
            ValueError: ``host`` is no IP literal.
        """
        client = self._usable().client
        host = TransportAddress.parse(host, 0).host
        client.drop_permission(host, self._now())
        error = TurnError(f"the permission for {host} was dropped before the server had answered", server=client.server)
        self._waiters.settle(host, error)
        if self.config.transport is RelayTransport.UDP:
            self._waiters.settle_peers(host, error)

    async def bind_channel(self, peer: tuple[str, int]) -> None:
        """Bind a channel to a peer at once, whatever the policy.

        Raises:
            TurnError: the server has refused.
            ValueError: the peer's host is no IP literal.
        """
        client = self._usable().client
        peer = TransportAddress.parse(*peer)
        if client.has_channel(peer):
            return
        waiting = self._waiters.add(peer)
        client.bind_channel(peer, self._now())
        self._driver.pump()
        await waiting

    def send(self, data: bytes, peer: tuple[str, int]) -> None:
        """Send one datagram to a peer; without a permission it is asked for, and the datagram waits for it.

        Raises:
            TurnError: the allocation is gone.
            ValueError: the datagram is too long.
        """
        if self._error is not None:
            raise self._error.again()
        self._driver.send(data, peer)

    async def receive(self) -> tuple[bytes, TransportAddress]:
        """Return the next datagram and its peer. A cancelled call loses none.

        Raises:
            TurnError: the allocation is gone, and why.
        """
        return await self._inbox.get()

    def set_receiver(self, receiver: DataSink | None) -> None:
        """Have every datagram given to ``receiver(data, peer)`` at once, past :meth:`receive`; None undoes that."""
        self._driver.on_data = receiver or self._received
        if receiver is not None:
            for data, peer in self._inbox.drain():
                receiver(data, peer)

    # -- connections (RFC 6062)

    async def connect(self, peer: tuple[str, int]) -> PeerStream:
        """Have the server connect to a peer, and return the byte stream to it.

        Raises:
            TurnError: the server could not, or would not.
            ValueError: this is no TCP allocation.
        """
        client = self._usable().client
        peer = TransportAddress.parse(*peer)
        if self._waiters.has(peer):
            raise TurnConnectionExistsError(f"a connection to {peer} is being made already", server=client.server)
        client.connect_peer(peer, self._now())
        waiting = self._waiters.add(peer)
        self._driver.pump()
        event = await waiting
        assert isinstance(event, PeerConnected)
        return await self._bind_stream(event.peer, event.connection_id)

    async def accept(self) -> PeerStream:
        """Wait for a peer to connect to the relayed address, and return the byte stream to it.

        Peers need a permission. A peer that is gone before it could be taken is passed over. A call that is cancelled
        while it takes a connection loses that connection, and no other.

        Raises:
            TurnError: the allocation is gone.
        """
        while True:
            attempt = await self._attempts.get()
            try:
                return await self._bind_stream(attempt.peer, attempt.connection_id)
            except TurnError as error:
                if self._error is not None:
                    raise
                logger.info("the connection of %s could not be taken: %s", attempt.peer, error)

    # -- moving (RFC 8016)

    async def move(self, local: TransportAddress | None = None) -> FiveTuple:
        """Move the allocation to another local address, after the network has changed; peers notice nothing.

        Raises:
            TurnError: the server cannot be reached from there, or refuses.
            ValueError: the server has granted no mobility.
        """
        driver = self._usable()
        path = await driver.open_path(local, self._server_name)
        try:
            self._usable()  # it may have been lost meanwhile
            driver.client.move(path, self._now())
        except (TurnError, ValueError):
            driver.close_link(path)
            raise
        waiting = self._waiters.add(path)
        driver.pump()
        event = await waiting
        assert isinstance(event, Moved)
        return event.path

    # -- inside

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _usable(self) -> ClientDriver:
        if self._error is not None:
            raise self._error.again()
        return self._driver

    def _received(self, data: bytes, peer: TransportAddress) -> None:
        self._inbox.put((data, peer))

    def _listened(self, event: str, listener: object) -> None:
        if event == "data":
            self._driver.on_data = self._emit_data

    def _emit_data(self, data: bytes, peer: TransportAddress) -> None:
        self._tell("data", data, peer)

    def _tell(self, event: str, *arguments: object) -> None:
        # Not from within a drain: a listener that raises would stop it, and break the stream that it was called from.
        asyncio.get_running_loop().call_soon(self.emit, event, *arguments)

    async def _bind_stream(self, peer: TransportAddress, connection_id: int) -> PeerStream:
        stream = await open_peer_stream(self._usable().client, peer, connection_id, self._server_name)
        if self._error is not None:  # nobody would end the stream any more
            stream.abort()
            raise self._error.again()
        self._streams = {other for other in self._streams if not other.is_closing}
        self._streams.add(stream)
        return stream

    def _event(self, event: TurnEvent) -> None:
        match event:
            case Allocated() | Closed():
                self._waiters.settle(type(event), event)
            case AllocationFailed(error):
                self._waiters.settle(Allocated, error)
            case AllocationLost(error):
                logger.warning("the allocation is lost: %s", error)
                self._tell("lost", error)
                self._end(error)
            case CredentialsWanted(server_name):
                self.look_after(self._renew(server_name))
            case _:
                self._peer_event(event)

    def _peer_event(self, event: TurnEvent) -> None:
        match event:
            case PermissionGranted(host):
                self._waiters.settle(host, event)
            case PermissionFailed(host, error):
                self._tell("permissionfailed", host, error)
                self._waiters.settle(host, error)
            case ChannelBound(peer) | PeerConnected(peer):
                self._waiters.settle(peer, event)
            case ChannelFailed(peer, error) | PeerConnectFailed(peer, error):
                self._waiters.settle(peer, error)
            case ConnectionAttempted():
                self._attempts.put(event)
            case PeerUnreachable(peer, icmp):
                self._tell("icmp", peer, icmp)
            case FamilyLost(family):
                self._tell("familylost", family)
            case Moved(path):
                self._driver.use_link(path)
                self._tell("moved", path)
                self._waiters.settle(path, event)
            case MoveFailed(path, error):
                self._driver.close_link(path)
                self._waiters.settle(path, error)

    def look_after(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task that ends with the allocation at the latest."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _renew(self, server_name: str | None) -> None:
        client = self._driver.client
        try:
            client.renew(await fetch_again(self.config, server_name), self._now())
        except ValueError as error:
            problem = TurnCredentialsError(f"the new credentials cannot be sent: {error}", server=client.server)
            client.renewal_failed(problem, self._now())
        except TurnCredentialsError as error:
            logger.warning("%s", error)
            self._driver.client.renewal_failed(error, self._now())
        self._driver.pump()

    def _end(self, error: TurnError) -> None:
        if self._error is not None:
            return
        self._error = error
        self._waiters.settle_all(error)
        self._inbox.close(error)
        self._attempts.close(error)
        for stream in self._streams:
            stream.lose(error)
        self._streams.clear()
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()
        # Not from within a drain: the last requests are still to be sent.
        asyncio.get_running_loop().call_soon(self._driver.close)
