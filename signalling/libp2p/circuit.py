"""The client side of circuit relay v2: circuit addresses, what a relay's answers mean, and keeping a reservation.

Streams are the shell's business (``aio.circuit``, ``aio.reservations``): here are the rules, without I/O.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from signalling.errors import CircuitRefused, DecodeError, MultiaddrError
from signalling.libp2p.circuit_messages import (
    HopMessage,
    HopType,
    Limit,
    PeerMessage,
    Status,
    StopMessage,
    StopType,
    readable_addresses,
)
from signalling.libp2p.host_config import CircuitConfig
from signalling.libp2p.multiaddr import Multiaddr
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.peer_record import open_voucher
from stun.machine import Deadline

__all__ = [
    "CircuitAddress",
    "Grant",
    "ReservationState",
    "ReservationTimer",
    "accepted_limit",
    "connect_request",
    "is_relayed",
    "read_grant",
    "reserve_request",
    "split_circuit",
    "stop_source",
]


class CircuitAddress(NamedTuple):
    """``<relay address>/p2p/<relay>/p2p-circuit[/p2p/<target>]`` taken apart."""

    relay_address: Multiaddr
    """Up to and with ``/p2p/<relay>``; without a transport part when only the relay's id was given."""
    relay: PeerId
    target: PeerId | None


def is_relayed(address: Multiaddr) -> bool:
    """Whether a connection at ``address`` itself runs through a relay (``/webrtc`` behind a circuit does not)."""
    names = address.protocols()
    return "p2p-circuit" in names and "webrtc" not in names


def split_circuit(address: Multiaddr) -> CircuitAddress | None:
    """Take a circuit address apart; None when it is none, or one with several relays or anything but ``/p2p`` behind.

    Raises:
        MultiaddrError: it is a circuit address whose relay has no ``/p2p``.
    """
    names = address.protocols()
    if names.count("p2p-circuit") != 1:
        return None
    at = names.index("p2p-circuit")
    if names[at + 1 :] not in ((), ("p2p",)):
        return None
    relay_address = address[:at]
    relay = relay_address.peer_id
    if relay is None or names[at - 1] != "p2p":
        raise MultiaddrError(f"{address} does not name its relay before /p2p-circuit")
    return CircuitAddress(relay_address, relay, address.peer_id)


def reserve_request() -> bytes:
    """Return the message that asks a relay for a reservation."""
    return HopMessage(type=HopType.RESERVE).serialize()


def connect_request(target: PeerId) -> bytes:
    """Return the message that asks a relay for a circuit to ``target``."""
    return HopMessage(type=HopType.CONNECT, peer=PeerMessage(id=target.to_bytes())).serialize()


def _check_status(answer: HopMessage) -> None:
    if answer.type != HopType.STATUS:
        raise CircuitRefused("the relay did not answer with a status", Status.UNEXPECTED_MESSAGE)
    if answer.status != Status.OK:
        raise CircuitRefused(f"the relay answered {_status_name(answer.status)}", answer.status)


def _status_name(status: int | None) -> str:
    try:
        return "without a status" if status is None else Status(status).name
    except ValueError:
        return f"with status {status}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A reservation that a relay granted."""

    relay: PeerId
    """Who granted it."""
    expires_in: float
    """Seconds that it lasts from now."""
    addresses: tuple[Multiaddr, ...]
    """Where we can be reached: each ends in ``/p2p/<relay>/p2p-circuit``."""
    limit: Limit | None
    """What the relay will allow on circuits to us; None for unlimited ones."""
    voucher: bool
    """Whether a valid voucher came with it."""


def read_grant(
    message: bytes, *, relay: PeerId, client: PeerId, dialled: Multiaddr, unix_now: float, config: CircuitConfig
) -> Grant:
    """Read a relay's answer to RESERVE. ``dialled`` is where the relay was reached, ``unix_now`` the time of day.

    Raises:
        CircuitRefused: the relay said no, or granted a reservation that is over already.
        DecodeError: the message or its voucher is malformed, or the voucher is about somebody else.
    """
    answer = HopMessage.parse(message)
    _check_status(answer)
    if answer.reservation is None:
        raise DecodeError("the relay granted a reservation without stating it")
    expires_in = (answer.reservation.expire or 0) - unix_now
    if expires_in <= 0:
        raise CircuitRefused("the relay granted a reservation that is over already", Status.RESERVATION_REFUSED)
    voucher = answer.reservation.voucher
    if voucher:
        _check_voucher(voucher, relay, client)
    told = readable_addresses(answer.reservation.addresses, config.max_relay_addresses)
    return Grant(
        relay=relay,
        expires_in=expires_in,
        addresses=_advertised((dialled, *told), relay, config.max_relay_addresses),
        limit=answer.limit.limit() if answer.limit is not None else None,
        voucher=bool(voucher),
    )


def _check_voucher(data: bytes, relay: PeerId, client: PeerId) -> None:
    voucher = open_voucher(data)
    if voucher.relay != relay or voucher.peer != client:
        raise DecodeError("the voucher is about another relay or client")


def _advertised(addresses: Sequence[Multiaddr], relay: PeerId, limit: int) -> tuple[Multiaddr, ...]:
    """Return the addresses as circuit addresses, the one that worked first; some relays forget ``/p2p``."""
    found: dict[Multiaddr, None] = {}
    for address in addresses:
        if "p2p-circuit" in address.protocols() or len(address) == 0:
            continue
        if address.peer_id is None:
            address = address.encapsulate(f"/p2p/{relay}")
        if address.peer_id == relay:
            found[address.encapsulate("/p2p-circuit")] = None
    return tuple(found)[:limit]


def accepted_limit(message: bytes) -> Limit | None:
    """Read a relay's answer to CONNECT and return the circuit's limit; None for an unlimited one.

    Raises:
        CircuitRefused: the relay said no.
        DecodeError: the message is malformed.
    """
    answer = HopMessage.parse(message)
    _check_status(answer)
    return answer.limit.limit() if answer.limit is not None else None


def stop_source(message: bytes) -> tuple[Status, PeerId | None, Limit | None]:
    """Read a relay's stop message: the status to answer with and, when it is OK, who connects and with which limit."""
    try:
        request = StopMessage.parse(message)
        if request.type is None:
            return Status.MALFORMED_MESSAGE, None, None
        if request.type != StopType.CONNECT:
            return Status.UNEXPECTED_MESSAGE, None, None
        if request.peer is None:
            return Status.MALFORMED_MESSAGE, None, None
        source = request.peer.peer_id()
    except DecodeError:
        return Status.MALFORMED_MESSAGE, None, None
    return Status.OK, source, request.limit.limit() if request.limit is not None else None


class ReservationState(enum.Enum):
    """What a :class:`ReservationTimer` knows of its reservation."""

    WANTED = "wanted"
    """None is held; the next attempt comes at the deadline."""
    HELD = "held"
    """One is held; the deadline is its refresh."""


class ReservationTimer:
    """When to ask a relay for a reservation again: to refresh it in time, and to regain a lost one, backing off."""

    def __init__(self, config: CircuitConfig, rng: random.Random) -> None:
        self._config = config
        self._rng = rng
        self._attempt_at: float | None = None
        self._expires_at = 0.0
        self._backoff = config.retry_min
        self.state = ReservationState.WANTED

    def granted(self, expires_in: float, now: float) -> None:
        """The relay granted a reservation of ``expires_in`` seconds."""
        config = self._config
        lead = min(config.refresh_margin, expires_in / 2)
        self._attempt_at = now + max(expires_in - lead, config.min_refresh_interval)
        self._expires_at = now + expires_in
        self._backoff = config.retry_min
        self.state = ReservationState.HELD

    def failed(self, now: float) -> None:
        """An attempt failed: try again after a pause that doubles, with jitter, so that clients do not come in step."""
        if now >= self._expires_at:
            self.state = ReservationState.WANTED
        self._attempt_at = now + self._backoff * self._rng.uniform(0.5, 1.0)
        self._backoff = min(self._backoff * 2, self._config.retry_max)

    def lost(self, now: float) -> None:
        """The connection to the relay closed, and the reservation with it: the first attempt comes at once."""
        self.state = ReservationState.WANTED
        self._expires_at = now
        self._attempt_at = now

    def next_timeout(self) -> Deadline | None:
        """Return when the next RESERVE is due; None before the first grant or failure."""
        if self._attempt_at is None:
            return None
        why = "refresh the reservation" if self.state is ReservationState.HELD else "regain the reservation"
        return Deadline(self._attempt_at, why)
