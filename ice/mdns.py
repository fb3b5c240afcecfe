"""Candidates that are names: the peer's are resolved, our private addresses get some (mmusic-mdns-ice-candidates-03).

Names are for the local network alone: only multicast DNS is asked, and what it answers is used to send to and shown
nowhere. The driver carries out the effects and answers with :meth:`Names.resolved` and :meth:`Names.published`.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ice.candidate import Candidate, CandidateType, NamedAddress
from ice.config import IceConfig
from ice.mdns_config import MdnsConfig, MdnsMode
from ice.remote import Rejection, RemoteCandidates
from stun.address import TransportAddress
from stun.lazy_queue import LazyQueue
from stun.machine import Deadline
from stun.nothing import NO_ENTRIES, NO_ITEMS, NO_MEMBERS

__all__ = ["UNSEEN", "NameEffect", "Names", "PublishName", "ResolveName", "WithdrawName", "is_mdns_name"]

UNSEEN: Final = "unseen.invalid"
"""What is shown for the host of a peer that hides its addresses, where it is none of the names that it told."""

_HOST: Final = CandidateType.HOST

_NAME: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,62})\.local\Z", re.IGNORECASE)


def is_mdns_name(name: str) -> bool:
    """Whether ``name`` is one that may be resolved: one label before ``.local`` and no other dot (draft 3.2.1)."""
    return _NAME.match(name) is not None


@dataclass(frozen=True, slots=True)
class ResolveName:
    """Effect: ask multicast DNS, and nothing else, for the addresses of ``name``; :meth:`Names.resolved` answers."""

    name: str


@dataclass(frozen=True, slots=True)
class PublishName:
    """Effect: answer multicast DNS questions for ``name`` with our ``host``; :meth:`Names.published` answers."""

    name: str
    host: str


@dataclass(frozen=True, slots=True)
class WithdrawName:
    """Effect: ``name`` is nobody's any more."""

    name: str


NameEffect = ResolveName | PublishName | WithdrawName


_Waiting = tuple[Candidate, RemoteCandidates]


class _PeerNames:
    """The names that the peer told, what is asked about them and what was answered."""

    __slots__ = ("_config", "_next_at", "_open", "_queue", "_refused", "hosts", "ready", "waiting")

    def __init__(self, config: MdnsConfig) -> None:
        self._config = config
        self.waiting: dict[str, list[_Waiting]] = {}
        self._queue: LazyQueue[str] = LazyQueue()
        self._open: dict[str, float] = {}
        self._next_at = 0.0
        self.hosts: dict[str, str] = {}
        """What names have resolved to."""
        self._refused: dict[str, Rejection] = {}
        self.ready: LazyQueue[_Waiting] = LazyQueue()

    def take(self, candidate: Candidate, remotes: RemoteCandidates, name: str) -> None:
        if name in self.hosts or name in self._refused:
            self._conclude(candidate, remotes, name)
        elif self._count() >= self._config.max_candidates:
            remotes.reject(Rejection.LIMIT)
        elif name in self.waiting:
            self.waiting[name].append((candidate, remotes))
        elif len(self.waiting) + len(self.hosts) + len(self._refused) >= self._config.max_names:
            remotes.reject(Rejection.LIMIT)
        else:
            self.waiting[name] = [(candidate, remotes)]
            self._queue.append(name)

    def _count(self) -> int:
        return sum(map(len, self.waiting.values()))

    def resolved(self, name: str, addresses: Sequence[str]) -> None:
        if self._open.pop(name, None) is None:
            return  # Given up meanwhile, or never asked.
        hosts = set(addresses)
        if len(hosts) == 1:
            self.hosts[name] = hosts.pop()
        else:  # Section 3.2.1: a name that stands for several addresses is none of a candidate's.
            self._refused[name] = Rejection.AMBIGUOUS if hosts else Rejection.UNRESOLVED
        for candidate, remotes in self.waiting.pop(name, ()):
            self._conclude(candidate, remotes, name)

    def _conclude(self, candidate: Candidate, remotes: RemoteCandidates, name: str) -> None:
        host, alias = self.hosts.get(name), candidate.address
        if host is None:
            remotes.reject(self._refused[name])
            return
        assert isinstance(alias, NamedAddress)
        self.ready.append((replace(candidate, address=TransportAddress(host, alias.port), alias=alias), remotes))

    def run(self, now: float) -> list[str]:
        """Give up what is overdue, and return the names to ask for now."""
        for name in [name for name, give_up_at in self._open.items() if now >= give_up_at]:
            self.resolved(name, ())
        asked = []
        while self._queue and len(self._open) < self._config.max_resolving and now >= self._next_at:
            name = self._queue.popleft()
            self._open[name] = now + self._config.resolve_timeout
            self._next_at = now + self._config.resolve_interval
            asked.append(name)
        return asked

    @property
    def is_idle(self) -> bool:
        return not self._open and not self._queue

    def clear(self) -> None:
        self.waiting.clear()
        self._queue.clear()
        self._open.clear()

    def next_timeout(self) -> float | None:
        times = list(self._open.values())
        if self._queue and len(self._open) < self._config.max_resolving:
            times.append(self._next_at)
        return min(times, default=None)


_NO_NAMES: Final = _PeerNames(MdnsConfig())
"""Those of the peers that have told none, which is most of them."""


class Names:
    """The names of one session, the peer's and ours.

    Inputs of the driver end in ``settle(now)``, with which the agent takes :attr:`ready` and :attr:`tellable` and
    drains :attr:`effects`. What does not resolve is rejected where it came from.
    """

    __slots__ = (
        "_closed",
        "_config",
        "_own",
        "_peer",
        "_publishing",
        "_resolves",
        "_rng",
        "_settle",
        "_told",
        "_untold",
        "effects",
        "in_use",
        "publishes",
        "tellable",
        "unpublished",
    )

    def __init__(self, config: IceConfig, rng: random.Random, settle: Callable[[float], None]) -> None:
        self._config = config.mdns
        # Where only relays are used, nothing is sent to the local network, not even a question.
        directly = not config.relays_only
        self._resolves = directly and config.mdns.mode is not MdnsMode.OFF
        self.publishes = directly and config.mdns.mode is MdnsMode.PUBLISH
        """Whether candidates of ours have names."""
        self._rng = rng
        self._settle = settle
        self.in_use = False
        """Whether either side has had anything to do with names."""
        self._peer = _NO_NAMES
        self._own: dict[str, str] = NO_ENTRIES
        self._told: set[str] = NO_MEMBERS
        self._publishing: dict[str, float] = NO_ENTRIES
        self._untold: dict[str, list[Candidate]] = NO_ENTRIES
        self.effects: LazyQueue[NameEffect] = NO_ITEMS
        """What the driver has to do."""
        self._closed = False
        self.tellable: LazyQueue[Candidate] = NO_ITEMS
        """Candidates of ours whose names have just become known on the network."""
        self.unpublished = 0
        """Candidates of ours that were not told because their names could not be published."""

    def _furnish(self) -> None:
        if not self.in_use:
            self.in_use = True
            self._peer = _PeerNames(self._config)
            self._own, self._told, self._publishing, self._untold = {}, set(), {}, {}
            self.effects, self.tellable = LazyQueue(), LazyQueue()

    # -- the peer's --

    @property
    def ready(self) -> LazyQueue[_Waiting]:
        """Candidates of the peer, resolved, and whose they are: ``address`` is where to send to, ``alias`` is shown."""
        return self._peer.ready

    @property
    def is_resolving(self) -> bool:
        """Whether candidates of the peer wait for their names."""
        return bool(self._peer.waiting)

    def take(self, candidate: Candidate, remotes: RemoteCandidates, now: float) -> None:
        """Take a candidate of the peer that has a name instead of an address, and resolve it for ``remotes``."""
        name = candidate.address.host.lower()
        if self._resolves and is_mdns_name(name):
            self._furnish()
            self._peer.take(candidate, remotes, name)
            self.handle_timeout(now)
        else:
            remotes.reject(Rejection.NAME)

    def resolved(self, name: str, addresses: Sequence[str], now: float) -> None:
        """Answer to ResolveName: IP literals, none for a name that nobody answered."""
        self._peer.resolved(name, [str(TransportAddress.parse(each.partition("%")[0], 0).host) for each in addresses])
        self._settle(now)

    def veil(self, address: TransportAddress) -> NamedAddress | None:
        """Return what is to be shown for an address that the peer was heard from; None for the address itself."""
        for name, host in self._peer.hosts.items():
            if host == address.host:
                return NamedAddress(name, address.port)
        hides = self._peer.hosts or self._peer.waiting
        return NamedAddress(UNSEEN, address.port) if hides and self._config.hides(address.host) else None

    # -- ours --

    def alias(self, address: TransportAddress) -> NamedAddress | None:
        """Return the name that a host candidate of ours is told by, the same for all on one host; None for none."""
        if not self.publishes or not self._config.hides(address.host):
            return None
        name = self._own.get(address.host)
        if name is None:
            self._furnish()
            name = self._own[address.host] = f"{uuid.UUID(int=self._rng.getrandbits(128), version=4)}.local"
        return NamedAddress(name, address.port)

    def holds_back(self, candidate: Candidate, now: float) -> bool:
        """Whether a candidate of ours has to wait for its name; it comes out of :attr:`tellable` later."""
        alias = candidate.alias
        if alias is None or candidate.type is not _HOST or alias.host in self._told or self._closed:
            return False
        if alias.host not in self._untold:
            assert isinstance(candidate.address, TransportAddress)
            self._untold[alias.host] = []
            self._publishing[alias.host] = now + self._config.publish_timeout
            self.effects.append(PublishName(alias.host, candidate.address.host))
        self._untold[alias.host].append(candidate)
        return True

    @property
    def is_publishing(self) -> bool:
        """Whether candidates of ours wait for their names, or to be told."""
        return bool(self._publishing or self.tellable)

    def published(self, name: str, done: bool, now: float) -> None:
        """Answer to PublishName: whether others can resolve it now."""
        if self._publishing.pop(name, None) is None:
            return
        waiting = self._untold.pop(name, [])
        if done:
            self._told.add(name)
            self.tellable.extend(waiting)
        else:
            # Its address stays hidden: a candidate that is not told at all gives nothing away.
            self.unpublished += len(waiting)
        self._settle(now)

    # -- draining --

    def handle_timeout(self, now: float) -> None:
        """Ask what may be asked now, and give up what took too long."""
        if self._closed:
            return
        for name in self._peer.run(now):
            self.effects.append(ResolveName(name))
        for name in [name for name, give_up_at in self._publishing.items() if now >= give_up_at]:
            self.effects.append(WithdrawName(name))
            self.published(name, False, now)

    def close(self) -> None:
        """The session is over: nothing is asked any more, and our names go (no name is used twice)."""
        if self._closed:
            return
        self._closed = True
        self._peer.clear()
        self.effects.clear()
        for name in (*self._told, *self._publishing):
            self.effects.append(WithdrawName(name))
        self._publishing.clear()
        self._untold.clear()

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`handle_timeout` is wanted, or None."""
        if self._closed or (not self._publishing and self._peer.is_idle):
            return None
        times = [at for at in (self._peer.next_timeout(), *self._publishing.values()) if at is not None]
        return Deadline(min(times), "mDNS names") if times else None
