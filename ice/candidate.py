"""Candidates and their text (RFC 8445 section 5.1, RFC 8839 section 5.1)."""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ice.errors import CandidateError
from stun.address import FiveTuple, TransportAddress, TransportProtocol

__all__ = ["Base", "Candidate", "CandidateType", "NamedAddress", "TcpType", "own_base"]

_UDP: Final = TransportProtocol.UDP
_TCP: Final = TransportProtocol.TCP

_FOUNDATION: Final = re.compile(r"[!-~]{1,32}\Z")
_HOST_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}\Z")
_MAX_TEXT: Final = 4096


class CandidateType(enum.StrEnum):
    """Where a candidate comes from; the values are the words of RFC 8839."""

    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAYED = "relay"


class TcpType(enum.StrEnum):
    """Which side of a TCP candidate opens the connection (RFC 6544 section 4.5)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    SIMULTANEOUS_OPEN = "so"


class NamedAddress(NamedTuple):
    """A candidate's address given as a name: mDNS ones are resolved (:mod:`ice.mdns`), others are kept as text."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Base(NamedTuple):
    """What a candidate of ours sends from: an address and the transport there (RFC 8445 section 5.1.1).

    A UDP and a TCP base may have one address. An active TCP base has port 9, as its candidate (RFC 6544 section 4.5):
    each of its connections gets a port of its own.
    """

    address: TransportAddress
    protocol: TransportProtocol = TransportProtocol.UDP

    @classmethod
    def of(cls, path: FiveTuple) -> Base:
        """Return the base that a path begins at."""
        # What the class does when it is called, without a function of Python's in between: every message asks.
        return tuple.__new__(cls, (path.local, path.protocol))

    def __str__(self) -> str:
        return f"{self.address} ({self.protocol})"


own_base = functools.lru_cache(maxsize=256)(Base)  # Sessions at one port have the same bases.

# The candidates of one generation say the same of it.
_Extensions = tuple[tuple[str, str], ...]
_same_extensions: Callable[[_Extensions], _Extensions] = functools.lru_cache(maxsize=256)(tuple)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One transport address that a side can perhaps be reached at.

    Equality is that of the text: ``base`` is our own knowledge and does not count.
    """

    foundation: str
    """Equal for candidates of the same type, base host, protocol and server (RFC 8445 section 5.1.1.3)."""
    component: int
    """1..256; 1 for everything that multiplexes its RTCP or has none."""
    transport: str
    """``"udp"`` or ``"tcp"``, in lower case; other words are kept."""
    priority: int
    """1..2**31-1 (RFC 8445 section 5.1.2)."""
    address: TransportAddress | NamedAddress
    """Where the peer sends to."""
    type: CandidateType
    """Where the candidate comes from."""
    related_address: TransportAddress | NamedAddress | None = None
    """For diagnostics: the base, or the mapped address of a relayed candidate; None for host candidates."""
    tcp_type: TcpType | None = None
    """Set for TCP candidates only."""
    extensions: tuple[tuple[str, str], ...] = ()
    """Extension names and values that we do not interpret, in their order (``generation``, ``ufrag``, ...)."""
    base: TransportAddress | None = field(default=None, compare=False, repr=False)
    """For our own candidates: the address that we send from (RFC 8445 section 5.1.1); None for the peer's."""
    alias: NamedAddress | None = field(default=None, compare=False)
    """The mDNS name that is shown instead of ``address``, which is to be used and not to be seen (:mod:`ice.mdns`)."""

    @property
    def shown_address(self) -> TransportAddress | NamedAddress:
        """What people and the other side may see of the address: the name where it has one."""
        return self.alias or self.address

    def told(self, ufrag: str) -> Candidate:
        """Return what may leave this side, in the generation ``ufrag``: of what has a name, nothing but the name."""
        return Candidate(  # Rather than dataclasses.replace, which takes several times as long.
            foundation=self.foundation,
            component=self.component,
            transport=self.transport,
            priority=self.priority,
            address=self.shown_address,
            type=self.type,
            related_address=self.related_address,
            tcp_type=self.tcp_type,
            extensions=_same_extensions((*self.extensions, ("ufrag", ufrag))),
            base=self.base,
        )

    @property
    def protocol(self) -> TransportProtocol:
        """What runs between this candidate and one of the other side."""
        return _TCP if self.transport == "tcp" else _UDP

    @property
    def base_key(self) -> Base | None:
        """What our own candidate is sent from, transport included; None for the peer's."""
        return None if self.base is None else Base(self.base, self.protocol)

    @property
    def ufrag(self) -> str | None:
        """The generation that a trickled candidate names with a ``ufrag`` extension, if it does."""
        for name, value in self.extensions:
            if name == "ufrag":
                return value
        return None

    def to_sdp(self) -> str:
        """Return the RFC 8839 text, starting with ``candidate:``, as browsers carry it."""
        parts = [
            f"candidate:{self.foundation} {self.component} {self.transport} {self.priority}"
            f" {_unscoped(self.shown_address.host)} {self.shown_address.port} typ {self.type.value}"
        ]
        if self.related_address is not None:
            parts.append(f"raddr {_unscoped(self.related_address.host)} rport {self.related_address.port}")
        if self.tcp_type is not None:
            parts.append(f"tcptype {self.tcp_type.value}")
        parts += [f"{name} {value}" for name, value in self.extensions]
        return " ".join(parts)

    def __repr__(self) -> str:  # an address that has a name stays out of logs
        return f"<{self.to_sdp()}>"

    @classmethod
    def from_sdp(cls, text: str) -> Candidate:
        """Return the candidate that a line says, with or without ``a=`` and ``candidate:`` before it.

        Unknown extensions are kept, names instead of addresses too (RFC 8839 has them ignored later: they are not
        pairable).

        Raises:
            CandidateError: the text does not follow the grammar.
        """
        if len(text) > _MAX_TEXT:
            raise CandidateError(f"candidate text of {len(text)} characters")
        words = text.strip().removeprefix("a=").removeprefix("candidate:").split()
        if len(words) < 8 or words[6].lower() != "typ":
            raise CandidateError(f"not a candidate: {text[:100]!r}")
        if not _FOUNDATION.match(words[0]):
            raise CandidateError(f"bad foundation: {words[0][:40]!r}")
        extensions = list(zip(words[8::2], words[9::2], strict=False))
        special = {name.lower(): value for name, value in extensions}
        return cls(
            foundation=words[0],
            component=_integer(words[1], 1, 256, "component"),
            transport=words[2].lower(),
            priority=_integer(words[3], 1, 2**32 - 1, "priority"),
            address=_address(words[4], words[5]),
            type=_type(words[7]),
            related_address=_related(special),
            tcp_type=_tcp_type(special.get("tcptype")),
            extensions=_same_extensions(
                tuple(pair for pair in extensions if pair[0].lower() not in ("raddr", "rport", "tcptype"))
            ),
        )


def _unscoped(host: str) -> str:
    # A zone such as fe80::1%eth0 means nothing to another machine.
    return host.partition("%")[0]


def _integer(word: str, low: int, high: int, what: str) -> int:
    if not (word.isascii() and word.isdigit()) or len(word) > 10 or not low <= int(word) <= high:
        raise CandidateError(f"bad {what}: {word[:40]!r}")
    return int(word)


def _type(word: str) -> CandidateType:
    try:
        return CandidateType(word.lower())
    except ValueError:
        raise CandidateError(f"unknown candidate type: {word[:40]!r}") from None


def _tcp_type(word: str | None) -> TcpType | None:
    try:
        return None if word is None else TcpType(word.lower())
    except ValueError:
        return None


def _address(host: str, port_word: str) -> TransportAddress | NamedAddress:
    port = _integer(port_word, 0, 65535, "port")
    try:
        return TransportAddress.parse(host, port)
    except ValueError:
        if not _HOST_NAME.match(host):
            raise CandidateError(f"bad connection address: {host[:60]!r}") from None
        return NamedAddress(host.lower(), port)


def _related(special: dict[str, str]) -> TransportAddress | NamedAddress | None:
    # Only diagnostics: a malformed related address is no reason to lose the candidate.
    try:
        return _address(special["raddr"], special["rport"])
    except (KeyError, CandidateError):
        return None
