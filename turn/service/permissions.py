"""CreatePermission and ChannelBind on the server (RFC 8656 sections 9, 10 and 12)."""

from __future__ import annotations

from stun import attributes as att
from stun.address import TransportAddress, TransportProtocol
from turn.framing import CHANNEL_MIN
from turn.service.allocation import Allocation, Channel
from turn.service.state import Request, ServerState

__all__ = ["PermissionRoom", "peer_problem"]


def peer_problem(
    state: ServerState, allocation: Allocation, peer: TransportAddress, protocol: TransportProtocol | None
) -> tuple[int, str] | None:
    """Return the error for a peer that an allocation cannot have, or None (sections 10.2 and 12.2).

    Args:
        state: of the server.
        allocation: who wants it.
        peer: what was asked for.
        protocol: how the peer is to be reached; None for a permission, where its port does not count.
    """
    if peer.family not in allocation.relays:
        return 443, "Peer Address Family Mismatch"
    allowed = state.may_permit(peer.host) if protocol is None else peer.port and state.may_reach(peer, protocol)
    return None if allowed else (403, "Forbidden")


class PermissionRoom:
    """Opens allocations to peers."""

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def create_permission(self, request: Request) -> None:
        """Judge a CreatePermission; one bad address spoils all of them (section 10.2)."""
        state = self._state
        allocation = state.allocation_of(request)
        if allocation is None:
            return
        peers = request.message.get_all(att.XOR_PEER_ADDRESS)
        if not peers:
            state.fail(request, 400, "Bad Request")
            return
        for peer in peers:
            problem = peer_problem(state, allocation, peer, None)
            if problem is not None:
                state.fail(request, *problem)
                return
        hosts = {peer.host for peer in peers}
        if len(allocation.permissions.keys() | hosts) > state.config.limits.permissions:
            state.fail(request, 508, "Insufficient Capacity")
            return
        for host in hosts:
            allocation.permissions[host] = request.now + state.config.times.permission
        state.watch(allocation)
        state.succeed(request)

    def bind_channel(self, request: Request) -> None:
        """Judge a ChannelBind (section 12.2)."""
        state, message = self._state, request.message
        allocation = state.allocation_of(request)
        if allocation is None:
            return
        number, peer = message.get(att.CHANNEL_NUMBER), message.get(att.XOR_PEER_ADDRESS)
        if (
            number is None
            or peer is None
            or not CHANNEL_MIN <= number <= state.config.last_channel
            or allocation.is_tcp
        ):
            state.fail(request, 400, "Bad Request")
            return
        problem = peer_problem(state, allocation, peer, TransportProtocol.UDP)
        if problem is not None:
            state.fail(request, *problem)
            return
        bound, other = allocation.channels.get(number), allocation.channel_of.get(peer)
        if bound is not other:
            state.fail(request, 400, "Bad Request")  # the number is another peer's, or the peer has another number
            return
        limits = state.config.limits
        too_many = bound is None and len(allocation.channels) >= limits.channels
        if too_many or len(allocation.permissions.keys() | {peer.host}) > limits.permissions:
            state.fail(request, 508, "Insufficient Capacity")
            return
        self._bind(allocation, number, peer, request.now)
        state.succeed(request)

    def _bind(self, allocation: Allocation, number: int, peer: TransportAddress, now: float) -> None:
        times = self._state.config.times
        channel = allocation.channels.get(number)
        if channel is None:
            channel = Channel(number, peer, allocation.relays[peer.family], 0.0)
            allocation.channels[number] = channel
            allocation.channel_of[peer] = channel
        channel.target = self._state.inside(peer, TransportProtocol.UDP)
        allocation.lead_channel(channel, self._state.allocations.advertised.get((peer, TransportProtocol.UDP)))
        channel.expires = now + times.channel
        allocation.permissions[peer.host] = now + times.permission
        self._state.watch(allocation)
