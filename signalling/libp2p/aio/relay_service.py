"""The circuit relay v2 service on a host: answers hop streams, runs the stop handshake, copies circuits."""

from __future__ import annotations

import asyncio
import enum
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from signalling.errors import ConnectionClosed, DecodeError, SignallingError
from signalling.libp2p.addresses import ip_of
from signalling.libp2p.aio.connection import Connection
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.tasks import TaskSet
from signalling.libp2p.circuit import is_relayed
from signalling.libp2p.circuit_messages import (
    HOP_PROTOCOL,
    STOP_PROTOCOL,
    HopMessage,
    HopType,
    LimitMessage,
    PeerMessage,
    ReservationMessage,
    Status,
    StopMessage,
    StopType,
)
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import RelayVoucher, seal_voucher
from signalling.libp2p.relay import Circuit, RelayRules, RelayStatistics, Requester, network_of
from signalling.libp2p.relay import Reservation as HeldReservation

if TYPE_CHECKING:
    from signalling.libp2p.aio.host import Host

__all__ = ["RelayService", "RelaySnapshot"]

logger = logging.getLogger("signalling")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySnapshot:
    """The state of a relay at one moment, for a command line or a metrics page."""

    reservations: tuple[PeerId, ...]
    """Who holds a reservation."""
    circuits: tuple[tuple[PeerId, PeerId, int, int], ...]
    """Source, target, bytes to the target, bytes to the source of each open circuit."""
    statistics: RelayStatistics
    """What happened since the start."""


class RelayService:
    """Relays for others. One on a host; it serves until :meth:`close` or the host's end."""

    def __init__(self, host: Host, config: RelayConfig | None = None) -> None:
        self.config = config or RelayConfig()
        self._host = host
        self._rules = RelayRules(self.config)
        self._tasks = TaskSet()
        self._clock = asyncio.get_running_loop().time
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        host.handle(HOP_PROTOCOL, self._serve, allow_limited=True)
        host.on("disconnection", self._connection_closed)
        self._sweep()

    def snapshot(self) -> RelaySnapshot:
        """Return who holds reservations, which circuits are open, and what happened so far."""
        now = self._clock()
        self._rules.expire(now)
        return RelaySnapshot(
            reservations=tuple(held.peer for held in self._rules.reservations()),
            circuits=tuple((c.source, c.target, c.to_target, c.to_source) for c in self._rules.circuits()),
            statistics=replace(self._rules.statistics, refused=self._rules.statistics.refused.copy()),
        )

    async def close(self) -> None:
        """Serve no more; circuits are reset. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        self._host.unhandle(HOP_PROTOCOL)
        self._host.remove_listener("disconnection", self._connection_closed)
        if self._sweeper is not None:
            self._sweeper.cancel()
        await self._tasks.close()

    def _connection_closed(self, connection: Connection) -> None:
        self._rules.connection_closed(connection)

    def _sweep(self) -> None:
        if self._host.closed:
            return
        self._rules.expire(self._clock())
        loop = asyncio.get_running_loop()
        self._sweeper = loop.call_later(self.config.sweep_interval, self._sweep)

    # ------------------------------------------------------------ requests

    async def _serve(self, stream: Stream) -> None:
        """Answer one hop stream; when it becomes a circuit, until that ends."""
        async with asyncio.timeout(self.config.hop_timeout):
            request = await self._read_request(stream)
        if isinstance(request, Status):
            await self._refuse(stream, request)
        elif request.type == HopType.RESERVE:
            await self._reserve(stream)
        elif request.type == HopType.CONNECT:
            await self._connect(stream, request)
        else:
            await self._refuse(stream, Status.UNEXPECTED_MESSAGE)

    async def _read_request(self, stream: Stream) -> HopMessage | Status:
        try:
            message = await stream.read_delimited(self.config.max_message)
            if message is None:
                raise ConnectionClosed("the client closed the stream without a request")
            request = HopMessage.parse(message)
        except DecodeError:
            return Status.MALFORMED_MESSAGE
        return Status.MALFORMED_MESSAGE if request.type is None else request

    async def _refuse(self, stream: Stream, status: Status) -> None:
        logger.debug("relay request of %s refused: %s", stream.connection.remote_peer, status.name)
        await stream.write_delimited(HopMessage(type=HopType.STATUS, status=status).serialize())
        await stream.close()

    def _requester(self, connection: Connection) -> Requester:
        address = connection.remote_address
        ip = ip_of(address)
        return Requester(
            peer=connection.remote_peer,
            network=network_of(str(ip) if ip is not None else None),
            relayed=connection.limit is not None or is_relayed(address),
            connection=connection,
        )

    async def _reserve(self, stream: Stream) -> None:
        connection = stream.connection
        status, held = self._rules.reserve(self._requester(connection), self._clock())
        if held is None:
            await self._refuse(stream, status)
            return
        if connection.closed:
            self._rules.connection_closed(connection)
            return
        await stream.write_delimited(self._grant(held).serialize())
        await stream.close()

    def _grant(self, held: HeldReservation) -> HopMessage:
        expire = int(time.time() + held.expires_at - self._clock())
        own = [address for address in self._host.addresses() if "p2p-circuit" not in address.protocols()]
        voucher = seal_voucher(self._host.identity, RelayVoucher(self._host.peer_id, held.peer, expire))
        return HopMessage(
            type=HopType.STATUS,
            reservation=ReservationMessage(
                expire=expire,
                addresses=tuple(address.to_bytes() for address in own[: self.config.max_addresses]),
                voucher=voucher,
            ),
            limit=LimitMessage.of(self._rules.limit),
            status=Status.OK,
        )

    # ------------------------------------------------------------ circuits

    async def _connect(self, source: Stream, request: HopMessage) -> None:
        try:
            target_peer = request.peer.peer_id() if request.peer is not None else None
        except DecodeError:
            target_peer = None
        if target_peer is None:
            await self._refuse(source, Status.MALFORMED_MESSAGE)
            return
        status, circuit = self._rules.connect(self._requester(source.connection), target_peer, self._clock())
        if circuit is None:
            await self._refuse(source, status)
            return
        ending = _Ending.BROKEN
        try:
            target = await self._stop(circuit)
            if target is None:
                await self._refuse(source, self._rules.refuse_circuit(circuit))
                return
            self._rules.start_circuit(circuit, self._clock())
            ending = await self._tasks.spawn(
                self._carry(source, target, circuit), f"circuit {circuit.source} -> {circuit.target}"
            )
        finally:
            self._rules.close_circuit(circuit, cut=ending is _Ending.CUT)

    async def _carry(self, source: Stream, target: Stream, circuit: Circuit) -> _Ending:
        """Tell the source that it may go on, then copy."""
        limit = LimitMessage.of(self._rules.limit)
        try:
            await source.write_delimited(HopMessage(type=HopType.STATUS, limit=limit, status=Status.OK).serialize())
        except SignallingError:
            await target.reset()
            return _Ending.BROKEN
        return await _Pipe(source, target, circuit, self.config).run()

    async def _stop(self, circuit: Circuit) -> Stream | None:
        """Offer the circuit to its target; return the stream to it, or None when it does not take the circuit."""
        held = self._rules.reservation_of(circuit.target, self._clock())
        if held is None or not isinstance(held.connection, Connection):
            return None
        limit = LimitMessage.of(self._rules.limit)
        offer = StopMessage(type=StopType.CONNECT, peer=PeerMessage(id=circuit.source.to_bytes()), limit=limit)
        try:
            async with asyncio.timeout(self.config.stop_timeout):
                stream = await held.connection.open_stream([STOP_PROTOCOL])
                return stream if await self._offer(stream, offer) else None
        except (SignallingError, OSError, TimeoutError) as error:
            logger.debug("stop handshake with %s: %s", circuit.target, error or type(error).__name__)
            return None

    async def _offer(self, stream: Stream, offer: StopMessage) -> bool:
        try:
            await stream.write_delimited(offer.serialize())
            message = await stream.read_delimited(self.config.max_message)
            answer = StopMessage.parse(message or b"")
            if answer.type == StopType.STATUS and answer.status == Status.OK:
                return True
        except BaseException:
            await stream.reset()
            raise
        await stream.reset()
        return False


class _Ending(enum.Enum):
    """How a circuit, or one direction of it, ended."""

    CLOSED = enum.auto()
    BROKEN = enum.auto()
    CUT = enum.auto()


class _Pipe:
    """Copies a circuit in both directions until both ends closed, one is reset, or a limit is reached."""

    def __init__(self, source: Stream, target: Stream, circuit: Circuit, config: RelayConfig) -> None:
        self._source = source
        self._target = target
        self._circuit = circuit
        self._config = config
        self._clock = asyncio.get_running_loop().time
        self._last_byte = self._clock()

    async def run(self) -> _Ending:
        """Copy to the end; unless both directions closed by themselves, both streams are reset."""
        copies = {
            asyncio.create_task(self._copy(self._source, self._target, self._circuit.charge_to_target)),
            asyncio.create_task(self._copy(self._target, self._source, self._circuit.charge_to_source)),
        }
        ending = _Ending.BROKEN
        try:
            ending = await self._watch(copies)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.wait(copies)
            if ending is not _Ending.CLOSED:
                await self._source.reset()
                await self._target.reset()
        return ending

    async def _watch(self, copies: set[asyncio.Task[_Ending]]) -> _Ending:
        pending = copies
        while pending:
            patience = self._patience(half_closed=len(pending) == 1)
            done, pending = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for copy in done:
                if copy.result() is not _Ending.CLOSED:
                    return copy.result()
            now = self._clock()
            if self._circuit.deadline is not None and now >= self._circuit.deadline:
                return _Ending.CUT
            if len(pending) == 1 and now >= self._last_byte + self._config.half_closed_timeout:
                return _Ending.BROKEN
        return _Ending.CLOSED

    def _patience(self, *, half_closed: bool) -> float | None:
        """Return how long to wait for the next end of a direction, in seconds; None for ever."""
        deadlines = [self._circuit.deadline] if self._circuit.deadline is not None else []
        if half_closed:
            deadlines.append(self._last_byte + self._config.half_closed_timeout)
        return max(0.0, min(deadlines) - self._clock()) if deadlines else None

    async def _copy(self, reader: Stream, writer: Stream, charge: Callable[[int], bool]) -> _Ending:
        """Copy one direction; a writer that does not take the bytes keeps the reader from being read."""
        try:
            while data := await reader.read(self._config.buffer):
                if not charge(len(data)):
                    return _Ending.CUT
                await writer.write(data)
                self._last_byte = self._clock()
            await writer.close_write()
        except (SignallingError, OSError) as error:
            logger.debug("circuit %s -> %s: %s", self._circuit.source, self._circuit.target, error)
            return _Ending.BROKEN
        return _Ending.CLOSED
