"""Two agents behind NATs on bad links, with signalling that is slow but in order: a session's whole life, watched."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence

from ice.config import IceConfig
from ice.events import GatheringCompleted, LocalCandidateFound, Restarted, RestartWanted
from ice.roles import Role
from stun.address import FiveTuple, TransportAddress
from stun.demux import is_stun
from stun.machine import Transmit
from stun.message import MessageClass, Method, parse
from tests.ice.trip import Peer
from tests.simulation import Host

__all__ = ["LifePeer"]

CONSENT = 30.0
"""How long an answer lasts (RFC 7675 section 5.1)."""
RATES = ((1.0, 24), (60.0, 150))
"""Seconds, and the most requests to one target in so many: no more than one each Ta and a few of other kinds."""


class LifePeer(Peer):
    """A peer that restarts when its agent asks for it, and that checks what must hold at every moment."""

    def __init__(self, host: Host, role: Role, config: IceConfig, *, seed: int) -> None:
        self.answered: dict[FiveTuple, float] = {}
        """When a success came from where."""
        self.asked: dict[TransportAddress, deque[float]] = {}
        self.allowed: Callable[[TransportAddress], bool] = lambda target: True
        self.copies = 1
        self._last_told = 0.0
        self.counts: Counter[str] = Counter()
        super().__init__(host, role, config, seed=seed)

    # -- signalling: once and in order, or twice --

    def start(self, other: Peer, servers: Sequence[TransportAddress]) -> None:
        self.other = other
        self._describe(self.machine.local_description)
        self.machine.gather(servers, self.host.world.now)
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
                    self._describe(description)
                case RestartWanted():
                    self.restart()
        self._must_hold()

    def restart(self) -> None:
        if not self.machine.state.is_over:
            self.machine.restart(self.host.world.now)
            self.pump()

    # -- what must hold --

    def _receive(self, local: TransportAddress, data: bytes, remote: tuple[str, int]) -> None:
        if is_stun(data):
            message = parse(data)
            if message.message_class is MessageClass.SUCCESS and message.method is Method.BINDING:
                self.answered[FiveTuple(local, TransportAddress(*remote))] = self.host.world.now
        super()._receive(local, data, remote)

    def _perform(self, effect: object) -> None:
        if isinstance(effect, Transmit):
            now = self.host.world.now
            message = parse(effect.data)
            if message.message_class is MessageClass.REQUEST:
                assert self.allowed(effect.path.remote), f"a request to {effect.path.remote}"
                times = self.asked.setdefault(effect.path.remote, deque(maxlen=400))
                times.append(now)
                for seconds, most in RATES:
                    assert sum(at > now - seconds for at in times) <= most, f"too much to {effect.path.remote}"
        super()._perform(effect)

    def _must_hold(self) -> None:
        now, path = self.host.world.now, self.machine.selected_path
        if path is not None:
            assert now <= self.answered.get(path, -1e9) + CONSENT, "data may be sent without consent"
        assert (path is not None) == self.machine.state.is_usable
        assert (self.machine.failure_reason is not None) == self.machine.state.is_over
        assert len(list(self.machine._generations)) <= 3
