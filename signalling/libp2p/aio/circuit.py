"""Circuit relay v2 as a transport: dials through a relay, and accepts what relays bring."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from signalling.errors import CircuitRefused, DialError, SignallingError
from signalling.libp2p.aio.connection import Connection, Direction, Listener
from signalling.libp2p.aio.reservations import Reservation
from signalling.libp2p.aio.streams import Stream
from signalling.libp2p.aio.upgrade import Upgrader
from signalling.libp2p.circuit import (
    CircuitAddress,
    accepted_limit,
    connect_request,
    is_relayed,
    split_circuit,
    stop_source,
)
from signalling.libp2p.circuit_messages import HOP_PROTOCOL, STOP_PROTOCOL, Limit, Status, StopMessage, StopType
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role

if TYPE_CHECKING:
    from signalling.libp2p.aio.host import Host

__all__ = ["CircuitTransport"]

logger = logging.getLogger("signalling")


class CircuitTransport:
    """``/…/p2p/<relay>/p2p-circuit``: listening on it is a reservation, dialling it a CONNECT."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._config = host.config.circuit
        self._upgrader = Upgrader(host.identity, host.config.upgrade, host.rng)
        self._reservations: dict[PeerId, Reservation] = {}
        self._accept: Callable[[Connection], None] | None = None
        host.handle(STOP_PROTOCOL, self._on_stop)

    def can_dial(self, address: Multiaddr) -> bool:
        """Whether the address is a circuit to a peer, with nothing (such as ``/webrtc``) behind the circuit."""
        circuit = _split(address)
        return circuit is not None and circuit.target is not None

    def can_listen(self, address: Multiaddr) -> bool:
        """Whether the address names a relay and ends in ``/p2p-circuit``."""
        circuit = _split(address)
        return circuit is not None and circuit.target is None

    async def listen(self, address: Multiaddr, accept: Callable[[Connection], None]) -> Listener:
        """Reserve at the relay; a second call for the same relay returns the reservation that is there.

        Raises:
            CircuitRefused: the relay said no.
            SignallingError: it cannot be reached, or does not serve as a relay.
        """
        circuit = split_circuit(address)
        if circuit is None:
            raise DialError(f"{address} is not a circuit address")
        self._accept = accept
        existing = self._reservations.get(circuit.relay)
        if existing is not None:
            await existing.wait_held()
            return existing
        reservation = Reservation(self._host, circuit, self._forget)
        self._reservations[circuit.relay] = reservation
        await reservation.start()
        return reservation

    async def dial(self, address: Multiaddr, peer: PeerId | None) -> Connection:
        """Connect to the target through the relay.

        Raises:
            CircuitRefused: the relay or the target said no.
            SignallingError: the relay cannot be reached, or the handshake with the target failed.
        """
        circuit = split_circuit(address)
        if circuit is None or circuit.target is None:
            raise DialError(f"{address} is not a circuit address with a target")
        relay = await self._connect_relay(circuit)
        async with asyncio.timeout(self._config.connect_timeout):
            stream = await relay.open_stream([HOP_PROTOCOL])
            try:
                limit = await self._request(stream, circuit.target)
            except BaseException:
                await stream.reset()
                raise
            local = circuit.relay_address.encapsulate("/p2p-circuit")
            return await self._upgrade(stream, Role.INITIATOR, circuit.target, address, local, limit)

    async def _connect_relay(self, circuit: CircuitAddress) -> Connection:
        known = len(circuit.relay_address) > 1
        relay = await self._host.connect(circuit.relay_address if known else circuit.relay)
        if relay.limit is not None or is_relayed(relay.remote_address):
            raise CircuitRefused("a relay behind a relay cannot be used", None)
        return relay

    async def _request(self, stream: Stream, target: PeerId) -> Limit | None:
        await stream.write_delimited(connect_request(target))
        answer = await stream.read_delimited(self._config.max_message)
        if answer is None:
            raise CircuitRefused("the relay closed the stream without an answer", None)
        return accepted_limit(answer)

    async def _upgrade(
        self,
        stream: Stream,
        role: Role,
        peer: PeerId,
        remote: Multiaddr,
        local: Multiaddr,
        limit: Limit | None,
    ) -> Connection:
        """Secure and multiplex the circuit end to end; the relay sees ciphertext only."""
        secured = await self._upgrader.upgrade_stream(stream, role, peer)
        return Connection(
            secured.muxer,
            remote_peer=secured.remote_peer,
            remote_address=remote,
            local_address=local,
            direction=Direction.OUTBOUND if role is Role.INITIATOR else Direction.INBOUND,
            limit=limit,
            negotiation=self._host.config.upgrade.multistream,
        )

    # ------------------------------------------------------------ accepting

    async def _on_stop(self, stream: Stream) -> None:
        """Take a circuit that a relay offers, and stay until it ends."""
        async with asyncio.timeout(self._config.accept_timeout):
            connection = await self._take_circuit(stream)
        if connection is not None and self._accept is not None:
            self._accept(connection)
            await connection.wait_closed()

    async def _take_circuit(self, stream: Stream) -> Connection | None:
        relay = stream.connection
        message = await stream.read_delimited(self._config.max_message)
        if message is None:
            return None
        status, source, limit = stop_source(message)
        if relay.remote_peer not in self._reservations:
            status = Status.PERMISSION_DENIED
        await stream.write_delimited(StopMessage(type=StopType.STATUS, status=status).serialize())
        if status is not Status.OK or source is None:
            logger.debug("circuit of %s refused: %s", relay.remote_peer, status.name)
            return None
        remote = _at_relay(relay).encapsulate("/p2p-circuit")
        return await self._upgrade(stream, Role.RESPONDER, source, remote.encapsulate(f"/p2p/{source}"), remote, limit)

    def _forget(self, reservation: Reservation) -> None:
        if self._reservations.get(reservation.relay) is reservation:
            del self._reservations[reservation.relay]


def _at_relay(relay: Connection) -> Multiaddr:
    address = relay.remote_address
    return address if address.peer_id is not None else address.encapsulate(f"/p2p/{relay.remote_peer}")


def _split(address: Multiaddr) -> CircuitAddress | None:
    try:
        return split_circuit(address)
    except SignallingError:
        return None
