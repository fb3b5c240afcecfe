"""Identify and identify push on a host: asks every new connection, answers, and tells peers what changed."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from signalling.errors import IdentifyError, SignallingError
from signalling.libp2p.addresses import endpoint_of, ip_of, without_peer
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.identify import IDENTIFY_PROTOCOL, PUSH_PROTOCOL, PeerInfo, describe, learn, merge_parts
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.observed import ObservedAddresses
from signalling.libp2p.peer_record import PeerRecord, seal_peer_record
from signalling.libp2p.relay import network_of

if TYPE_CHECKING:
    from signalling.libp2p.aio.host import Host

__all__ = ["IdentifyService"]

logger = logging.getLogger("signalling")


class IdentifyService:
    """The identify protocols of one host. Both run on limited connections too."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._config = host.config.identify
        self._tasks = TaskSet()
        self._running: dict[Connection, asyncio.Task[None]] = {}
        self._observed = ObservedAddresses(self._config)
        self._push_timer: asyncio.TimerHandle | None = None
        self._pushes = asyncio.Semaphore(self._config.max_concurrent_pushes)
        self._last_sequence = 0

    def register(self) -> None:
        """Serve both protocols."""
        self._host.handle(IDENTIFY_PROTOCOL, self._answer, allow_limited=True)
        self._host.handle(PUSH_PROTOCOL, self._receive_push, allow_limited=True)

    def start(self, connection: Connection) -> None:
        """Ask the peer of a new connection about itself."""
        task = self._tasks.spawn(self._ask(connection), f"identify {connection.remote_peer}")
        self._running[connection] = task

    def forget(self, connection: Connection) -> None:
        """The connection is gone."""
        self._running.pop(connection, None)
        before = self._observed.confirmed()
        self._observed.connection_closed(connection)
        if before != self._observed.confirmed():
            self._host.addresses_changed()

    async def wait(self, connection: Connection) -> None:
        """Return once the peer told about itself.

        Raises:
            IdentifyError: it did not, in time or at all.
        """
        task = self._running.get(connection)
        if task is not None:
            await asyncio.wait([task])
        if connection.peer_info is None:
            raise IdentifyError(f"{connection.remote_peer} did not tell about itself")

    def confirmed_addresses(self) -> tuple[Multiaddr, ...]:
        """Return the addresses that enough peers see us at."""
        return self._observed.confirmed()

    def push_soon(self) -> None:
        """Tell every peer what changed, once a little time has passed in which more may change."""
        if self._host.closed or self._push_timer is not None or not self._running:
            return
        loop = asyncio.get_running_loop()
        self._push_timer = loop.call_later(self._config.push_delay, self._push_all)

    async def close(self) -> None:
        """End every exchange."""
        if self._push_timer is not None:
            self._push_timer.cancel()
        await self._tasks.close()

    # ------------------------------------------------------------ asking

    async def _ask(self, connection: Connection) -> None:
        try:
            async with asyncio.timeout(self._config.timeout):
                stream = await connection.open_stream([IDENTIFY_PROTOCOL])
                await self._read(stream)
        except (SignallingError, OSError, TimeoutError) as error:
            logger.debug("identify of %r: %s", connection, error or type(error).__name__)
            return
        self._learned(connection)
        self._host.notify("identified", connection)

    async def _read(self, stream: Stream) -> None:
        """Read and merge the parts of one message; the stream is closed or, when it is not understood, reset."""
        connection = stream.connection
        try:
            parts: list[bytes] = []
            while len(parts) < self._config.max_parts:
                part = await stream.read_delimited(self._config.max_message)
                if part is None:
                    break
                parts.append(part)
            known = connection.peer_info or PeerInfo(peer=connection.remote_peer)
            connection.peer_info = learn(known, merge_parts(parts), self._config)
        except BaseException:
            await stream.reset()
            raise
        await stream.close()

    def _learned(self, connection: Connection) -> None:
        info = connection.peer_info
        if info is None:
            return
        self._host.address_book.add(info.peer, info.addresses)
        if info.observed_address is not None and connection.limit is None:
            self._observe(connection, without_peer(info.observed_address, self._host.peer_id))

    def _observe(self, connection: Connection, address: Multiaddr) -> None:
        """Count the report, if the connection runs over one of our listen ports: others say nothing about them."""
        local, observer = endpoint_of(connection.local_address), ip_of(connection.remote_address)
        listening = {endpoint.port for endpoint in map(endpoint_of, self._host.addresses()) if endpoint is not None}
        if local is None or observer is None or local.port not in listening:
            return
        self._observed.report(address, network_of(str(observer)), connection)
        self._host.addresses_changed()

    # ------------------------------------------------------------ answering and pushing

    async def _answer(self, stream: Stream) -> None:
        async with asyncio.timeout(self._config.timeout):
            await self._write(stream)

    async def _write(self, stream: Stream) -> None:
        connection, host = stream.connection, self._host
        addresses = [without_peer(address, host.peer_id) for address in host.addresses()]
        parts = describe(
            public_key=host.identity.public_key,
            addresses=addresses,
            protocols=host.protocols(),
            observed_address=_seen_at(connection),
            signed_record=self._sign(addresses) if addresses else None,
            config=self._config,
        )
        for part in parts:
            await stream.write_delimited(part)
        await stream.close_write()

    def _sign(self, addresses: list[Multiaddr]) -> bytes:
        self._last_sequence = max(time.time_ns(), self._last_sequence + 1)
        record = PeerRecord(self._host.peer_id, self._last_sequence, tuple(addresses))
        return seal_peer_record(self._host.identity, record)

    async def _receive_push(self, stream: Stream) -> None:
        async with asyncio.timeout(self._config.timeout):
            await self._read(stream)
        self._learned(stream.connection)
        self._host.notify("identified", stream.connection)

    def _push_all(self) -> None:
        self._push_timer = None
        for connection in self._host.connections():
            info = connection.peer_info
            if info is not None and PUSH_PROTOCOL in info.protocols:
                self._tasks.spawn(self._push(connection), f"push to {connection.remote_peer}")

    async def _push(self, connection: Connection) -> None:
        try:
            async with self._pushes, asyncio.timeout(self._config.timeout):
                stream = await connection.open_stream([PUSH_PROTOCOL])
                await self._write(stream)
                await stream.close()
        except (SignallingError, OSError, TimeoutError) as error:
            logger.debug("push to %r: %s", connection, error or type(error).__name__)


def _seen_at(connection: Connection) -> Multiaddr | None:
    """Return where we see the peer; None on a relayed connection, where we see only the relay."""
    address = connection.remote_address
    if ip_of(address) is None or "p2p-circuit" in address.protocols():
        return None
    return without_peer(address, connection.remote_peer)
