"""Refresh on the server, and how an allocation follows its client to another address (RFC 8656 section 8, RFC 8016)."""

from __future__ import annotations

from stun import attributes as att
from stun.address import FiveTuple
from stun.machine import Transmit
from stun.values import AddressFamily
from turn.service.allocate import granted_lifetime
from turn.service.allocation import Allocation
from turn.service.events import AllocationMoved, EndReason
from turn.service.mobility import TicketBox
from turn.service.state import Pair, Request, ServerState

__all__ = ["RefreshRoom"]

_FAMILIES: dict[int, int] = {AddressFamily.IPV4: 4, AddressFamily.IPV6: 6}


class RefreshRoom:
    """Prolongs, ends and moves allocations."""

    def __init__(self, state: ServerState, tickets: TicketBox) -> None:
        self._state = state
        self._tickets = tickets

    def handle(self, request: Request) -> None:
        """Judge one request."""
        state, message = self._state, request.message
        existing = state.allocations.get(request.path)
        is_ours = existing is not None and existing.identity == request.identity
        latest = existing.latest_refresh if existing is not None and is_ours else None
        if latest is not None and latest[0] == message.transaction_id:
            state.outbox.effects.append(Transmit(latest[1], request.path))
            return
        sealed = message.get(att.MOBILITY_TICKET)
        if sealed is not None:
            self._move(request, sealed, existing)
        elif (allocation := state.allocation_of(request)) is not None:
            self._refresh(request, allocation)

    def _refresh(self, request: Request, allocation: Allocation, *extra: Pair) -> bytes | None:
        """Prolong or end; returns the answer when it was a success."""
        state, message = self._state, request.message
        families = self._families(request, allocation)
        if families is None:
            return None
        wanted = message.get(att.LIFETIME)
        if wanted == 0:
            answer = state.succeed(request, (att.LIFETIME, 0), *extra)
            self._delete(request, allocation, families)
            return answer
        lifetime = granted_lifetime(state, request)
        for family in families:
            allocation.relays[family].expires = request.now + lifetime
        state.watch(allocation)
        return state.succeed(request, (att.LIFETIME, int(lifetime)), *extra)

    def _families(self, request: Request, allocation: Allocation) -> list[int] | None:
        """Return the families that a request is about, or answer 443."""
        requested = request.message.get(att.REQUESTED_ADDRESS_FAMILY)
        if requested is None:
            return list(allocation.relays)
        family = _FAMILIES.get(requested)
        if family not in allocation.relays:
            self._state.fail(request, 443, "Peer Address Family Mismatch")
            return None
        return [family]

    def _delete(self, request: Request, allocation: Allocation, families: list[int]) -> None:
        state = self._state
        if len(families) == len(allocation.relays):
            state.end(allocation, EndReason.DELETED, request.now)
            return
        for family in families:
            state.close_family(allocation, family)
        state.watch(allocation)

    # -- RFC 8016 section 3.2 --

    def _move(self, request: Request, sealed: bytes, existing: Allocation | None) -> None:
        state = self._state
        if not state.config.mobility:
            state.fail(request, 405, "Mobility Forbidden")
            return
        if state.policy.is_tunnelled_client(request.path.remote.host):
            state.fail(request, 403, "Forbidden")
            return
        ticket = self._tickets.open(sealed)
        if existing is not None or ticket is None:
            state.fail(request, 400, "Bad Request")  # the address did not change, or the ticket is none of ours
            return
        allocation = state.allocations.by_number.get(ticket.number)
        if allocation is None:
            state.fail(request, 437, "Allocation Mismatch")
        elif allocation.identity != request.identity:
            state.fail(request, 441, "Wrong Credentials")
        elif ticket.serial != allocation.ticket_serial or allocation.is_tcp:
            state.fail(request, 400, "Bad Request")
        elif request.message.get(att.LIFETIME) == 0:
            self._refresh(request, allocation)
        else:
            self._accept(request, allocation)

    def _accept(self, request: Request, allocation: Allocation) -> None:
        state = self._state
        if self._families(request, allocation) is None:
            return  # the old ticket stays good: the client gets no other
        if not state.begin_move(allocation, request.source):
            state.fail(request, 486, "Allocation Quota Reached")
            return
        ticket = self._tickets.next_ticket(allocation)
        answer = self._refresh(request, allocation, (att.MOBILITY_TICKET, ticket))
        if answer is None:
            return
        if allocation.pending_path is not None:  # it moved on before it sent anything from there
            state.allocations.remove_path(allocation.pending_path)
        allocation.pending_path = request.path
        allocation.latest_refresh = (request.message.transaction_id, answer)
        state.allocations.add_path(allocation, request.path)
        if allocation.is_detached:
            self._switch(allocation)

    def data_arrived(self, allocation: Allocation, path: FiveTuple) -> None:
        """The client sent data on ``path``: once that is the new one, the old one is forgotten."""
        if allocation.pending_path != path:
            return
        self._switch(allocation)

    def path_gone(self, allocation: Allocation, path: FiveTuple) -> bool:
        """A client's stream is gone; False when the allocation has no other path, and no ticket to come back with."""
        if allocation.pending_path is None:
            return self._detach(allocation, path)
        if path == allocation.pending_path:
            self._state.allocations.remove_path(path)
            self._state.end_move(allocation, moved=False)
            allocation.pending_path = None
        else:
            self._switch(allocation)
        return True

    def _detach(self, allocation: Allocation, path: FiveTuple) -> bool:
        if not allocation.ticket_serial:
            return False
        # A NAT may hand the port out again: nothing of the allocation is for who connects from there next.
        self._state.allocations.remove_path(path)
        allocation.path = path._replace(remote=path.remote._replace(port=0))
        for relay in allocation.relays.values():
            relay.allocation = None
        return True

    def _switch(self, allocation: Allocation) -> None:
        state = self._state
        before, path = allocation.path, allocation.pending_path
        assert path is not None
        state.allocations.remove_path(before)
        allocation.path = path
        allocation.padded = path.protocol.is_stream
        allocation.pending_path = None
        for relay in allocation.relays.values():
            relay.allocation = allocation
        state.end_move(allocation, moved=True)
        state.stats.moved += 1
        state.outbox.events.append(AllocationMoved(allocation.number, before, path))
