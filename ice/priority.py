"""The arithmetic of priorities: candidates, pairs (RFC 8445 sections 5.1.2, 6.1.2.3) and families (RFC 8421)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ice.candidate import CandidateType, TcpType
from stun.address import TransportAddress, TransportProtocol

__all__ = [
    "HIGHEST_OTHER",
    "HIGHEST_PREFERENCE",
    "MAX_PRIORITY",
    "TCP_TYPE_PREFERENCES",
    "TYPE_PREFERENCES",
    "candidate_priority",
    "local_preferences",
    "pair_priority",
    "peer_reflexive_priority",
    "relay_preference",
    "tcp_preference",
]

MAX_PRIORITY: Final = 2**31 - 1
HIGHEST_PREFERENCE: Final = 65535

TYPE_PREFERENCES: Final[dict[CandidateType, int]] = {
    CandidateType.HOST: 126,
    CandidateType.PEER_REFLEXIVE: 110,
    CandidateType.SERVER_REFLEXIVE: 100,
    CandidateType.RELAYED: 0,
}
"""The recommended type preferences (RFC 8445 section 5.1.2.2)."""

TCP_TYPE_PREFERENCES: Final[dict[CandidateType, int]] = {
    CandidateType.HOST: 90,
    CandidateType.PEER_REFLEXIVE: 80,
    CandidateType.SERVER_REFLEXIVE: 70,
    CandidateType.RELAYED: 0,
}
"""The same for TCP: under every direct UDP candidate and over every relay, as browsers have it (RFC 6544 section 4.2
leaves the order of the transports to us, and prefers UDP where packets are worth more fresh than complete)."""

HIGHEST_OTHER: Final = 8191
"""The largest "other preference" of a TCP candidate (RFC 6544 section 4.2)."""

_SERVER_REFLEXIVE: Final = CandidateType.SERVER_REFLEXIVE
_PEER_REFLEXIVE: Final = CandidateType.PEER_REFLEXIVE
_TCP: Final = TransportProtocol.TCP

_DIRECTIONS: Final = {TcpType.ACTIVE: 6, TcpType.PASSIVE: 4, TcpType.SIMULTANEOUS_OPEN: 2}
_REFLEXIVE_DIRECTIONS: Final = {TcpType.SIMULTANEOUS_OPEN: 6, TcpType.ACTIVE: 4, TcpType.PASSIVE: 2}


def _type_preferences(protocol: TransportProtocol) -> dict[CandidateType, int]:
    return TCP_TYPE_PREFERENCES if protocol is _TCP else TYPE_PREFERENCES


def candidate_priority(
    type_: CandidateType,
    local_preference: int,
    component: int = 1,
    protocol: TransportProtocol = TransportProtocol.UDP,
) -> int:
    """Return ``2^24 * type + 2^8 * local + (256 - component)`` (section 5.1.2.1)."""
    return (_type_preferences(protocol)[type_] << 24) + (local_preference << 8) + (256 - component)


def tcp_preference(type_: CandidateType, tcp_type: TcpType, other: int) -> int:
    """Return the local preference of a TCP candidate: ``2^13 * direction + other`` (RFC 6544 section 4.2)."""
    is_reflexive = type_ in (_SERVER_REFLEXIVE, _PEER_REFLEXIVE)
    return ((_REFLEXIVE_DIRECTIONS if is_reflexive else _DIRECTIONS)[tcp_type] << 13) + other


def peer_reflexive_priority(priority: int, protocol: TransportProtocol = TransportProtocol.UDP) -> int:
    """Return what a check from a candidate of this priority says in PRIORITY: the same, of type prflx (7.1.1)."""
    return (_type_preferences(protocol)[_PEER_REFLEXIVE] << 24) + (priority & 0xFFFFFF)


def pair_priority(controlling: int, controlled: int) -> int:
    """Return the pair priority from the candidate priorities of the two sides (section 6.1.2.3)."""
    low, high = sorted((controlling, controlled))
    return (low << 32) + 2 * high + (1 if controlling > controlled else 0)


_RELAY_PREFERENCES: Final = {
    TransportProtocol.UDP: HIGHEST_PREFERENCE,
    TransportProtocol.DTLS: 3 * 2**14 - 1,
    TransportProtocol.TCP: 2 * 2**14 - 1,
    TransportProtocol.TLS: 2**14 - 1,
}


def relay_preference(protocol: TransportProtocol) -> int:
    """Return the local preference of a relayed candidate by the transport to its server: datagrams before streams,
    which hold up what follows a loss, and plain before encrypted twice (section 5.1.2.2 leaves the order to us)."""
    return _RELAY_PREFERENCES[protocol]


def local_preferences(addresses: Sequence[TransportAddress]) -> dict[TransportAddress, int]:
    """Give each address a unique local preference, the families interleaved (RFC 8421 section 4).

    Within a family the order given is kept. IPv6 comes first, with a head start of ``(N4 + N6) / N4`` addresses before
    each IPv4 address, so that neither family is left to the end: 2 IPv4 and 6 IPv6 come out as 6666 4 66 4. A single
    address gets 65535 (RFC 8445 section 5.1.2.1).
    """
    ipv6 = [address for address in addresses if address.family == 6]
    ipv4 = [address for address in addresses if address.family == 4]
    head_start = (len(ipv4) + len(ipv6)) // len(ipv4) if ipv4 else len(ipv6)
    ordered: list[TransportAddress] = []
    while ipv4 or ipv6:
        ordered += ipv6[:head_start]
        ipv6 = ipv6[head_start:]
        ordered += ipv4[:1]
        ipv4 = ipv4[1:]
    return {address: HIGHEST_PREFERENCE - index for index, address in enumerate(ordered)}
