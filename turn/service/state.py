"""What the rooms of the TURN server share: tables, quotas, replies, and the end of an allocation."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.attributes import Attribute
from stun.auth_server import Authenticated
from stun.machine import Outbox, Release, Transmit
from stun.message import Message
from stun.rate_limit import source_key
from turn.service.allocation import Allocation, AllocationTable, Relay
from turn.service.config import TurnServiceConfig
from turn.service.events import AllocationEnded, CloseRelay, EndReason, ServerEvent
from turn.service.policy import PeerPolicy, Refusal
from turn.service.ports import RelayPorts
from turn.service.quota import CountQuota, TokenBucket
from turn.service.stats import TurnServerStats
from turn.service.tokens import Grant
from turn.timetable import Timetable

__all__ = ["Request", "ServerState"]

Pair = tuple[Attribute[Any], Any]


@dataclass(frozen=True, slots=True)
class Request:
    """An authenticated request."""

    message: Message
    path: FiveTuple
    auth: Authenticated
    identity: str
    """Who the user is, whatever name credentials of limited time give it."""
    now: float
    grant: Grant | None = None
    """What lets in the holder of an access token (RFC 7635)."""

    @property
    def source(self) -> str:
        """What the client's address counts as in quotas."""
        return source_key(self.path.remote.host)


class ServerState:
    """Everything that more than one room needs."""

    def __init__(self, config: TurnServiceConfig, policy: PeerPolicy, rng: random.Random) -> None:
        self.config = config
        self.policy = policy
        self.rng = rng
        self.outbox: Outbox[Any, ServerEvent] = Outbox()
        self.stats = TurnServerStats()
        self.allocations = AllocationTable()
        self.timetable: Timetable[int] = Timetable()
        """When each allocation (by number) has something that expires."""
        self.ports = RelayPorts(config.relays, config.ports, rng)
        self.users: CountQuota[str] = CountQuota(config.limits.allocations_per_user)
        self.sources: CountQuota[str] = CountQuota(config.limits.allocations_per_source)
        self.draining = False
        """No new allocations are made."""
        self.at_end: list[Callable[[Allocation], None]] = []
        """Called with every allocation that ends, while its tables are still there."""
        self._user_buckets: dict[str, TokenBucket] = {}
        hosts = config.relays
        self._relay_hosts = {relay.host for relay in hosts} | {relay.advertise for relay in hosts if relay.advertise}
        self.behind_nat = any(relay.advertise for relay in hosts)
        """Whether relayed addresses have other names outside."""

    # -- peers --

    def may_permit(self, host: str) -> bool:
        """Whether an allocation may have a permission for an IP address."""
        refusal = self.policy.refusal(host)
        if refusal is not Refusal.OWN:
            return refusal is None
        return self.config.peers.own_relays and host in self._relay_hosts

    def may_reach(self, peer: TransportAddress, protocol: TransportProtocol) -> bool:
        """Whether anything may be sent to a peer. On our own hosts only relayed addresses of our own are reached."""
        refusal = self.policy.refusal(peer.host)
        if refusal is not Refusal.OWN:
            return refusal is None
        return self.config.peers.own_relays and (peer, protocol) in self.allocations.advertised

    def inside(self, peer: TransportAddress, protocol: TransportProtocol) -> TransportAddress:
        """Return where a peer is reached: a relayed address of our own may be known by another address outside."""
        relay = self.allocations.advertised.get((peer, protocol)) if self.behind_nat else None
        return relay.address if relay is not None else peer

    def outside(self, peer: tuple[str, int], protocol: TransportProtocol) -> TransportAddress:
        """Return how clients know a peer; the reverse of :meth:`inside`."""
        address = TransportAddress(*peer)
        relay = self.allocations.by_relay.get((address, protocol))
        return relay.advertised if relay is not None else address

    # -- replies --

    def succeed(self, request: Request, *pairs: Pair) -> bytes:
        """Answer a request with success and return the signed bytes."""
        message = request.message.success(*pairs)
        if self.config.software is not None:
            message.add(att.SOFTWARE, self.config.software)
        data = request.auth.sign(message, fingerprint=request.message.has_fingerprint)
        self.outbox.effects.append(Transmit(data, request.path))
        return data

    def fail(self, request: Request, code: int, reason: str, *pairs: Pair) -> None:
        """Answer a request with a signed error."""
        self.stats.errors[code] += 1
        message = request.message.failure(code, reason, *pairs)
        if self.config.software is not None:
            message.add(att.SOFTWARE, self.config.software)
        data = request.auth.sign(message, fingerprint=request.message.has_fingerprint)
        self.outbox.effects.append(Transmit(data, request.path))

    def allocation_of(self, request: Request) -> Allocation | None:
        """Return the allocation of the request's 5-tuple when its user owns it; else answer 437 or 441."""
        allocation = self.allocations.get(request.path)
        if allocation is None:
            self.fail(request, 437, "Allocation Mismatch")
        elif allocation.identity != request.identity:
            self.fail(request, 441, "Wrong Credentials")
        else:
            return allocation
        return None

    # -- the life of allocations --

    def reserve(self, identity: str, source: str, places: int = 1) -> bool:
        """Count more allocations of a user and a source (a held port is one too); False when a quota is reached."""
        if not (self.users.has_room(identity, places) and self.sources.has_room(source, places)):
            return False
        for _ in range(places):
            self.users.add(identity)
            self.sources.add(source)
        return True

    def unreserve(self, identity: str, source: str) -> None:
        """Take back one place of :meth:`reserve`."""
        self.users.remove(identity)
        self.sources.remove(source)
        if not self.users.has(identity):
            self._user_buckets.pop(identity, None)

    def change_source(self, before: str, after: str) -> bool:
        """Count one place for another source; False, and no change, when that one's quota is reached."""
        if before == after:
            return True
        if not self.sources.has_room(after):
            return False
        self.sources.add(after)
        self.sources.remove(before)
        return True

    def begin_move(self, allocation: Allocation, source: str) -> bool:
        """Count an allocation for the address it moves to as well; False when that one's quota is reached."""
        waiting = allocation.pending_source
        if source not in (allocation.source, waiting):
            if not self.sources.has_room(source):
                return False
            self.sources.add(source)
        if waiting is not None and waiting != source:
            self.sources.remove(waiting)
        allocation.pending_source = source if source != allocation.source else None
        return True

    def end_move(self, allocation: Allocation, moved: bool) -> None:
        """Count an allocation for one address again: the new one, or the old one when it did not move."""
        pending, allocation.pending_source = allocation.pending_source, None
        if pending is not None:
            self.sources.remove(allocation.source if moved else pending)
            allocation.source = pending if moved else allocation.source

    def buckets(self, identity: str, now: float) -> tuple[TokenBucket, ...]:
        """Return what a new allocation's bandwidth is paid from."""
        limits = self.config.limits
        found: list[TokenBucket] = []
        if limits.bytes_per_second:
            rate = limits.bytes_per_second
            found.append(TokenBucket(rate, max(rate * limits.burst_seconds, 65535.0), now))
        if limits.user_bytes_per_second:
            rate = limits.user_bytes_per_second
            bucket = self._user_buckets.get(identity)
            if bucket is None:
                bucket = TokenBucket(rate, max(rate * limits.burst_seconds, 65535.0), now)
                self._user_buckets[identity] = bucket
            found.append(bucket)
        return tuple(found)

    def watch(self, allocation: Allocation) -> None:
        """Have the timetable know when something of an allocation expires next."""
        self.timetable.set(allocation.number, allocation.wake_at())

    def close_relay(self, relay: Relay) -> None:
        """Free one relayed address."""
        self.allocations.remove_relay(relay)
        self.ports.give_back(relay.address, relay.protocol)
        self.outbox.effects.append(CloseRelay(relay.address, relay.protocol))

    def close_family(self, allocation: Allocation, family: int) -> None:
        """Free the relayed address of one family, with the permissions and channels of its peers."""
        relay = allocation.relays.pop(family)
        for channel in [channel for channel in allocation.channels.values() if channel.relay is relay]:
            allocation.forget_channel(channel)
        for host in [host for host in allocation.permissions if (":" in host) == (family == 6)]:
            del allocation.permissions[host]
        self.close_relay(relay)

    def end(self, allocation: Allocation, reason: EndReason, now: float) -> None:
        """Free all that an allocation has."""
        for hook in self.at_end:
            hook(allocation)
        for relay in allocation.relays.values():
            self.ports.give_back(relay.address, relay.protocol)
            self.outbox.effects.append(CloseRelay(relay.address, relay.protocol))
        self.allocations.remove(allocation)
        self.timetable.discard(allocation.number)
        self.end_move(allocation, moved=False)
        self.unreserve(allocation.identity, allocation.source)
        self._account(allocation, reason, now)

    def _account(self, allocation: Allocation, reason: EndReason, now: float) -> None:
        stats = self.stats
        stats.ended[reason.name.lower()] += 1
        stats.packets_to_peers += allocation.packets_to_peers
        stats.bytes_to_peers += allocation.bytes_to_peers
        stats.packets_to_client += allocation.packets_to_client
        stats.bytes_to_client += allocation.bytes_to_client
        self.outbox.events.append(
            AllocationEnded(
                number=allocation.number,
                path=allocation.path,
                username=allocation.username,
                reason=reason,
                seconds=now - allocation.created,
                packets_to_peers=allocation.packets_to_peers,
                bytes_to_peers=allocation.bytes_to_peers,
                packets_to_client=allocation.packets_to_client,
                bytes_to_client=allocation.bytes_to_client,
            )
        )

    def release(self, path: FiveTuple) -> None:
        """Close a client's stream."""
        if path.protocol is not TransportProtocol.UDP:
            self.outbox.effects.append(Release(path))
