"""Everything that can be tuned about an ICE session; frozen, so that a running session cannot be bent."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

from ice.exposure import ExposureMode, PortRange
from ice.life_config import FailoverConfig, RoamingConfig, UpgradeConfig
from ice.lite_config import LiteConfig
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.portmap.config import PortmapConfig
from ice.tcp_config import TcpConfig
from stun.network import Interface
from turn.config import TurnServerConfig

__all__ = ["IceConfig", "IceTransportPolicy"]

_PROXY: Final = ExposureMode.PROXY


class IceTransportPolicy(enum.StrEnum):
    """Which candidates a session may use (the W3C's RTCIceTransportPolicy, RFC 8828 section 5)."""

    ALL = "all"
    """All of them, the direct ones first."""
    RELAY = "relay"
    """Relayed ones only: nothing but TURN servers is sent to, and the peer sees none of our addresses."""


_RELAY: Final = IceTransportPolicy.RELAY


@dataclass(frozen=True, kw_only=True, slots=True)
class IceConfig:
    """The settings of one ICE session. Times are in seconds, sizes in items unless a field says otherwise."""

    stun_servers: Sequence[str] = ()
    """Servers asked for server-reflexive candidates: ``stun:host[:port]`` URIs (RFC 7064) or ``host:port``, port 3478
    by default. All of them are asked at the same time (RFC 8445 section 5.1.1.2)."""
    turn_servers: Sequence[TurnServerConfig] = ()
    """Servers asked for relayed candidates, over whatever their URLs say, all at the same time and beside the STUN
    servers (RFC 8445 section 5.1.1.2)."""
    transport_policy: IceTransportPolicy = IceTransportPolicy.ALL
    """Which candidates may be used; RELAY needs ``turn_servers``."""
    max_relays: int = 16
    """The most allocations asked for; a server that has addresses of both families counts twice."""
    relay_grace: float = 3.0
    """Seconds after a pair was selected before the allocations that it does not need are given back (RFC 8445 section
    8.3.1 waits three seconds before candidates are freed)."""

    include_loopback: bool = False
    """Whether loopback addresses become host candidates; only for tests on one machine (RFC 8445 section 5.1.1.1
    forbids them)."""
    include_ipv4: bool = True
    """Whether IPv4 addresses become host candidates."""
    include_ipv6: bool = True
    """Whether IPv6 addresses become host candidates."""
    interfaces: Sequence[str] | None = None
    """The names of the only interfaces to use, or None for all of them (RFC 8828 lets an application choose). A name
    may be a pattern such as ``"eth*"``."""
    excluded_interfaces: Sequence[str] = ()
    """Names, or patterns of names, of interfaces never to use."""
    unreliable_interfaces: Sequence[str] = ()
    """Names, or patterns of names, of interfaces whose addresses come after all others of their family (RFC 8421
    section 5)."""
    interface_filter: Callable[[Interface], bool] | None = None
    """Whether one address of one interface is used, where names and networks do not say it; called for each of them."""
    excluded_networks: Sequence[str] = ()
    """Networks such as ``"172.17.0.0/16"`` whose addresses are neither gathered nor checked."""
    announce_host_candidates: bool = True
    """Whether host candidates are told to the peer (RFC 8828 modes 3 and 4 hide them); they are still bases."""
    exposure: ExposureMode = ExposureMode.ALL_INTERFACES
    """Which addresses are used and shown (RFC 8828 section 5.2)."""
    prefer_temporary: bool = True
    """Whether a temporary IPv6 address takes the place of the stable one of its interface and prefix (RFC 8445 section
    5.1.1.1)."""
    port_range: tuple[int, int] | None = None
    """The first and the last port that host candidates, of UDP and TCP, may be bound to; None for any."""
    max_local_bases: int = 32
    """The most addresses that sockets may be bound to for one session."""

    tcp: TcpConfig = field(default_factory=TcpConfig)
    """Candidates over TCP (RFC 6544)."""
    mdns: MdnsConfig = field(default_factory=MdnsConfig)
    """Names instead of addresses in candidates: resolving the peer's, publishing ours."""
    portmap: PortmapConfig = field(default_factory=PortmapConfig)
    """Having the router map our ports (PCP, NAT-PMP, UPnP); off by default."""
    lite: LiteConfig = field(default_factory=LiteConfig)
    """Whether this side answers checks and sends none (RFC 8445 section 2.5)."""

    ta: float = 0.05
    """The pace of new transactions (RFC 8445 section 14.2, default 50 ms)."""
    max_ta: float = 1.0
    """The slowest pace that a peer can impose, in seconds, by what its description proposes (section 14.2)."""
    triggered_ta: float = 0.005
    """The pace of triggered checks, each of which answers an authenticated check of the peer (deviation; 5 ms is the
    least that RFC 8445 section 14.2 allows between any two transactions)."""
    rto: float = 0.5
    """The least initial retransmission timeout (RFC 8445 section 14.3: never under 500 ms)."""
    max_sends: int = 7
    """How often a request is sent in all, Rc (RFC 8489 section 6.2.1)."""
    final_wait: int = 16
    """How many initial timeouts the last send is given before the transaction fails, Rm (RFC 8489 section 6.2.1)."""

    nomination_patience: float = 0.2
    """How long, from the first valid pair on, the controlling side waits for pairs of a higher priority that are
    still being checked, or for a better relay that has yet to let the peer in (RFC 8445 section 8.1.1 leaves the
    criterion to us)."""
    answer_patience: float = 0.1
    """How long, of that, one better pair is waited for after its check went out, or twice the round trip of the best
    valid pair if that is longer."""
    relay_patience: float = 0.5
    """As ``nomination_patience``, where the best valid pair is relayed and others without a relay may still succeed:
    a move off the relay later takes more, and some peers an ICE restart."""
    pac_timeout: float = 39.5
    """How long a session may not be declared failed (RFC 8863 section 4: a check with all its retransmissions)."""
    checking_timeout: float = 60.0
    """After this the checks are given up whatever is still open: a peer that never says that its candidates are
    complete, or a crowd of dead pairs whose timeouts RFC 8445 section 14.3 stretches. Not under ``pac_timeout``."""

    restart_timeout: float = 15.0
    """How long a session whose path is lost waits for the peer's answer to an ICE restart before it fails."""

    consent_interval: float = 5.0
    """The mean time between consent checks, varied by 0.8..1.2 (RFC 7675 section 5.1)."""
    consent_tick: float = 0.1
    """Consent checks are due at multiples of it, so that all sessions of a process ask at the same instants and wake it
    once for many; the times stay random, and within those limits. Answers to what is asked together wait for each
    other, which lengthens round trips by some 0.1 ms for each session that asks: with ten thousand of them less may be
    wanted. 0 is none of it."""
    consent_timeout: float = 30.0
    """How long after the last answer the consent to send ends (RFC 7675 section 5.1)."""
    disconnected_after: float = 10.0
    """How long without an answer before the state is DISCONNECTED; it may come back until consent ends."""
    keepalive_interval: float = 15.0
    """How often a server-reflexive binding is refreshed while ICE runs, Tr (RFC 8445 section 11: not under 15 s)."""

    upgrade: UpgradeConfig = field(default_factory=UpgradeConfig)
    """How a session that has a path looks for a better one."""
    failover: FailoverConfig = field(default_factory=FailoverConfig)
    """How a session notices early that its path is dead."""

    roaming: RoamingConfig = field(default_factory=RoamingConfig)
    """How a session follows the addresses of its machine."""

    gathering_timeout: float = 5.0
    """After this, gathering is complete without the servers that have not answered."""
    gathering_grace: float = 0.5
    """How long the other servers get once one server has answered on the same base. Over TCP a server gets
    ``gathering_timeout`` in any case, and is waited for so long only by those who want to."""

    max_pairs: int = 100
    """The most candidate pairs in the checklist (RFC 8445 section 6.1.2.5)."""
    max_remote_candidates: int = 200
    """The most candidates taken from the peer's signalling."""
    max_peer_reflexive: int = 32
    """The most peer-reflexive candidates learned from checks, on each side."""
    max_amplification: float = 3.0
    """How many times the bytes of its checks go to an address that only their source names, until it has answered (RFC
    9000 section 8.1 has the figure)."""
    max_early_checks: int = 32
    """The most checks remembered that came before the peer's description."""
    max_early_candidates: int = 200
    """The most candidates remembered that name a generation of which no description has come (RFC 8838 section 18)."""
    max_generations: int = 4
    """Our descriptions whose checks are answered at once, those of ICE restarts included (RFC 8445 section 9); three at
    least: the one in use, the last and the one before that. ``MuxConfig.max_ufrags`` has to let them through."""
    max_past_generations: int = 16
    """How many of the peer's earlier generations are known by name, so that late news of them are not taken for new."""
    own_socket_after: int = 32
    """After so many datagrams sent on a path its peer gets a connected socket of its own, where the system can do that:
    faster, for one more open file."""
    max_queued_datagrams: int = 1024
    """The most received datagrams that wait for the application; when there are more, the oldest are dropped and
    counted."""

    ufrag_length: int = 8
    """Characters of the local user name fragment, 6 bits each (RFC 8839 section 5.4: 4..32)."""
    pwd_length: int = 24
    """Characters of the local password, 6 bits each (RFC 8839 section 5.4: 22..256)."""

    def __post_init__(self) -> None:
        for network in self.excluded_networks:
            ipaddress.ip_network(network)  # Raises ValueError now rather than when a candidate comes.
        if self.port_range is not None:
            PortRange(*self.port_range).check()
        if self.relays_only and not self.turn_servers:
            raise ValueError("relayed candidates only, and no TURN server to have them from")
        if self.lite.enabled and (self.relays_only or self.turn_servers or self.stun_servers or self.portmap.enabled):
            raise ValueError("a lite agent has host candidates only, and asks nobody (RFC 8445 section 5.2)")
        if self.ta < 0.005 or self.triggered_ta < 0.005:
            raise ValueError("ta and triggered_ta must not be under 5 ms (RFC 8445 section 14.2)")
        if self.max_ta < self.ta:
            raise ValueError("max_ta must not be under ta")
        if self.rto < 0.5:
            raise ValueError("rto must not be under 500 ms (RFC 8445 section 14.3)")
        if self.max_sends < 1 or self.final_wait < 1:
            raise ValueError("max_sends and final_wait must be positive")
        if self.checking_timeout < self.pac_timeout:
            raise ValueError("checking_timeout must not be under pac_timeout (RFC 8863 section 4)")
        if self.consent_interval * 0.8 < 4.0 - 1e-9:
            raise ValueError("consent checks must not come faster than every 4 s (RFC 7675 section 5.1)")
        if not 0.0 <= self.consent_tick <= 0.2 * self.consent_interval:
            raise ValueError("consent_tick must be between 0 and a fifth of consent_interval, whose times are random")
        if not 0.0 < self.disconnected_after <= self.consent_timeout:
            raise ValueError("disconnected_after must be between 0 and consent_timeout")
        if self.keepalive_interval < 15.0:
            raise ValueError("keepalive_interval must not be under 15 s (RFC 8445 section 11)")
        if not 4 <= self.ufrag_length <= 32 or not 22 <= self.pwd_length <= 256:
            raise ValueError("ufrag_length is 4..32 and pwd_length 22..256 (RFC 8839 section 5.4)")
        if min(self.max_pairs, self.max_remote_candidates, self.max_local_bases) < 1:
            raise ValueError("max_pairs, max_remote_candidates and max_local_bases must be positive")
        patience = (self.nomination_patience, self.relay_patience)
        times = (*patience, self.gathering_timeout, self.restart_timeout, self.relay_grace)
        limits = (self.max_peer_reflexive, self.max_early_checks, self.max_early_candidates, self.max_past_generations)
        if min(self.max_relays, *limits, *times) < 0:
            raise ValueError("limits and times must not be negative")
        if self.max_generations < 3:
            raise ValueError("max_generations must be three or more")

    @property
    def relays_only(self) -> bool:
        """Whether nothing but TURN servers is sent to (the relay policy, and mode 4 of RFC 8828)."""
        return self.transport_policy is _RELAY or self.exposure is _PROXY

    @property
    def tells_hosts(self) -> bool:
        """Whether host candidates are told to the peer; they are bases also where they are not."""
        return self.announce_host_candidates and self.exposure.tells_hosts

    @property
    def shows_addresses(self) -> bool:
        """Whether the peer may see addresses of our own, in related addresses and errors too (RFC 8828)."""
        if self.mdns.mode is MdnsMode.PUBLISH:
            return False
        return not self.relays_only and self.tells_hosts

    @classmethod
    def for_loopback(cls) -> Self:
        """Return settings for two peers on one machine: loopback addresses are candidates, no server is asked."""
        return cls(include_loopback=True)

    def with_servers(self, *stun_servers: str) -> Self:
        """Return a copy that asks these STUN servers."""
        return replace(self, stun_servers=stun_servers)
