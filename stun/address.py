"""Transport addresses and five-tuples: the names that every floor gives to a path."""

from __future__ import annotations

import enum
import functools
import ipaddress
from typing import Final, NamedTuple

__all__ = ["FiveTuple", "TransportAddress", "TransportProtocol", "is_ip_literal"]

_ip = functools.lru_cache(maxsize=1024)(ipaddress.ip_address)  # Few hosts are asked about, again and again.


@functools.lru_cache(maxsize=1024)
def _canonical(host: str) -> str:
    return str(ipaddress.ip_address(host))


@functools.lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    return _ip(host).is_loopback


@functools.lru_cache(maxsize=1024)
def _reach(host: str) -> tuple[bool, bool]:
    return ":" in host, _ip(host).is_loopback


def is_ip_literal(text: str) -> bool:
    """Return whether ``text`` is an IP address, without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class TransportProtocol(enum.StrEnum):
    """What carries the bytes between two transport addresses."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    DTLS = "dtls"

    @property
    def is_stream(self) -> bool:
        """Whether the transport delivers a byte stream rather than datagrams."""
        return self in (_TCP, _TLS)


_TCP: Final = TransportProtocol.TCP
_TLS: Final = TransportProtocol.TLS


class TransportAddress(NamedTuple):
    """An IP literal and a port (RFC 8489 section 3).

    A plain ``("192.0.2.1", 3478)`` compares and hashes equal, so the first two items that a socket reports for a peer
    look up the same dictionary entry without building an object. ``host`` is always a canonical IP literal, never a
    name: build from untrusted text with :meth:`parse`.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, host: str, port: int) -> TransportAddress:
        """Return the address with ``host`` in canonical form.

        Raises:
            ValueError: ``host`` is not an IP literal or ``port`` is not in 0..65535.
        """
        if not 0 <= port <= 65535:
            raise ValueError(f"port {port} is not in 0..65535")
        return cls(_canonical(host), port)

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.host else 4

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The host as an ``ipaddress`` object."""
        return _ip(self.host)

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine as only itself can reach it."""
        return _is_loopback(self.host)

    def is_in_reach_of(self, other: TransportAddress) -> bool:
        """Whether datagrams may pass between the two: they are of one family, and both or none of them loopback."""
        return _reach(self.host) == _reach(other.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.family == 6 else f"{self.host}:{self.port}"


class FiveTuple(NamedTuple):
    """One direction-free path: our address, the peer's address and what runs between them."""

    local: TransportAddress
    remote: TransportAddress
    protocol: TransportProtocol = TransportProtocol.UDP

    def __str__(self) -> str:
        return f"{self.local} <-> {self.remote} ({self.protocol})"
