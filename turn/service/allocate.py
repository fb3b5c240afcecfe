"""Allocate on the server: the checks of RFC 8656 section 7.2 in their order, and the relayed addresses behind them."""

from __future__ import annotations

from dataclasses import dataclass, field

from stun import attributes as att
from stun.address import FiveTuple, TransportProtocol
from stun.machine import Transmit
from stun.message import Message
from stun.values import AddressErrorCode, AddressFamily
from turn.service.allocation import Allocation, Relay
from turn.service.events import AllocationCreated, AllocationRefused
from turn.service.mobility import TicketBox
from turn.service.opening import Opening, RelayOpener
from turn.service.state import Pair, Request, ServerState

__all__ = ["AllocateRoom", "granted_lifetime"]

_FAMILIES = {AddressFamily.IPV4: 4, AddressFamily.IPV6: 6}
_CODES = {4: AddressFamily.IPV4, 6: AddressFamily.IPV6}
_PROTOCOLS = {17: TransportProtocol.UDP, 6: TransportProtocol.TCP}


def granted_lifetime(state: ServerState, request: Request) -> float:
    """Return the seconds that a client gets (sections 7.2 and 8.2), no more than its token has (RFC 7635 section 9)."""
    times = state.config.times
    wanted = request.message.get(att.LIFETIME) or 0
    granted = min(max(times.default_lifetime, wanted), times.max_lifetime)
    return granted if request.grant is None else min(granted, max(1.0, request.grant.ends - request.now))


class _RefusedError(Exception):
    """An Allocate that fails one of the checks; never leaves this room."""

    def __init__(self, code: int, reason: str, *pairs: Pair) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason
        self.pairs = pairs


@dataclass(slots=True)
class _Pending:
    """An Allocate whose relayed addresses are being bound."""

    request: Request
    lifetime: float
    waiting: set[int] = field(default_factory=set)
    """The families that are not there yet."""
    relays: dict[int, Relay] = field(default_factory=dict)
    errors: list[AddressErrorCode] = field(default_factory=list)
    places: int = 1
    """How many places it has in the quotas."""
    token: bytes | None = None
    cancelled: bool = False


class AllocateRoom:
    """Judges Allocate requests and makes allocations."""

    def __init__(self, state: ServerState, tickets: TicketBox) -> None:
        self._state = state
        self._tickets = tickets
        self._pending: dict[FiveTuple, _Pending] = {}
        self.opener = RelayOpener(state)

    def __len__(self) -> int:
        return len(self._pending)

    def handle(self, request: Request) -> None:
        """Judge one request."""
        state = self._state
        existing = state.allocations.get(request.path)
        if existing is not None and existing.repeats(request.message.transaction_id, request.identity):
            state.outbox.effects.append(Transmit(existing.response, request.path))
            return
        if request.path in self._pending:
            return  # a retransmission, or a client that cannot wait
        try:
            if existing is not None:
                raise _RefusedError(437, "Allocation Mismatch")
            self._start(request)
        except _RefusedError as refused:
            self._refuse(request, refused.code, refused.reason, *refused.pairs)

    def is_pending(self, path: FiveTuple) -> bool:
        """Whether an allocation is being made for a path."""
        return path in self._pending

    def cancel(self, path: FiveTuple) -> None:
        """The client's stream is gone."""
        if path in self._pending:
            self._pending[path].cancelled = True

    # -- the checks, in the order of section 7.2 --

    def _start(self, request: Request) -> None:
        state, message = self._state, request.message
        if state.policy.is_tunnelled_client(request.path.remote.host):
            raise _RefusedError(403, "Forbidden")
        protocol = self._protocol(request)
        if att.DONT_FRAGMENT in message and not state.config.dont_fragment:
            raise _RefusedError(420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, (att.DONT_FRAGMENT.code,)))
        token = message.get(att.RESERVATION_TOKEN)
        reserved = None
        if token is not None:
            if any(other in message for other in _NOT_WITH_TOKEN):
                raise _RefusedError(400, "Bad Request")
            reserved = self.opener.reserved(token, request.identity)
            if reserved is None:
                raise _RefusedError(508, "Insufficient Capacity")
        families = [reserved.address.family] if reserved is not None else self._families(message)
        if att.MOBILITY_TICKET in message:
            self._check_mobility(message)
        pending = _Pending(request, granted_lifetime(state, request))
        missing = [family for family in families if not state.ports.has_family(family)]
        pending.errors = [AddressErrorCode(_CODES[family], 440, "Address Family not Supported") for family in missing]
        pending.waiting = set(families) - set(missing)
        if not pending.waiting:
            raise _RefusedError(440, "Address Family not Supported")
        even = message.get(att.EVEN_PORT)
        pending.places = 2 if even else 1
        self._check_capacity(request)
        if reserved is not None:
            if not state.change_source(reserved.source, request.source):
                raise _RefusedError(*_OVER_QUOTA)
            self._pending[request.path] = pending
            self._done(pending, self.opener.claim(reserved))
            return
        if not state.reserve(request.identity, request.source, pending.places):
            raise _RefusedError(*_OVER_QUOTA)
        self._pending[request.path] = pending
        for family in sorted(pending.waiting):
            opening = Opening(
                family, protocol, request.identity, request.source, even=even is not None, pair=bool(even)
            )
            self.opener.open(opening, lambda found, pending=pending: self._done(pending, found))  # type: ignore[misc]

    def _protocol(self, request: Request) -> TransportProtocol:
        config, message = self._state.config, request.message
        number = message.get(att.REQUESTED_TRANSPORT)
        if number is None:
            raise _RefusedError(400, "Bad Request")
        protocol = _PROTOCOLS.get(number)
        if protocol is None or (protocol is TransportProtocol.TCP and not config.tcp):
            raise _RefusedError(442, "Unsupported Transport Protocol")
        if protocol is TransportProtocol.UDP and not config.udp:
            raise _RefusedError(403, "Forbidden")
        # RFC 6062 section 5.1
        unfit = not request.path.protocol.is_stream or any(other in message for other in _NOT_WITH_TCP)
        if protocol is TransportProtocol.TCP and unfit:
            raise _RefusedError(400, "Bad Request")
        return protocol

    def _families(self, message: Message) -> list[int]:
        requested = message.get_all(att.REQUESTED_ADDRESS_FAMILY)
        additional = message.get(att.ADDITIONAL_ADDRESS_FAMILY)
        if len(requested) > 1 or (requested and additional is not None):
            raise _RefusedError(400, "Bad Request")
        if additional is not None:
            if additional != AddressFamily.IPV6 or message.get(att.EVEN_PORT):
                raise _RefusedError(400, "Bad Request")
            return [4, 6]
        code = requested[0] if requested else AddressFamily.IPV4
        family = next((family for known, family in _FAMILIES.items() if known == code), None)
        if family is None or not self._state.ports.has_family(family):
            raise _RefusedError(440, "Address Family not Supported")
        return [family]

    def _check_mobility(self, message: Message) -> None:
        if not self._state.config.mobility:
            raise _RefusedError(405, "Mobility Forbidden")
        if message.get(att.MOBILITY_TICKET):
            raise _RefusedError(400, "Bad Request")

    def _check_capacity(self, request: Request) -> None:
        state = self._state
        if state.draining or len(state.allocations) + len(self._pending) >= state.config.limits.allocations:
            pairs = self._elsewhere(request.path)
            if pairs:
                raise _RefusedError(300, "Try Alternate", *pairs)
            raise _RefusedError(508, "Insufficient Capacity")

    def _elsewhere(self, path: FiveTuple) -> list[Pair]:
        """Return what a 300 says (RFC 8489 section 10); nothing without an address of the request's family."""
        config = self._state.config
        of_family = sorted(config.alternates, key=lambda address: address.family != path.local.family)
        if not of_family or of_family[0].family != path.local.family:
            return []
        pairs: list[Pair] = [(att.ALTERNATE_SERVER, address) for address in of_family]
        is_secure = path.protocol in (TransportProtocol.TLS, TransportProtocol.DTLS)
        if config.alternate_domain is not None and is_secure:
            pairs.append((att.ALTERNATE_DOMAIN, config.alternate_domain))
        return pairs

    def _refuse(self, request: Request, code: int, reason: str, *pairs: Pair) -> None:
        self._state.fail(request, code, reason, *pairs)
        event = AllocationRefused(request.path, request.auth.username, code, reason)
        self._state.outbox.events.append(event)

    # -- relayed addresses --

    def _done(self, pending: _Pending, opening: Opening) -> None:
        """One family is bound, or cannot be."""
        pending.waiting.discard(opening.family)
        if opening.address is None:
            pending.errors.append(AddressErrorCode(_CODES[opening.family], 508, "Insufficient Capacity"))
        else:
            expires = pending.request.now + pending.lifetime
            advertised = opening.host.advertised(opening.address) if opening.host else opening.address
            pending.relays[opening.family] = Relay(opening.address, advertised, opening.protocol, expires)
            pending.token = opening.token or pending.token
        if not pending.waiting:
            self._finish(pending)

    def _finish(self, pending: _Pending) -> None:
        state, request = self._state, pending.request
        del self._pending[request.path]
        if pending.cancelled or not pending.relays:
            if pending.token is not None:
                self.opener.forget(pending.token)
                pending.places -= 1
            for _ in range(pending.places):
                state.unreserve(request.identity, request.source)
            for relay in pending.relays.values():
                state.close_relay(relay)
            if not pending.cancelled:
                self._refuse(request, 508, "Insufficient Capacity")
            return
        allocation = self._make(pending)
        pairs: list[Pair] = [
            (att.XOR_RELAYED_ADDRESS, allocation.relays[family].advertised) for family in sorted(allocation.relays)
        ]
        pairs.append((att.LIFETIME, int(pending.lifetime)))
        if pending.token is not None:
            pairs.append((att.RESERVATION_TOKEN, pending.token))
        pairs.append((att.XOR_MAPPED_ADDRESS, request.path.remote))
        pairs += [(att.ADDRESS_ERROR_CODE, error) for error in pending.errors]
        if att.MOBILITY_TICKET in request.message and not allocation.is_tcp:
            pairs.append((att.MOBILITY_TICKET, self._tickets.next_ticket(allocation)))
        allocation.response = state.succeed(request, *pairs)
        relays = tuple(relay.advertised for relay in allocation.relays.values())
        username = request.auth.username
        event = AllocationCreated(allocation.number, request.path, username, relays, pending.lifetime)
        state.outbox.events.append(event)

    def _make(self, pending: _Pending) -> Allocation:
        state, request = self._state, pending.request
        number = state.allocations.new_number()
        allocation = Allocation(
            number, request.path, request.auth.username, request.identity, request.source, request.now
        )
        allocation.grant = request.grant
        allocation.relays = pending.relays
        for relay in pending.relays.values():
            relay.allocation = allocation
        allocation.bandwidth = state.buckets(request.identity, request.now)
        allocation.request_id = request.message.transaction_id
        state.allocations.add(allocation)
        state.watch(allocation)
        state.stats.allocations += 1
        return allocation


_OVER_QUOTA = (486, "Allocation Quota Reached")
_NOT_WITH_TOKEN = (att.EVEN_PORT, att.REQUESTED_ADDRESS_FAMILY, att.ADDITIONAL_ADDRESS_FAMILY)
_NOT_WITH_TCP = (att.DONT_FRAGMENT, att.EVEN_PORT, att.RESERVATION_TOKEN)
