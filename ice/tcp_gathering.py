"""Asking STUN servers over TCP, from the ports that we listen on and open from (RFC 6544 section 5.2)."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ice.candidate import Base, Candidate, TcpType
from ice.config import IceConfig
from ice.gathering import is_plausible_mapping
from ice.local import LocalCandidates
from ice.tcp import Connect, Framing
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.lazy_queue import LazyQueue
from stun.machine import Deadline, Release, Transmit
from stun.message import Message, MessageClass, Method
from stun.nothing import NO_ENTRIES, NO_ITEMS, NO_MEMBERS
from stun.transaction import new_transaction_id

__all__ = ["TcpGathering"]


@dataclass(slots=True, eq=False)
class _Question:
    path: FiveTuple
    transaction_id: bytes
    is_open: bool = False


class TcpGathering:
    """Opens a connection from every listening base to every server, one each Ta, and asks who we are there.

    The connections stay open until ICE ends: without them a NAT would forget the mapping (section 4.1). A server that
    does not answer has ``gathering_timeout``, enough for two lost SYNs, which are sent again after 1 s and 3 s (RFC
    6298 section 2); but ``gathering_grace`` after all other gathering is done it is not worth waiting for.
    """

    __slots__ = (
        "_answered",
        "_asked",
        "_config",
        "_deadline",
        "_grace_at",
        "_is_late",
        "_local",
        "_next_at",
        "_open",
        "_rng",
        "_servers",
        "_waiting",
        "effects",
        "implausible",
        "in_use",
    )

    def __init__(self, config: IceConfig, local: LocalCandidates, rng: random.Random) -> None:
        self._config = config
        self._local = local
        self._rng = rng
        self.in_use = False
        """Whether there has been a server to ask."""
        self._servers: list[TransportAddress] = NO_ITEMS
        self._waiting: LazyQueue[FiveTuple] = NO_ITEMS
        self._asked: set[FiveTuple] = NO_MEMBERS
        self._open: dict[FiveTuple, _Question] = NO_ENTRIES
        """Questions without an answer yet."""
        self._answered: set[FiveTuple] = NO_MEMBERS
        """Connections that are kept for their mappings."""
        self._next_at = 0.0
        self._deadline: float | None = None
        self._grace_at: float | None = None
        self._is_late = False
        self.effects: LazyQueue[Connect | Transmit | Release] = NO_ITEMS
        """What the driver has to do."""
        self.implausible = 0
        """Answers that could not be true."""

    def __contains__(self, path: object) -> bool:
        return path in self._open or path in self._answered

    @property
    def is_pending(self) -> bool:
        """Whether candidates may still come."""
        return bool(self._waiting or self._open)

    @property
    def is_awaited(self) -> bool:
        """Whether they may come so soon that an application should wait for them."""
        return self.is_pending and not self._is_late

    def add_server(self, server: TransportAddress, now: float) -> None:
        """Ask this server, too."""
        if self._config.tcp.reflexive and server not in self._servers:
            self._furnish()
            self._servers.append(server)
            self._deadline = now + self._config.gathering_timeout
            self._grace_at, self._is_late = None, False
            self.add_bases()

    def _furnish(self) -> None:
        if not self.in_use:
            self.in_use = True
            self._servers, self._waiting, self.effects = [], LazyQueue(), LazyQueue()
            self._asked, self._open, self._answered = set(), {}, set()

    def restart(self, servers: Iterable[TransportAddress], now: float) -> None:
        """A new generation: ask every server again."""
        self.stop()
        self._asked.clear()
        for server in servers:
            self.add_server(server, now)

    def add_bases(self) -> None:
        """Ask from bases that are new, too."""
        for server in self._servers:
            for base in self._local.hosts:
                address, protocol = base
                if self._local.tcp_type(base) in (None, TcpType.ACTIVE):
                    continue
                path = FiveTuple(address, server, protocol)
                if path in self._asked or len(self._asked) >= self._config.tcp.max_connections:
                    continue
                if not address.is_in_reach_of(server):
                    continue
                self._asked.add(path)
                self._waiting.append(path)

    def run(self, others_are_done: bool, now: float) -> None:
        """Open the connection that is due, and give up what has had its time."""
        if others_are_done and self._grace_at is None:
            self._grace_at = now + self._config.gathering_grace
        self._is_late = self._grace_at is not None and now >= self._grace_at
        if self._deadline is not None and now >= self._deadline:
            self._give_up()
        elif self._waiting and now >= self._next_at:
            path = self._waiting.popleft()
            self._open[path] = _Question(path, new_transaction_id(self._rng))
            self._next_at = now + self._config.ta
            self.effects.append(Connect(path, Framing.STUN))

    def _give_up(self) -> None:
        self._deadline = None
        self._waiting.clear()
        for path in list(self._open):
            self._drop(path)

    def _drop(self, path: FiveTuple) -> None:
        self._open.pop(path, None)
        self._answered.discard(path)
        self.effects.append(Release(path))

    def opened(self, path: FiveTuple) -> None:
        """The connection to a server is open: ask."""
        question = self._open.get(path)
        if question is not None and not question.is_open:
            question.is_open = True
            request = Message(Method.BINDING, MessageClass.REQUEST, question.transaction_id)
            self.effects.append(Transmit(request.serialize(), path))

    def gone(self, path: FiveTuple) -> None:
        """The connection to a server was not opened, or has ended."""
        self._open.pop(path, None)
        self._answered.discard(path)

    def receive(self, response: Message, path: FiveTuple) -> Candidate | None:
        """Take a response; return the new candidate, or None when there is none."""
        question = self._open.get(path)
        if question is None or response.transaction_id != question.transaction_id:
            self.implausible += 1
            return None
        del self._open[path]
        mapped = response.get(att.XOR_MAPPED_ADDRESS) or response.get(att.MAPPED_ADDRESS)
        is_success = response.message_class is MessageClass.SUCCESS and not response.unknown_required()
        if not is_success or mapped is None or not is_plausible_mapping(mapped, path.local):
            self.implausible += is_success
            self.effects.append(Release(path))
            return None
        self._answered.add(path)
        return self._local.add_reflexive(Base.of(path), mapped, path.remote)

    def stop(self) -> None:
        """ICE has ended: ask nothing more, and let the mappings go (section 11.2)."""
        self._servers.clear()
        self._give_up()
        for path in list(self._answered):
            self._drop(path)

    def next_timeout(self) -> Deadline | None:
        """Return when :meth:`run` is wanted, or None."""
        at = min(self._times(), default=None) if self.is_pending else None
        return None if at is None else Deadline(at, "gathering over TCP")

    def _times(self) -> Iterator[float]:
        if self._waiting:
            yield self._next_at
        if self.is_pending and self._deadline is not None:
            yield self._deadline
        if self._grace_at is not None and not self._is_late:
            yield self._grace_at
