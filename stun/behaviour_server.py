"""What a server of RFC 5780 answers to a Binding request, and from which of its addresses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.attributes import Attribute
from stun.config import BehaviourServerConfig
from stun.message import Message
from stun.rate_limit import RateLimiter, source_key
from stun.values import ChangeRequest

__all__ = ["BehaviourRules", "other_addresses"]

_DATAGRAM_ONLY: frozenset[Attribute[Any]] = frozenset({att.CHANGE_REQUEST, att.PADDING, att.RESPONSE_PORT})


def other_addresses(
    primary: TransportAddress, other_host: str | None, other_port: int
) -> dict[TransportAddress, TransportAddress]:
    """Return every address that a server listens at, with the OTHER-ADDRESS of each.

    Args:
        primary: where clients ask first.
        other_host: the second IP address; None where the host has no second one of this family, and the server can
            then only change its port, which RFC 5780 does not foresee: its OTHER-ADDRESS differs in the port alone.
        other_port: the second port, not the primary one.
    """
    if other_port == primary.port or other_host == primary.host:
        raise ValueError("the other address and port have to differ from the primary ones")
    hosts = (primary.host, other_host or primary.host)
    ports = (primary.port, other_port)
    return {
        TransportAddress(hosts[h], ports[p]): TransportAddress(hosts[1 - h], ports[1 - p])
        for h in range(2)
        for p in range(2)
    }


class BehaviourRules:
    """The rules of RFC 5780 sections 6 and 7 for one server."""

    def __init__(
        self, config: BehaviourServerConfig, others: Mapping[TransportAddress, TransportAddress] | None = None
    ) -> None:
        """Args:
        config: limits.
        others: of :func:`other_addresses`; none for a server with one address, which then has no OTHER-ADDRESS and
            refuses CHANGE-REQUEST (section 6.1).
        """
        self.config = config
        self._others = dict(others or {})
        self._reflections = RateLimiter(config.response_port_rate, config.response_port_burst, config.max_sources)

    def add(self, others: Mapping[TransportAddress, TransportAddress]) -> None:
        """Serve more addresses, those of another family for one."""
        self._others.update(others)

    def respond(self, request: Message, path: FiveTuple, now: float) -> tuple[Message, FiveTuple] | None:
        """Return the response to a Binding request and the path that it has to take; None for no response."""
        datagrams = path.protocol is TransportProtocol.UDP
        other = self._others.get(path.local)
        change = request.get(att.CHANGE_REQUEST) if datagrams else None
        unknown = request.unknown_required(self._refused(datagrams, other, change))
        if unknown:
            failure = request.failure(420, "Unknown Attribute", (att.UNKNOWN_ATTRIBUTES, unknown))
            return failure, path
        padding, port = request.get(att.PADDING), request.get(att.RESPONSE_PORT)
        if (padding is not None and port is not None) or port == 0:
            return request.failure(400, "Bad Request"), path
        remote = path.remote
        if port is not None:
            if not self._reflections.take(source_key(remote.host), now):
                return None
            remote = TransportAddress(remote.host, port)
        origin = _changed(path.local, other, change)
        response = request.success(
            (att.MAPPED_ADDRESS, path.remote), (att.XOR_MAPPED_ADDRESS, path.remote), (att.RESPONSE_ORIGIN, origin)
        )
        if other is not None:
            response.add(att.OTHER_ADDRESS, other)
        if padding is not None:
            response.add(att.PADDING, bytes(min(len(padding), self.config.max_padding) // 4 * 4))
        return response, FiveTuple(origin, remote, path.protocol)

    def _refused(
        self, datagrams: bool, other: TransportAddress | None, change: ChangeRequest | None
    ) -> frozenset[Attribute[Any]]:
        if not datagrams:
            return _DATAGRAM_ONLY
        refused: set[Attribute[Any]] = set()
        if not self.config.response_port:
            refused.add(att.RESPONSE_PORT)
        if other is None or (change is not None and change.address and not self._has_two_hosts(other)):
            refused.add(att.CHANGE_REQUEST)
        return frozenset(refused)

    def _has_two_hosts(self, other: TransportAddress) -> bool:
        return self._others[other].host != other.host


def _changed(local: TransportAddress, other: TransportAddress | None, change: ChangeRequest | None) -> TransportAddress:
    if other is None or change is None:
        return local
    return TransportAddress(other.host if change.address else local.host, other.port if change.port else local.port)
