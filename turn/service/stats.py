"""What the TURN server has done since it started, and how much there is now."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

__all__ = ["TurnServerStats"]


@dataclass(slots=True)
class TurnServerStats:
    """Counters; all of them only grow. Relayed traffic of living allocations is added when it is read."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests by method."""
    errors: Counter[int] = field(default_factory=Counter)
    """Error responses by code, those never sent included."""
    bindings: int = 0
    """Binding requests answered."""
    unparsable: int = 0
    """Datagrams and messages that are neither STUN nor ChannelData, or are damaged."""
    ignored: int = 0
    """Responses, indications other than Send, and what came from port 0."""
    unanswered: int = 0
    """Responses kept back because they would have amplified an unauthenticated request."""
    guesses: int = 0
    """Wrong credentials without an answer, because their source had sent too many."""
    no_allocation: int = 0
    """Indications and ChannelData of clients without an allocation."""
    unbound_channel: int = 0
    """ChannelData on channels that are not bound, and truncated ChannelData."""
    denied_to_peer: int = 0
    """Send indications without permission, or that could not be sent."""
    denied_from_peer: int = 0
    """Datagrams of peers without permission."""
    over_bandwidth: int = 0
    """Relayed datagrams dropped because an allocation or a user was over its bandwidth."""
    allocations: int = 0
    """Allocations made."""
    ended: Counter[str] = field(default_factory=Counter)
    """Allocations ended, by reason."""
    moved: int = 0
    """Allocations that moved to another client address."""
    connections: int = 0
    """Client connections accepted."""
    refused_connections: int = 0
    """Client connections closed at once because there were too many, or the server drains."""
    broken_connections: int = 0
    """Client connections closed for what was sent on them, or for silence."""
    peer_connections: int = 0
    """TCP connections with peers (RFC 6062)."""
    refused_peers: int = 0
    """TCP connections of peers that had no permission, or of which there were too many."""
    icmp: int = 0
    """ICMP errors told to clients."""
    packets_to_peers: int = 0
    """Datagrams relayed by allocations that have ended."""
    bytes_to_peers: int = 0
    """Bytes relayed by allocations that have ended."""
    packets_to_client: int = 0
    """Datagrams relayed by allocations that have ended."""
    bytes_to_client: int = 0
    """Bytes relayed by allocations that have ended."""
