"""The rules of a circuit relay v2 service: reservations, admission of circuits, and what a circuit may carry.

Nothing here touches a stream. The service asks :class:`RelayRules` whether a request is granted, and charges every
chunk that it copies to the :class:`Circuit` it belongs to. Times are monotonic seconds.
"""

from __future__ import annotations

import ipaddress
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from signalling.libp2p.circuit_messages import Limit, Status
from signalling.libp2p.host_config import RelayConfig
from signalling.libp2p.peer_id import PeerId

__all__ = ["Circuit", "RelayRules", "RelayStatistics", "RequestBudget", "Requester", "Reservation", "network_of"]

KeyT = TypeVar("KeyT", bound=Hashable)


def network_of(host: str | None) -> str:
    """Return the network that ``host`` (an IP literal, or None for unknown) counts as: an IPv4 address, an IPv6 /56."""
    if host is None:
        return ""
    ip = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((ip, 56), strict=False))
    return str(ip)


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, as the connection that carries the request shows it."""

    peer: PeerId
    network: str
    """See :func:`network_of`."""
    relayed: bool
    """Whether the carrying connection is itself a relayed one."""
    connection: Hashable
    """The carrying connection; a reservation ends with it."""


@dataclass(slots=True)
class Reservation:
    """A slot of one peer: others may reach it through us."""

    peer: PeerId
    network: str
    connection: Hashable
    expires_at: float
    """Monotonic seconds."""


@dataclass(slots=True, eq=False)
class Circuit:
    """One relayed connection and what it has used of its limits."""

    source: PeerId
    target: PeerId
    network: str
    """The source's network."""
    data_limit: int
    """Bytes allowed in each direction, 0 for any number."""
    deadline: float | None
    """When the circuit must be reset, in monotonic seconds; None for never."""
    to_target: int = 0
    """Bytes carried from source to target."""
    to_source: int = 0
    """Bytes carried from target to source."""

    def charge_to_target(self, count: int) -> bool:
        """Account ``count`` bytes from source to target; False when they exceed the limit."""
        self.to_target += count
        return not self.data_limit or self.to_target <= self.data_limit

    def charge_to_source(self, count: int) -> bool:
        """Account ``count`` bytes from target to source; False when they exceed the limit."""
        self.to_source += count
        return not self.data_limit or self.to_source <= self.data_limit


@dataclass(slots=True)
class RelayStatistics:
    """What the relay has done so far; the present state is in :class:`RelayRules`."""

    reservations_granted: int = 0
    """New reservations."""
    reservations_refreshed: int = 0
    """Renewals."""
    reservations_expired: int = 0
    """Reservations that ran out or lost their connection."""
    circuits_opened: int = 0
    """Circuits both of whose ends agreed."""
    circuits_closed: int = 0
    """Circuits that ended by themselves."""
    circuits_cut: int = 0
    """Circuits reset at a limit."""
    bytes_relayed: int = 0
    """Bytes copied, both directions."""
    refused: Counter[Status] = field(default_factory=Counter)
    """Refusals by status code."""


class RequestBudget:
    """Token buckets, one a key, in a table of bounded size."""

    def __init__(self, burst: int, interval: float, max_keys: int) -> None:
        """Allow ``burst`` requests at once and one more every ``interval`` seconds; remember ``max_keys`` keys."""
        self._burst = burst
        self._interval = interval
        self._max_keys = max_keys
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: Hashable, now: float) -> bool:
        """Take one token of ``key``; False when it has none."""
        tokens, at = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - at) / self._interval)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return allowed


class RelayRules:
    """Who holds a reservation, which circuits are open, and whether one more is granted."""

    def __init__(self, config: RelayConfig) -> None:
        self._config = config
        self._reservations: dict[PeerId, Reservation] = {}
        self._reservations_of_network: Counter[str] = Counter()
        self._circuits: set[Circuit] = set()
        self._circuits_of_peer: Counter[PeerId] = Counter()
        self._circuits_of_network: Counter[str] = Counter()
        tracked = config.max_tracked_clients
        self._peer_budget = RequestBudget(config.peer_request_burst, config.peer_request_interval, tracked)
        self._network_budget = RequestBudget(config.network_request_burst, config.network_request_interval, tracked)
        self.statistics = RelayStatistics()

    @property
    def limit(self) -> Limit | None:
        """What both ends of a circuit are told; None when circuits are unlimited."""
        config = self._config
        if not config.circuit_duration and not config.circuit_data:
            return None
        return Limit(duration=config.circuit_duration, data=config.circuit_data)

    def reservations(self) -> Iterator[Reservation]:
        """Yield the reservations, expired ones that were not swept yet included."""
        return iter(self._reservations.values())

    def circuits(self) -> Iterator[Circuit]:
        """Yield the circuits that are open or being opened."""
        return iter(self._circuits)

    def reserve(self, requester: Requester, now: float) -> tuple[Status, Reservation | None]:
        """Grant or refresh a reservation; the reservation is None exactly when the status is not OK."""
        if requester.relayed:
            return self._refuse(Status.PERMISSION_DENIED), None
        self.expire(now)
        held = self._reservations.get(requester.peer)
        if not self._within_budget(requester, now) or not self._has_room_for(requester, held):
            return self._refuse(Status.RESERVATION_REFUSED), None
        if held is not None:
            self._forget(held)
            self.statistics.reservations_refreshed += 1
        else:
            self.statistics.reservations_granted += 1
        expires_at = now + self._config.reservation_ttl
        reservation = Reservation(requester.peer, requester.network, requester.connection, expires_at)
        self._reservations[requester.peer] = reservation
        self._reservations_of_network[requester.network] += 1
        return Status.OK, reservation

    def connect(self, requester: Requester, target: PeerId, now: float) -> tuple[Status, Circuit | None]:
        """Admit a circuit to ``target``; the circuit is None exactly when the status is not OK.

        The circuit counts from here on, while the stop handshake runs; give it back with :meth:`close_circuit`.
        """
        if requester.relayed or target == requester.peer:
            return self._refuse(Status.PERMISSION_DENIED), None
        if not self._within_budget(requester, now):
            return self._refuse(Status.RESOURCE_LIMIT_EXCEEDED), None
        if self.reservation_of(target, now) is None:
            return self._refuse(Status.NO_RESERVATION), None
        if not self._may_open(requester, target):
            return self._refuse(Status.RESOURCE_LIMIT_EXCEEDED), None
        duration = self._config.circuit_duration
        circuit = Circuit(
            requester.peer,
            target,
            requester.network,
            data_limit=self._config.circuit_data,
            deadline=now + duration if duration else None,
        )
        self._circuits.add(circuit)
        self._circuits_of_peer.update((requester.peer, target))
        self._circuits_of_network[requester.network] += 1
        return Status.OK, circuit

    def start_circuit(self, circuit: Circuit, now: float) -> None:
        """Both ends agreed: the duration counts from now."""
        if self._config.circuit_duration:
            circuit.deadline = now + self._config.circuit_duration
        self.statistics.circuits_opened += 1

    def refuse_circuit(self, circuit: Circuit) -> Status:
        """The target did not take the circuit: free its place and return what the source is told."""
        self._release(circuit)
        return self._refuse(Status.CONNECTION_FAILED)

    def close_circuit(self, circuit: Circuit, *, cut: bool = False) -> None:
        """Free the place of a circuit that had started; ``cut`` when a limit ended it. Harmless twice."""
        if circuit not in self._circuits:
            return
        self._release(circuit)
        self.statistics.bytes_relayed += circuit.to_target + circuit.to_source
        if cut:
            self.statistics.circuits_cut += 1
        else:
            self.statistics.circuits_closed += 1

    def reservation_of(self, peer: PeerId, now: float) -> Reservation | None:
        """Return the valid reservation of ``peer``, or None."""
        held = self._reservations.get(peer)
        return held if held is not None and held.expires_at > now else None

    def connection_closed(self, connection: Hashable) -> None:
        """Free the reservations that were made over ``connection`` (specification: valid while it lives)."""
        for reservation in [held for held in self._reservations.values() if held.connection == connection]:
            self._forget(reservation)
            self.statistics.reservations_expired += 1

    def expire(self, now: float) -> None:
        """Free the reservations that ran out."""
        for reservation in [held for held in self._reservations.values() if held.expires_at <= now]:
            self._forget(reservation)
            self.statistics.reservations_expired += 1

    def _within_budget(self, requester: Requester, now: float) -> bool:
        # Both buckets are charged, so a network full of fresh identities pays as one client does.
        peer_allowed = self._peer_budget.take(requester.peer, now)
        network_allowed = self._network_budget.take(requester.network, now)
        return peer_allowed and network_allowed

    def _has_room_for(self, requester: Requester, held: Reservation | None) -> bool:
        config = self._config
        if held is not None and held.network == requester.network:
            return True
        in_network = self._reservations_of_network[requester.network]
        others = len(self._reservations) - (held is not None)
        return others < config.max_reservations and in_network < config.max_reservations_per_network

    def _may_open(self, requester: Requester, target: PeerId) -> bool:
        config = self._config
        return (
            len(self._circuits) < config.max_circuits
            and self._circuits_of_peer[requester.peer] < config.max_circuits_per_peer
            and self._circuits_of_peer[target] < config.max_circuits_per_peer
            and self._circuits_of_network[requester.network] < config.max_circuits_per_network
        )

    def _refuse(self, status: Status) -> Status:
        self.statistics.refused[status] += 1
        return status

    def _forget(self, reservation: Reservation) -> None:
        del self._reservations[reservation.peer]
        _decrement(self._reservations_of_network, reservation.network)

    def _release(self, circuit: Circuit) -> None:
        self._circuits.discard(circuit)
        for peer in (circuit.source, circuit.target):
            _decrement(self._circuits_of_peer, peer)
        _decrement(self._circuits_of_network, circuit.network)


def _decrement(counter: Counter[KeyT], key: KeyT) -> None:
    """Count down and drop the key at zero, so that the table does not grow with every client that ever came."""
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]
