"""Our own candidates: bases, foundations, priorities, redundancy (RFC 8445 5.1.1 to 5.1.3, RFC 6544 section 4)."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from ice.candidate import Base, Candidate, CandidateType, NamedAddress, TcpType
from ice.config import IceConfig
from ice.priority import (
    HIGHEST_OTHER,
    HIGHEST_PREFERENCE,
    candidate_priority,
    local_preferences,
    peer_reflexive_priority,
    relay_preference,
    tcp_preference,
)
from ice.relay import ACTIVE_PORT, RelayTarget
from stun.address import TransportAddress, TransportProtocol
from stun.nothing import NO_ENTRIES, NO_ITEMS, NO_MEMBERS

__all__ = ["Foundations", "LocalCandidates", "no_alias"]

_HOST: Final = CandidateType.HOST
_RELAYED: Final = CandidateType.RELAYED

Alias = Callable[[TransportAddress], NamedAddress | None]


class _Foundation(NamedTuple):
    """What candidates of one foundation have in common (RFC 8445 section 5.1.1.3)."""

    type: CandidateType
    host: str
    """Of the base."""
    protocol: TransportProtocol
    tcp_type: TcpType | None
    """The kinds of TCP candidates count as protocols: that an active one gets nowhere says nothing about a simultaneous
    open."""
    server: str


# Sessions at one port have the same bases and host candidates. So they share them, and what is made of them alone.
_foundation = functools.lru_cache(maxsize=256)(_Foundation)
_host_candidate = functools.lru_cache(maxsize=256)(Candidate)
_same_foundations: Callable[[tuple[_Foundation, ...]], tuple[_Foundation, ...]]
_same_foundations = functools.lru_cache(maxsize=256)(tuple)
_same_bases: Callable[[tuple[Base, ...]], tuple[Base, ...]] = functools.lru_cache(maxsize=256)(tuple)
_same_table: Callable[[tuple[tuple[Base, Candidate], ...]], Mapping[Base, Candidate]]
_same_table = functools.lru_cache(maxsize=256)(dict)


class Foundations:
    """What each foundation of ours stands for: the first is "1"."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[_Foundation, ...] = ()

    def text_of(self, foundation: _Foundation) -> str:
        """Return what candidates say of a foundation, which need not be known yet."""
        if foundation not in self._known:
            self._known = _same_foundations((*self._known, foundation))
        return sys.intern(str(self._known.index(foundation) + 1))


def no_alias(address: TransportAddress) -> None:
    """Return None: addresses are told as they are."""


class LocalCandidates:
    """The candidates of one component on our side; ``foundations`` are shared with those of other components."""

    __slots__ = (
        "_alias",
        "_asked",
        "_config",
        "_foundations",
        "_learned",
        "_permissions",
        "_reflexive",
        "_revealed",
        "_types",
        "bases",
        "component",
        "own",
    )

    def __init__(
        self,
        config: IceConfig,
        alias: Alias = no_alias,
        component: int = 1,
        foundations: Foundations | None = None,
    ) -> None:
        self._config = config
        self._alias = alias
        self.component = component
        """The number that candidates of ours carry, and those of the peer have to."""
        self.bases: tuple[Base, ...] = ()
        """The bound sockets, in the order they came."""
        self.own: Mapping[Base, Candidate] = NO_ENTRIES
        """The candidates that are their own base, host and relayed ones: what pairs are formed with (6.1.2.4)."""
        self._permissions: set[tuple[Base, str, int]] = NO_MEMBERS
        """The ports are 0 for all of a host."""
        self._asked: set[tuple[Base, str]] = NO_MEMBERS
        self._reflexive: dict[tuple[Base, TransportAddress], Candidate] = NO_ENTRIES
        self._foundations = Foundations() if foundations is None else foundations
        self._types: dict[Base, TcpType] = NO_ENTRIES
        self._learned = 0
        self._revealed: list[Candidate] = NO_ITEMS

    def add_base(self, base: Base, tcp_type: TcpType | None = None) -> None:
        """Take note of a bound socket, or of an address that TCP connections can be opened from."""
        self.bases = _same_bases((*self.bases, base))
        self._note_type(base, tcp_type)

    def _note_type(self, base: Base, tcp_type: TcpType | None) -> None:
        """Remember what a base is for that has no candidate, yet or any more."""
        if tcp_type is not None:
            self._types = {**self._types, base: tcp_type}

    def tcp_type(self, base: Base) -> TcpType | None:
        """Return what a TCP base is for, or was while it was there."""
        ours = self.own.get(base)
        return ours.tcp_type if ours is not None else self._types.get(base)

    @property
    def hosts(self) -> Mapping[Base, Candidate]:
        """The host candidate of each base, once gathering has begun."""
        return {base: ours for base, ours in self.own.items() if ours.type is _HOST}

    def ask(self, base: Base, host: str) -> None:
        """The server of a relayed base is asked to let a host in."""
        if (base, host, 0) not in self._permissions:
            self._asked = {*self._asked, (base, host)}

    def permit(self, base: Base, host: str, port: int = 0) -> None:
        """The server of a relayed base lets a host in, or one of its ports alone: over a channel."""
        self._permissions = {*self._permissions, (base, host, port)}
        self._answered(base, host)

    def forbid(self, base: Base, host: str, port: int = 0) -> None:
        """The server of a relayed base lets a host in no longer, or one ``port`` of it that a channel led to."""
        gone = [known for known in self._permissions if known[:2] == (base, host) and port in (0, known[2])]
        self._permissions = self._permissions.difference(gone) or NO_MEMBERS
        if not port:
            self._answered(base, host)

    def forget_permissions(self, base: Base) -> None:
        """The server of a relayed base lets nobody in any more, and has nothing more to say."""
        self._permissions = {known for known in self._permissions if known[0] != base} or NO_MEMBERS
        self._asked = {known for known in self._asked if known[0] != base} or NO_MEMBERS

    def _answered(self, base: Base, host: str) -> None:
        self._asked = {known for known in self._asked if known != (base, host)} or NO_MEMBERS

    def has_datagram_base(self, host: str) -> bool:
        """Whether a UDP socket is bound to an address of this host already."""
        return any(base.address.host == host and not base.protocol.is_stream for base in self.bases)

    def make_hosts(self) -> list[Candidate]:
        """Return host candidates for the bases that have none yet.

        The first call ranks all the bases there are; later bases come after them.
        """
        new = [base for base in self.bases if base not in self.own]
        if not new:
            return []
        preferences: dict[Base, int] = {}
        for tcp_type in (None, *TcpType):
            preferences |= self._rank([base for base in new if self._types.get(base) is tcp_type], tcp_type)
        taken = self._priorities()
        made: dict[Base, Candidate] = {}
        for base in new:
            made[base] = self._make(_HOST, base, base.address, preferences[base], taken)
            taken.add(made[base].priority)
        ranked = dict(sorted(made.items(), key=lambda item: -item[1].priority))
        self._set_own({**self.own, **ranked})
        self._types = {base: kind for base, kind in self._types.items() if base not in ranked} or NO_ENTRIES
        return list(ranked.values())

    def _set_own(self, own: Mapping[Base, Candidate]) -> None:
        # Candidates that differ in their aliases alone are equal, so that only those without are the same for all.
        self.own = _same_table(tuple(own.items())) if self._alias is no_alias else own

    def _rank(self, new: list[Base], tcp_type: TcpType | None) -> dict[Base, int]:
        """Return the preferences of new bases of one kind, under those that such bases have already."""
        highest = HIGHEST_PREFERENCE if tcp_type is None else HIGHEST_OTHER
        known = [_preference(ours) for ours in self.own.values() if ours.tcp_type is tcp_type]
        offset = HIGHEST_PREFERENCE + 1 - min(known, default=highest + 1)
        preferences = local_preferences([base.address for base in new])
        return {base: max(preferences[base.address] - offset, 0) for base in new}

    def _priorities(self) -> set[int]:
        return {known.priority for known in (*self.own.values(), *self._reflexive.values())}

    def add_reflexive(self, base: Base, mapped: TransportAddress, server: TransportAddress) -> Candidate | None:
        """Return the server-reflexive candidate for ``mapped``; None when it is redundant (section 5.1.3), or gone."""
        if (ours := self.own.get(base)) is None:
            return None
        known = ours if mapped == ours.address else self._reflexive.get((base, mapped))
        if known is not None:
            return self._reveal(known)
        kind, preference = CandidateType.SERVER_REFLEXIVE, _preference(ours)
        made = self._make(kind, base, mapped, preference, self._priorities(), server=server.host)
        return self._note_reflexive(base, made)

    def _reveal(self, known: Candidate) -> Candidate | None:
        # Mode 3 of RFC 8828: what is public may be told, and where there is no NAT that is the host candidate itself.
        hidden = self._config.tells_hosts or self._config.mdns.hides(known.base.host if known.base else "")
        if hidden or known.type is not _HOST or known in self._revealed:
            return None
        self._revealed = [*self._revealed, known]
        return known

    def add_relayed(
        self, relayed: TransportAddress, mapped: TransportAddress, target: RelayTarget, *, tcp: bool = False
    ) -> list[Candidate]:
        """Return the relayed candidates of an allocation, which are bases by themselves (section 5.1.1.2).

        It is one over UDP, an active and a passive one over TCP (RFC 6544 section 4.1), or none that is not redundant
        (section 5.1.3) and wanted.
        """
        bases: list[tuple[Base, TcpType | None]] = [(Base(relayed), None)]
        preference = relay_preference(target.protocol)
        if tcp:
            active = relayed._replace(port=ACTIVE_PORT)
            ends = ((active, TcpType.ACTIVE), (relayed, TcpType.PASSIVE))
            bases = [(Base(end, TransportProtocol.TCP), kind) for end, kind in ends]
            bases = [(base, kind) for base, kind in bases if kind in self._config.tcp.candidates]
            preference >>= 3  # To be an "other preference".
        made = []
        for base, kind in bases:
            if base in self.own:
                continue
            others, server = self._priorities(), target.server.host
            relay = self._make(_RELAYED, base, base.address, preference, others, kind, server=server, mapped=mapped)
            self._set_own({**self.own, base: relay})
            made.append(relay)
        return made

    def drop_base(self, base: Base) -> None:
        """Forget a base whose address is gone."""
        self._note_type(base, self.tcp_type(base))
        self.bases = _same_bases(tuple(other for other in self.bases if other != base))
        self._set_own({other: ours for other, ours in self.own.items() if other != base})
        for key in [key for key in self._reflexive if key[0] == base]:
            del self._reflexive[key]

    def drop_relayed(self, relayed: Base) -> None:
        """Forget a relayed candidate whose allocation is gone."""
        self._note_type(relayed, self.tcp_type(relayed))
        self._set_own({base: ours for base, ours in self.own.items() if base != relayed})
        self.forget_permissions(relayed)

    def forget_reflexive(self) -> None:
        """Before gathering anew: forget what servers and peers saw us as; NATs may have changed their minds."""
        self._reflexive = NO_ENTRIES
        self._learned = 0

    def is_let_in(self, ours: Candidate, theirs: TransportAddress) -> bool:
        """Whether the relay of one of our relayed candidates lets an address of the peer in; else checks are lost."""
        host = (ours.base_key, theirs.host)
        return (*host, 0) in self._permissions or (*host, theirs.port) in self._permissions

    def awaits_better_relay(self, ours: Candidate, theirs: TransportAddress) -> bool:
        """Whether the server of a better relayed candidate than ``ours`` has yet to say if it lets ``theirs`` in."""
        if not self._asked or ours.type is not _RELAYED:
            return False
        known = [self.own[base] for base, host in self._asked if host == theirs.host and base in self.own]
        return any(own.priority > ours.priority and own.transport == ours.transport for own in known)

    def at(self, base: Base, mapped: TransportAddress, ours: Candidate) -> Candidate:
        """Return our candidate that the peer sees as ``mapped`` when we send from ``base`` (section 7.2.5.3.1).

        An unknown address makes a peer-reflexive candidate; beyond their limit ``ours``, which is the candidate that is
        its own base there, stands in.
        """
        if mapped == ours.address:
            return ours
        known = self._reflexive.get((base, mapped))
        if known is not None:
            return known
        if ours.type is _RELAYED and mapped.host == base.address.host:
            return ours  # The port of a connection that an active relayed candidate has opened.
        if self._learned >= self._config.max_peer_reflexive:
            return ours
        self._learned += 1
        # Section 7.2.5.3.1: the value that the check said in PRIORITY, so that both sides agree on it.
        priority = peer_reflexive_priority(ours.priority, base.protocol)
        made = self._build(CandidateType.PEER_REFLEXIVE, base, mapped, priority, ours.tcp_type)
        return self._note_reflexive(base, made)

    def _note_reflexive(self, base: Base, made: Candidate) -> Candidate:
        if self._reflexive is NO_ENTRIES:
            self._reflexive = {}
        assert isinstance(made.address, TransportAddress)
        self._reflexive[base, made.address] = made
        return made

    def _make(
        self,
        type_: CandidateType,
        base: Base,
        address: TransportAddress,
        preference: int,
        taken: set[int],
        tcp_type: TcpType | None = None,
        *,
        server: str = "",
        mapped: TransportAddress | None = None,
    ) -> Candidate:
        """Return a candidate of ours with a priority that is none of those that are ``taken``."""
        tcp_type = tcp_type or self.tcp_type(base)
        if tcp_type is not None:
            preference = tcp_preference(type_, tcp_type, preference)
        priority = candidate_priority(type_, preference, self.component, base.protocol)
        while priority in taken:  # Section 5.1.2: unique in the stream.
            priority -= 1 << 8
        return self._build(type_, base, address, priority, tcp_type, server, mapped)

    def _build(
        self,
        type_: CandidateType,
        base: Base,
        address: TransportAddress,
        priority: int,
        tcp_type: TcpType | None,
        server: str = "",
        mapped: TransportAddress | None = None,
    ) -> Candidate:
        make = _host_candidate if type_ is _HOST else Candidate
        return make(
            foundation=self._foundation(type_, base, tcp_type, server),
            component=self.component,
            transport=base.protocol.value,
            priority=priority,
            address=address,
            type=type_,
            related_address=self._related(mapped or base.address) if type_ is not _HOST else None,
            tcp_type=tcp_type,
            base=base.address,
            alias=self._alias(address) if type_ is _HOST else None,
        )

    def _related(self, base: TransportAddress) -> TransportAddress:
        # RFC 8839 section 5.1: an application that hides its addresses hides them here too.
        if self._config.shows_addresses:
            return base
        return TransportAddress("::" if base.family == 6 else "0.0.0.0", 9)

    def _foundation(self, type_: CandidateType, base: Base, tcp_type: TcpType | None, server: str) -> str:
        return self._foundations.text_of(_foundation(type_, base.address.host, base.protocol, tcp_type, server))


def _preference(ours: Candidate) -> int:
    """Return the part of a host candidate's priority that tells it from others of its kind (5.1.2, RFC 6544 4.2)."""
    return ours.priority >> 8 & (HIGHEST_PREFERENCE if ours.tcp_type is None else HIGHEST_OTHER)
