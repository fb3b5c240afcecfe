"""Which pair two lite agents use, without checks: the rules of RFC 6724 as far as both sides see them alike."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from ice.pair import CandidatePair
from stun.address import TransportAddress

__all__ = ["best_unchecked"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_POLICY: Final = [
    # RFC 6724 section 2.1: prefix, precedence, label.
    (ipaddress.IPv6Network("::1/128"), 50, 0),
    (ipaddress.IPv6Network("::ffff:0:0/96"), 35, 4),
    (ipaddress.IPv6Network("2002::/16"), 30, 2),
    (ipaddress.IPv6Network("2001::/32"), 5, 5),
    (ipaddress.IPv6Network("fc00::/7"), 3, 13),
    (ipaddress.IPv6Network("::/0"), 40, 1),
]

_LINK_LOCAL, _GLOBAL = 2, 14


def best_unchecked(pairs: Iterable[CandidatePair]) -> CandidatePair | None:
    """Return the pair that both sides choose if they know the same pairs, or None without one (RFC 8445 section 8.2).

    RFC 6724 section 6 ranks the destinations of one side. A pair has two ends, and either side sends: so the rules
    that compare a source with its destination count (2 scope, 5 label, 9 common prefix), and those about the
    destination alone for the lesser of both ends (6 precedence, 8 smaller scope). Private IPv4 addresses are of global
    scope, as section 3.2 there has it, but of a label of their own: what is behind a NAT does not meet what is not.
    The pair's priority decides the rest, and it is equal on both sides.
    """
    return max(pairs, key=_rank, default=None)


def _rank(pair: CandidatePair) -> tuple[bool, bool, int, int, int, int]:
    ours, theirs = pair.local.address, pair.remote.address
    assert isinstance(ours, TransportAddress)
    assert isinstance(theirs, TransportAddress)
    one, other = ours.ip, theirs.ip
    scopes, labels = (_scope(one), _scope(other)), (_label(one), _label(other))
    return (
        scopes[0] == scopes[1],
        labels[0] == labels[1],
        min(_policy(one)[0], _policy(other)[0]),
        -max(scopes),
        _common_prefix(one, other),
        pair.priority,
    )


def _scope(ip: IpAddress) -> int:
    return _LINK_LOCAL if ip.is_link_local or ip.is_loopback else _GLOBAL


def _policy(ip: IpAddress) -> tuple[int, int]:
    mapped = ip if ip.version == 6 else ipaddress.IPv6Address(f"::ffff:{ip}")
    return next((precedence, label) for network, precedence, label in _POLICY if mapped in network)


def _label(ip: IpAddress) -> tuple[int, bool]:
    return _policy(ip)[1], ip.version == 4 and ip.is_private


def _common_prefix(one: IpAddress, other: IpAddress) -> int:
    # RFC 6724 rule 9: no more bits of an IPv6 address than a subnet's prefix; IPv4 prefixes say little, and are left.
    if one.version == 4:
        return 0
    return min(64, 128 - (int(one) ^ int(other)).bit_length())
