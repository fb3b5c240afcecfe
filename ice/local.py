"""Our own candidates: bases, foundations, priorities, redundancy (RFC 8445 5.1.1 to 5.1.3, RFC 6544 section 4)."""

from __future__ import annotations

from collections.abc import Callable

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

__all__ = ["LocalCandidates"]

Alias = Callable[[TransportAddress], NamedAddress | None]


class LocalCandidates:
    """The candidates of one component on our side; ``foundations`` are shared with those of other components."""

    __slots__ = (
        "_alias",
        "_by_address",
        "_config",
        "_foundations",
        "_learned",
        "_preferences",
        "_priorities",
        "_revealed",
        "bases",
        "component",
        "hosts",
        "own",
        "permissions",
        "tcp_types",
    )

    def __init__(
        self,
        config: IceConfig,
        alias: Alias = lambda address: None,
        component: int = 1,
        foundations: dict[tuple[object, ...], str] | None = None,
    ) -> None:
        self._config = config
        self._alias = alias
        self.component = component
        """The number that candidates of ours carry, and those of the peer have to."""
        self.bases: list[Base] = []
        """The bound sockets, in the order they came."""
        self.hosts: dict[Base, Candidate] = {}
        """The host candidate of each base, once gathering has begun."""
        self.tcp_types: dict[Base, TcpType] = {}
        """What each TCP base is for."""
        self.own: dict[Base, Candidate] = {}
        """The candidates that are their own base, host and relayed ones: what pairs are formed with (6.1.2.4)."""
        self.permissions: set[tuple[Base, str]] = set()
        """Relayed bases, and the hosts that their servers let in."""
        self._by_address: dict[tuple[Base, TransportAddress], Candidate] = {}
        self._foundations = {} if foundations is None else foundations
        self._preferences: dict[Base, int] = {}
        self._priorities: set[int] = set()
        self._learned = 0
        self._revealed: list[Candidate] = []

    def add_base(self, base: Base, tcp_type: TcpType | None = None) -> None:
        """Take note of a bound socket, or of an address that TCP connections can be opened from."""
        self.bases.append(base)
        if tcp_type is not None:
            self.tcp_types[base] = tcp_type

    def has_datagram_base(self, host: str) -> bool:
        """Whether a UDP socket is bound to an address of this host already."""
        return any(base.address.host == host and not base.protocol.is_stream for base in self.bases)

    def make_hosts(self) -> list[Candidate]:
        """Return host candidates for the bases that have none yet.

        The first call ranks all the bases there are; later bases come after them.
        """
        new = [base for base in self.bases if base not in self.hosts]
        for tcp_type in (None, *TcpType):
            self._rank([base for base in new if self.tcp_types.get(base) is tcp_type], tcp_type)
        made = {base: self._make(CandidateType.HOST, base, base.address) for base in new}
        ranked = dict(sorted(made.items(), key=lambda item: -item[1].priority))
        self.hosts.update(ranked)
        self.own.update(ranked)
        return list(ranked.values())

    def _rank(self, new: list[Base], tcp_type: TcpType | None) -> None:
        """Give new bases of one kind their preferences, under those that such bases have already."""
        highest = HIGHEST_PREFERENCE if tcp_type is None else HIGHEST_OTHER
        known = [value for base, value in self._preferences.items() if self.tcp_types.get(base) is tcp_type]
        offset = HIGHEST_PREFERENCE + 1 - min(known, default=highest + 1)
        preferences = local_preferences([base.address for base in new])
        for base in new:
            self._preferences[base] = max(preferences[base.address] - offset, 0)

    def add_reflexive(self, base: Base, mapped: TransportAddress, server: TransportAddress) -> Candidate | None:
        """Return the server-reflexive candidate for ``mapped``; None when it is redundant (section 5.1.3)."""
        known = self._by_address.get((base, mapped))
        if known is not None:
            return self._reveal(known)
        return self._make(CandidateType.SERVER_REFLEXIVE, base, mapped, server.host)

    def _reveal(self, known: Candidate) -> Candidate | None:
        # Mode 3 of RFC 8828: what is public may be told, and where there is no NAT that is the host candidate itself.
        hidden = self._config.tells_hosts or self._config.mdns.hides(known.base.host if known.base else "")
        if hidden or known.type is not CandidateType.HOST or known in self._revealed:
            return None
        self._revealed.append(known)
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
            if kind is not None:
                self.tcp_types[base] = kind
            self._preferences[base] = preference
            self.own[base] = self._make(CandidateType.RELAYED, base, base.address, target.server.host, mapped)
            made.append(self.own[base])
        return made

    def drop_base(self, base: Base) -> None:
        """Forget a base whose address is gone."""
        self.bases.remove(base)
        self.hosts.pop(base, None)
        self.own.pop(base, None)
        for key in [key for key in self._by_address if key[0] == base]:
            self._priorities.discard(self._by_address.pop(key).priority)

    def drop_relayed(self, relayed: Base) -> None:
        """Forget a relayed candidate whose allocation is gone."""
        self.own.pop(relayed, None)
        self.permissions = {known for known in self.permissions if known[0] != relayed}

    def forget_reflexive(self) -> None:
        """Before gathering anew: forget what servers and peers saw us as; NATs may have changed their minds."""
        reflexive = (CandidateType.SERVER_REFLEXIVE, CandidateType.PEER_REFLEXIVE)
        for key, candidate in list(self._by_address.items()):
            if candidate.type in reflexive:
                del self._by_address[key]
                self._priorities.discard(candidate.priority)
        self._learned = 0

    def can_reach(self, ours: Candidate, theirs: TransportAddress) -> bool:
        """Whether a check may go from one of our bases to an address of the peer: a relay has to let it in first."""
        return ours.type is not CandidateType.RELAYED or (ours.base_key, theirs.host) in self.permissions

    def at(self, base: Base, mapped: TransportAddress) -> Candidate:
        """Return our candidate that the peer sees as ``mapped`` when we send from ``base`` (section 7.2.5.3.1).

        An unknown address makes a peer-reflexive candidate; beyond their limit the base's own candidate stands in.
        """
        known = self._by_address.get((base, mapped))
        if known is not None:
            return known
        host = self.own[base]
        if host.type is CandidateType.RELAYED and mapped.host == base.address.host:
            return host  # The port of a connection that an active relayed candidate has opened.
        if self._learned >= self._config.max_peer_reflexive:
            return host
        self._learned += 1
        return self._make(CandidateType.PEER_REFLEXIVE, base, mapped)

    def _make(
        self,
        type_: CandidateType,
        base: Base,
        address: TransportAddress,
        server: str = "",
        mapped: TransportAddress | None = None,
    ) -> Candidate:
        tcp_type = self.tcp_types.get(base)
        if type_ is CandidateType.PEER_REFLEXIVE:
            # Section 7.2.5.3.1: the value that the check said in PRIORITY, so that both sides agree on it.
            priority = peer_reflexive_priority(self.own[base].priority, base.protocol)
        else:
            preference = self._preferences[base]
            if tcp_type is not None:
                preference = tcp_preference(type_, tcp_type, preference)
            priority = candidate_priority(type_, preference, self.component, base.protocol)
            while priority in self._priorities:  # Section 5.1.2: unique in the stream.
                priority -= 1 << 8
            self._priorities.add(priority)
        candidate = Candidate(
            foundation=self._foundation(type_, base, server),
            component=self.component,
            transport=base.protocol.value,
            priority=priority,
            address=address,
            type=type_,
            related_address=self._related(mapped or base.address) if type_ is not CandidateType.HOST else None,
            tcp_type=tcp_type,
            base=base.address,
            alias=self._alias(address) if type_ is CandidateType.HOST else None,
        )
        self._by_address[base, address] = candidate
        return candidate

    def _related(self, base: TransportAddress) -> TransportAddress:
        # RFC 8839 section 5.1: an application that hides its addresses hides them here too.
        if self._config.shows_addresses:
            return base
        return TransportAddress("::" if base.family == 6 else "0.0.0.0", 9)

    def _foundation(self, type_: CandidateType, base: Base, server: str) -> str:
        # Section 5.1.1.3: equal type, base host, protocol and server. The kinds of TCP candidates count as protocols:
        # that an active one gets nowhere says nothing about a simultaneous open.
        key = (type_, base.address.host, base.protocol, self.tcp_types.get(base), server)
        return self._foundations.setdefault(key, str(len(self._foundations) + 1))
