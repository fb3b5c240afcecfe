"""Two agents behind NATs on bad links, with signalling that is slow but in order: a session's whole life, watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from ice.candidate import TcpType
from ice.config import IceConfig
from ice.events import GatheringCompleted, LocalCandidateFound, PairSelected, Restarted, RestartWanted
from ice.relay import OpenLink, RelayTarget
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.demux import is_stun
from stun.errors import StunParseError
from stun.machine import Release, Transmit
from stun.message import Message, MessageClass, Method, parse
from tests.ice.request_budget import RequestBudget
from tests.ice.tcp_trip import TcpPeer
from tests.ice.trip import Peer
from tests.simulation import Host
from tests.simulation.turn_server import PASSWORD, USER, SimulatedTurnServer
from turn.config import TurnServerConfig

__all__ = ["LifePeer"]

CONSENT = 30.0
"""How long an answer lasts (RFC 7675 section 5.1)."""
WINDOWS = (1.0, 60.0)
"""Seconds in which requests to one target are counted."""


class LifePeer(TcpPeer):
    """A peer that restarts when its agent asks for it, and that checks what must hold at every moment."""

    def __init__(
        self, host: Host, role: Role, config: IceConfig, *, seed: int, kinds: Collection[TcpType] = ()
    ) -> None:
        self.answered: dict[FiveTuple, float] = {}
        """When a success came from where."""
        self.asked: dict[TransportAddress, list[float]] = {}
        """When which target was sent a Binding request over UDP, by a relay or without."""
        self.heard: dict[TransportAddress, list[float]] = {}
        """When a request or an error came from a target."""
        self.servers: set[TransportAddress] = set()
        """The STUN servers, which are asked rather than checked."""
        self.relays: list[SimulatedTurnServer] = []
        self.allowed: Callable[[TransportAddress], bool] = lambda target: True
        self.copies = 1
        self.counts: Counter[str] = Counter()
        self._budget = RequestBudget(config)
        self._selected_at: list[float] = []
        self._restarted_at: list[float] = [0.0]
        self._bases = 0
        self._links: set[TransportAddress] = set()
        self._last_told = 0.0
        super().__init__(host, role, kinds, config, udp=True, seed=seed)

    # -- signalling: once and in order, or twice --

    def start(self, other: Peer, servers: Sequence[TransportAddress]) -> None:
        self.other = other
        self.servers.update(servers)
        self._describe(self.machine.local_description)
        now = self.host.world.now
        self.machine.begin_gathering(now)
        for server in servers:
            self.machine.add_stun_server(server, now)
        for relay in self.relays:
            config = TurnServerConfig(url=relay.url, username=USER, password=PASSWORD)
            target = RelayTarget(relay.address, TransportProtocol.UDP)
            self.machine.relays.add_server(config, target, now, config.fixed_credentials)
        self.machine.end_of_stun_servers(now)
        self.pump()

    def _describe(self, description: object) -> None:
        self._tell(lambda now: self.other.machine.set_remote_description(description, now))  # type: ignore[union-attr,arg-type]

    def _tell(self, action: Callable[[float], None]) -> None:
        world, other = self.host.world, self.other
        assert other is not None
        self._last_told = max(self._last_told, world.now + self.signalling)

        def arrive() -> None:
            for _ in range(self.copies):
                action(world.now)
                other.pump()

        world.at(self._last_told, arrive)

    def pump(self) -> None:
        super(Peer, self).pump()
        if self.other is None:
            return
        other = self.other.machine
        while self._told < len(self.events):
            event = self.events[self._told]
            self._told += 1
            match event:
                case LocalCandidateFound(candidate):
                    self._tell(lambda now, c=candidate: other.add_remote_candidate(c, now))  # type: ignore[misc]
                case GatheringCompleted(ufrag):
                    self._tell(lambda now, u=ufrag: other.end_of_remote_candidates(now, u))  # type: ignore[misc]
                case Restarted(description, _):
                    self.counts["restarts"] += 1
                    self._restarted_at.append(self.host.world.now)
                    self._describe(description)
                case PairSelected():
                    self._selected_at.append(self.host.world.now)
                case RestartWanted():
                    self.restart()
        self._must_hold()

    def restart(self) -> None:
        if not self.machine.state.is_over:
            self.machine.restart(self.host.world.now)
            self.pump()

    # -- relays, and addresses that come and go --

    def bind(self, host: str | None = None, port: int = 0) -> TransportAddress:
        self._bases += 1
        return super().bind(host, port)

    def lose_host(self, host: str) -> None:
        """Take an address away from the machine, and tell the agent."""
        self.host.remove_address(host)
        now = self.host.world.now
        for base in [base for base in self._sockets if base.host == host and base not in self._links]:
            self._sockets.pop(base).close()
            self.machine.remove_local_base(base, now)
        self.machine.remove_tcp_bases(host, now)
        self.pump()

    def _perform_other(self, effect: Any) -> None:
        match effect:
            case OpenLink(number, _, target):
                path = FiveTuple(self.bind(), target.server, target.protocol)
                self._links.add(path.local)
                self.machine.relays.link_opened(number, path, self.host.world.now)
            case Release(path) if path.protocol is TransportProtocol.UDP:
                if (socket := self._sockets.pop(path.local, None)) is not None:
                    socket.close()
            case _:
                super()._perform_other(effect)

    # -- what is seen --

    def _unwrapped(self, data: bytes, path: FiveTuple) -> Iterator[tuple[Message, FiveTuple]]:
        """Yield the Binding message in a datagram, taken out of what a TURN server and its client wrap around it."""
        relay = self.machine.relays.by_path.get(path)
        if relay is not None and relay.client is not None:
            inner = relay.client.decode(data)
            if inner is None and is_stun(data):
                wrap = parse(data)
                peer, carried = wrap.get(att.XOR_PEER_ADDRESS), wrap.get(att.DATA)
                if peer is not None and carried is not None:
                    inner = peer, carried
            if inner is None or (base := relay.bases.get(inner[0].family)) is None:
                return
            data, path = inner[1], FiveTuple(base, inner[0])
        try:
            message = parse(data)
        except StunParseError:
            return
        if message.method is Method.BINDING:
            yield message, path

    def _receive(self, local: TransportAddress, data: bytes, remote: tuple[str, int]) -> None:
        self._note(data, FiveTuple(local, TransportAddress(*remote)))
        super()._receive(local, data, remote)

    def _on_data(self, path: FiveTuple, data: bytes) -> None:
        self._note(data, path)
        super()._on_data(path, data)

    def _note(self, data: bytes, path: FiveTuple) -> None:
        for message, inner in self._unwrapped(data, path):
            if message.message_class is MessageClass.SUCCESS:
                self.answered[inner] = self.host.world.now
            else:
                self.heard.setdefault(inner.remote, []).append(self.host.world.now)

    def _perform(self, effect: Any) -> None:
        if isinstance(effect, Transmit) and effect.path.protocol is TransportProtocol.UDP:
            for message, inner in self._unwrapped(effect.data, effect.path):
                if message.message_class is MessageClass.REQUEST:
                    self._asks(inner.remote)
            if effect.path.local not in self._sockets:
                return  # The base or the relay has gone in this very moment; drivers drop it, too.
        super()._perform(effect)

    # -- what must hold --

    def _asks(self, target: TransportAddress) -> None:
        assert self.allowed(target), f"a request to {target}"
        now = self.host.world.now
        times = self.asked.setdefault(target, [])
        times.append(now)
        for seconds in WINDOWS:
            most = self._most(target, seconds)
            count = _since(times, now - seconds)
            self.counts[f"asked in {seconds:g} s"] = max(count, self.counts[f"asked in {seconds:g} s"])
            assert count <= most, f"{count} requests to {target} in {seconds} s, and {most} are allowed"

    def _most(self, target: TransportAddress, seconds: float) -> int:
        begin = self.host.world.now - seconds
        lag = 2 * self.machine._config.ta
        restarts = _since(self._restarted_at, begin)
        if target in self.servers:
            return self._budget.to_a_server(seconds, bases=self._bases, gatherings=1 + restarts)
        return self._budget.within(
            seconds,
            pairs=self._bases * min(3, len(self._restarted_at)),
            heard=_since(self.heard.get(target, ()), begin - lag),
            selections=_since(self._selected_at, begin),
            restarts=restarts,
        )

    def strangers_must_be_spared(self) -> None:
        """Whoever was never heard of got no more than the checks that an address gets which is signalled."""
        answered = {path.remote for path in self.answered}
        most = self._budget.to_a_stranger(self._bases * len(self._restarted_at))
        for target, times in self.asked.items():
            if target not in answered and target not in self.heard and target not in self.servers:
                assert len(times) <= most, f"{len(times)} requests to {target}, which has never said a word"

    def _must_hold(self) -> None:
        now, path = self.host.world.now, self.machine.selected_path
        if path is not None:
            assert now <= self.answered.get(path, -1e9) + CONSENT, "data may be sent without consent"
        assert (path is not None) == self.machine.state.is_usable
        assert (self.machine.failure_reason is not None) == self.machine.state.is_over
        assert len(self.machine._generations.kept) <= 3


def _since(times: Sequence[float], begin: float) -> int:
    count = 0
    for at in reversed(times):
        if at <= begin:
            break
        count += 1
    return count
