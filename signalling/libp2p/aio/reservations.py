"""A reservation at a relay, kept: refreshed in time, regained when the relay comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from signalling.errors import CircuitRefused, ConnectionClosed, SignallingError
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.circuit import (
    CircuitAddress,
    Grant,
    ReservationState,
    ReservationTimer,
    is_relayed,
    read_grant,
    reserve_request,
)
from signalling.libp2p.circuit_messages import HOP_PROTOCOL, Limit
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId

if TYPE_CHECKING:
    from signalling.libp2p.aio.host import Host

__all__ = ["Reservation"]

logger = logging.getLogger("signalling")


class Reservation:
    """A slot at one relay, and the :class:`Listener` of its circuit address.

    It renews itself until :meth:`close`; :attr:`addresses` is empty while the relay is away.
    """

    def __init__(self, host: Host, address: CircuitAddress, closed: Callable[[Reservation], None]) -> None:
        """Prepare; :meth:`start` asks the relay. ``closed`` is told when this ends for good."""
        self._host = host
        self._address = address
        self._told_closed = closed
        self._timer = ReservationTimer(host.config.circuit, host.rng)
        self._tasks = TaskSet()
        self._clock = asyncio.get_running_loop().time
        self._connection: Connection | None = None
        self._grant: Grant | None = None
        self._changed = asyncio.Event()
        self._closed = False

    def __repr__(self) -> str:
        return f"<Reservation at {self.relay} {self.state.value}>"

    @property
    def relay(self) -> PeerId:
        """The relay."""
        return self._address.relay

    @property
    def state(self) -> ReservationState:
        """Whether the slot is held now."""
        return self._timer.state

    @property
    def addresses(self) -> list[Multiaddr]:
        """Where we can be reached through the relay, without our own ``/p2p``; empty while the slot is not held."""
        held = self._grant is not None and self.state is ReservationState.HELD
        return list(self._grant.addresses) if held and self._grant is not None else []

    @property
    def limit(self) -> Limit | None:
        """What the relay allows on circuits to us; None for unlimited, or while nothing is known."""
        return self._grant.limit if self._grant is not None else None

    async def start(self) -> None:
        """Ask the relay for the first time.

        Raises:
            CircuitRefused: it said no.
            SignallingError: it cannot be reached, or does not serve as a relay.
        """
        try:
            await self._attempt()
        except BaseException:
            await self.close()
            raise
        self._tasks.spawn(self._keep(), f"reservation at {self.relay}")

    async def wait_held(self) -> None:
        """Return when the slot is held; after a loss, when it is regained.

        Raises:
            ConnectionClosed: the reservation was closed.
        """
        while self.state is not ReservationState.HELD:
            if self._closed:
                raise ConnectionClosed("the reservation was closed")
            self._changed.clear()
            await self._changed.wait()

    async def close(self) -> None:
        """Renew no more; the relay frees the slot when it expires or the connection ends. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        self._grant = None
        await self._tasks.close()
        self._changed.set()
        self._told_closed(self)

    async def _keep(self) -> None:
        """Renew whenever the timer says, and at once when the connection to the relay is lost."""
        while True:
            deadline = self._timer.next_timeout()
            pause = max(0.0, deadline.at - self._clock()) if deadline is not None else 0.0
            if self.state is ReservationState.HELD and self._connection is not None:
                if await self._lost_within(self._connection, pause):
                    self._lose()
                    continue
            else:
                await asyncio.sleep(pause)
            try:
                await self._attempt()
            except (SignallingError, OSError) as error:
                logger.debug("%r: %s", self, error or type(error).__name__)
                self._timer.failed(self._clock())
                self._tell()

    async def _lost_within(self, connection: Connection, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await connection.wait_closed()
        except TimeoutError:
            return False
        return True

    def _lose(self) -> None:
        logger.debug("%r: the connection to the relay is gone", self)
        self._timer.lost(self._clock())
        self._connection = None
        self._tell()

    async def _attempt(self) -> None:
        """Get or refresh the reservation once."""
        connection = await self._connect()
        config = self._host.config.circuit
        try:
            async with asyncio.timeout(config.reserve_timeout):
                answer = await self._ask(connection)
        except TimeoutError:
            raise CircuitRefused("the relay did not answer in time", None) from None
        grant = read_grant(
            answer,
            relay=self.relay,
            client=self._host.peer_id,
            dialled=self._reached_at(connection),
            unix_now=time.time(),
            config=config,
        )
        self._connection, self._grant = connection, grant
        self._timer.granted(grant.expires_in, self._clock())
        self._tell()

    async def _ask(self, connection: Connection) -> bytes:
        """Send RESERVE and return the relay's answer."""
        stream = await connection.open_stream([HOP_PROTOCOL])
        try:
            await stream.write_delimited(reserve_request())
            answer = await stream.read_delimited(self._host.config.circuit.max_message)
            if answer is None:
                raise CircuitRefused("the relay closed the stream without an answer", None)
        except BaseException:
            await stream.reset()
            raise
        await stream.close()
        return answer

    async def _connect(self) -> Connection:
        """Return an unlimited connection to the relay: the one that carries the reservation, if it still lives."""
        if self._connection is not None and not self._connection.closed:
            return self._connection
        target = self._address.relay_address if len(self._address.relay_address) > 1 else self.relay
        connection = await self._host.connect(target)
        if connection.limit is not None or is_relayed(connection.remote_address):
            raise CircuitRefused("a relay behind a relay cannot be used", None)
        return connection

    def _reached_at(self, connection: Connection) -> Multiaddr:
        """Return where the relay can be dialled: as we were told, or else as we are connected if we dialled."""
        if len(self._address.relay_address) > 1:
            return self._address.relay_address
        return connection.remote_address

    def _tell(self) -> None:
        self._changed.set()
        self._host.addresses_changed()
