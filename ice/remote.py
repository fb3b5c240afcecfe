"""The peer's candidates: which are taken, which are dropped and why (RFC 8445 5.3, RFC 8838 sections 11 and 14)."""

from __future__ import annotations

import enum
import functools
import ipaddress
import random
from dataclasses import replace
from typing import Final, Protocol

from ice.candidate import Candidate, CandidateType, NamedAddress, TcpType
from ice.config import IceConfig
from ice.priority import MAX_PRIORITY
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.nothing import NO_ENTRIES

__all__ = ["Rejection", "RemoteCandidates", "unusable"]

_PEER_REFLEXIVE: Final = CandidateType.PEER_REFLEXIVE
_ACTIVE: Final = TcpType.ACTIVE

_BROADCAST: Final = "255.255.255.255"


class Rejection(enum.StrEnum):
    """Why a candidate of the peer was not taken; the keys of the drop counters."""

    TRANSPORT = "remote candidate: a transport that we do not speak"
    COMPONENT = "remote candidate: another component"
    NAME = "remote candidate: a name instead of an address"
    UNRESOLVED = "remote candidate: its name did not resolve"
    AMBIGUOUS = "remote candidate: its name has several addresses"
    PORT = "remote candidate: port 0"
    ADDRESS = "remote candidate: no unicast address that can be reached"
    FAMILY = "remote candidate: no base of ours can reach its kind of address"
    DUPLICATE = "remote candidate: known already"
    LIMIT = "remote candidate: too many"
    GENERATION = "remote candidate: another generation"
    ENDED = "remote candidate: after the end of candidates"
    CONCLUDED = "remote candidate: after a pair was selected"


_NAME: Final = Rejection.NAME


def unusable(address: TransportAddress, config: IceConfig) -> bool:
    """Whether nothing should ever be sent to ``address``.

    Unspecified, multicast and broadcast addresses, IPv4-mapped and link-local IPv6 ones, excluded networks, and
    loopback ones unless the configuration gathers such addresses itself.
    """
    if _is_no_unicast(address.host) or (not config.include_loopback and address.is_loopback):
        return True
    return bool(config.excluded_networks) and _is_excluded(address, config)


@functools.lru_cache(maxsize=1024)
def _is_no_unicast(host: str) -> bool:
    ip = TransportAddress(host, 0).ip
    number = int(ip)
    if ip.version == 4:
        first = number >> 24
        return first == 0 or 224 <= first < 240 or host == _BROADCAST  # This network, multicast.
    first = number >> 112
    # Unspecified, IPv4-mapped, multicast, link-local.
    return number == 0 or number >> 32 == 0xFFFF or first >> 8 == 0xFF or first & 0xFFC0 == 0xFE80


def _is_excluded(address: TransportAddress, config: IceConfig) -> bool:
    return any(address.ip in ipaddress.ip_network(network) for network in config.excluded_networks)


class _Names(Protocol):
    def veil(self, address: TransportAddress) -> NamedAddress | None: ...


class RemoteCandidates:
    """The candidates of one generation of the peer, signalled and learned."""

    __slots__ = (
        "_component",
        "_config",
        "_known",
        "_learned",
        "_rng",
        "_signalled",
        "ended",
        "names",
        "rejected",
        "ufrag",
    )

    def __init__(self, config: IceConfig, rng: random.Random, component: int = 1) -> None:
        self._config = config
        self._component = component
        self._rng = rng
        self._known: tuple[Candidate, ...] = ()
        self._signalled = 0
        self._learned = 0
        self.ended = False
        """Whether the peer has said that no more come."""
        self.ufrag: str | None = None
        """The generation that candidates must belong to, once known."""
        self.rejected: dict[Rejection, int] = NO_ENTRIES
        """How many were dropped, by reason."""
        self.names: _Names | None = None
        """They know what is shown for an address that checks come from, where the peer hides its addresses."""

    def __len__(self) -> int:
        return len(self._known)

    def all(self) -> list[Candidate]:
        """Return the candidates in the order they became known."""
        return list(self._known)

    def at(
        self, address: TransportAddress | NamedAddress, protocol: TransportProtocol = TransportProtocol.UDP
    ) -> Candidate | None:
        """Return the candidate with this address, or None."""
        for known in self._known:  # They are few: no dictionary is worth its room.
            if known.address == address and known.transport == protocol:
                return known
        return None

    def has_signalled(self, host: str) -> bool:
        """Whether the peer has told a candidate on this host, of whatever port."""
        return any(known.address.host == host and known.type is not _PEER_REFLEXIVE for known in self._known)

    def reject(self, reason: Rejection) -> None:
        """Count a candidate that is not taken."""
        if self.rejected is NO_ENTRIES:
            self.rejected = {}
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def lacks_only_an_address(self, candidate: Candidate) -> bool:
        """Whether a name is all that keeps a candidate from being taken."""
        is_name = not isinstance(candidate.address, TransportAddress)
        return is_name and self._judge(candidate)[0] is _NAME

    def add(self, candidate: Candidate) -> tuple[Candidate, Candidate | None] | None:
        """Take a signalled candidate; None when it is dropped (and counted).

        Otherwise the candidate as taken, and the peer-reflexive one whose place it takes, if there was one
        (RFC 8838 section 11): the caller then lets it replace that one in its pairs.
        """
        reason, known = self._judge(candidate)
        if reason is not None:
            self.reject(reason)
            return None
        if candidate.priority > MAX_PRIORITY:
            # RFC 8445 section 5.1.2 ends at 2**31-1, but the text format carries more; a peer gains nothing by it.
            candidate = replace(candidate, priority=MAX_PRIORITY)
        self._signalled += 1
        if known is None:
            self._known += (candidate,)
        else:
            self._learned -= 1
            self._known = tuple(candidate if other is known else other for other in self._known)
        return candidate, known

    def _judge(self, candidate: Candidate) -> tuple[Rejection | None, Candidate | None]:
        """Return the reason against a signalled candidate, if there is one, and whose place it takes otherwise."""
        reason = self._reason_against(candidate)
        if reason is not None:
            return reason, None
        address = candidate.address
        if not isinstance(address, TransportAddress):
            return _NAME, None
        if address.port == 0 and candidate.tcp_type is not _ACTIVE:
            return Rejection.PORT, None
        if self._signalled >= self._config.max_remote_candidates:
            return Rejection.LIMIT, None  # Also of those that are known: a flood is not worth looking for each of them.
        known = self.at(address, candidate.protocol)
        if known is not None and known.type is not _PEER_REFLEXIVE:
            return Rejection.DUPLICATE, None
        return (Rejection.ADDRESS if unusable(address, self._config) else None), known

    def _reason_against(self, candidate: Candidate) -> Rejection | None:
        """Return what there is against it whatever its address is."""
        if self.ended and candidate.alias is None:  # A name may resolve later than the end comes.
            return Rejection.ENDED
        ufrag = candidate.ufrag
        if ufrag is not None and self.ufrag is not None and ufrag != self.ufrag:
            return Rejection.GENERATION
        if candidate.transport != "udp" and not self._is_our_tcp(candidate):
            return Rejection.TRANSPORT
        if candidate.component != self._component:
            return Rejection.COMPONENT
        return None

    def _is_our_tcp(self, candidate: Candidate) -> bool:
        return candidate.transport == "tcp" and bool(self._config.tcp.candidates) and candidate.tcp_type is not None

    def learn(self, path: FiveTuple, priority: int, tcp_type: TcpType | None = None) -> Candidate | None:
        """Return the candidate that a check on ``path`` came from: a new peer-reflexive one if unknown (7.3.1.3).

        None when too many have been learned. ``tcp_type`` is what the source of a TCP connection must be.
        """
        known = self.at(path.remote, path.protocol)
        if known is not None:
            return known
        if _is_excluded(path.remote, self._config):
            self.reject(Rejection.ADDRESS)
            return None
        if self._learned >= self._config.max_peer_reflexive:
            self.reject(Rejection.LIMIT)
            return None
        self._learned += 1
        candidate = Candidate(
            foundation=f"prflx{self._rng.getrandbits(64):016x}",
            component=self._component,
            transport=path.protocol.value,
            priority=min(max(priority, 1), MAX_PRIORITY),
            address=path.remote,
            type=_PEER_REFLEXIVE,
            tcp_type=tcp_type,
            alias=None if self.names is None else self.names.veil(path.remote),
        )
        self._known += (candidate,)
        return candidate
