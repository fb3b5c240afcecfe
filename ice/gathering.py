"""Asking STUN servers for server-reflexive candidates (RFC 8445 section 5.1.1.2)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ice.candidate import Base, Candidate
from ice.config import IceConfig
from ice.keepalive import BindingKeepalive
from ice.local import LocalCandidates
from ice.retransmission import Retransmission, Step
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.lazy_queue import LazyQueue
from stun.machine import Transmit
from stun.message import Message, MessageClass, Method
from stun.nothing import NO_ENTRIES, NO_ITEMS, NO_MEMBERS
from stun.transaction import new_transaction_id

__all__ = ["Gathering", "is_plausible_mapping"]


def is_plausible_mapping(mapped: TransportAddress, base: TransportAddress) -> bool:
    """Whether a server's answer can be an address of ours at all; the rest is up to the checks."""
    ip = mapped.ip
    return mapped.family == base.family and mapped.port != 0 and not ip.is_unspecified and not ip.is_multicast


class _Question:
    """One Binding transaction from one base to one server."""

    __slots__ = ("data", "path", "retransmission", "transaction_id")

    def __init__(self, path: FiveTuple, rng: random.Random) -> None:
        self.path = path
        self.transaction_id = new_transaction_id(rng)
        self.data = Message(Method.BINDING, MessageClass.REQUEST, self.transaction_id).serialize()
        self.retransmission: Retransmission | None = None


class Gathering:
    """Asks every server from every base, one new question each Ta, and none waits for another's answer.

    It is complete when no question is open: answered, failed, or given up: ``gathering_grace`` after another server
    answered on the same base, ``gathering_timeout`` after the last server became known in any case.
    """

    __slots__ = (
        "_asked",
        "_config",
        "_deadline",
        "_grace_at",
        "_keepalive",
        "_local",
        "_next_at",
        "_open",
        "_rng",
        "_servers",
        "_servers_ended",
        "_waiting",
        "began",
        "complete",
        "implausible",
        "in_use",
        "settled",
    )

    def __init__(self, config: IceConfig, local: LocalCandidates, rng: random.Random) -> None:
        self._config = config
        self._local = local
        self._rng = rng
        self.in_use = False
        """Whether there has been a server to ask."""
        self._servers: list[TransportAddress] = NO_ITEMS
        self._servers_ended = False
        self._waiting: LazyQueue[_Question] = NO_ITEMS
        self._open: dict[bytes, _Question] = NO_ENTRIES
        self._asked: set[FiveTuple] = NO_MEMBERS
        self._grace_at: dict[Base, float] = NO_ENTRIES
        self._next_at = 0.0
        self._deadline: float | None = None
        self._keepalive = BindingKeepalive(config.keepalive_interval, rng)
        self.began = False
        """Whether host candidates have been given out."""
        self.complete = False
        """Whether no more candidates come."""
        self.settled = False
        """Whether none comes that is worth waiting for."""
        self.implausible = 0
        """Answers of servers that could not be true."""

    def __contains__(self, transaction_id: object) -> bool:
        return transaction_id in self._open or transaction_id in self._keepalive

    def begin(self) -> list[Candidate]:
        """Return the host candidates of the bases that have none yet, and let the servers be asked from them."""
        self.began = True
        hosts = self._local.make_hosts()
        self._queue()
        return hosts

    def add_server(self, server: TransportAddress, now: float) -> None:
        """Ask this server too, from every base of its family."""
        if server not in self._servers and not self.complete:
            self._furnish()
            self._servers.append(server)
            self._deadline = now + self._config.gathering_timeout
            self._queue()

    def _furnish(self) -> None:
        if not self.in_use:
            self.in_use = True
            self._servers, self._waiting = [], LazyQueue()
            self._open, self._asked, self._grace_at = {}, set(), {}

    def end_of_servers(self) -> None:
        """No more servers come."""
        self._servers_ended = True

    def drop_base(self, base: Base) -> None:
        """A base is gone: nothing is asked from it any more."""
        self._waiting = LazyQueue(question for question in self._waiting if Base.of(question.path) != base)
        self._open = {key: question for key, question in self._open.items() if Base.of(question.path) != base}
        self._keepalive.drop_base(base)

    def restart(self, now: float) -> list[Candidate]:
        """A new generation: return the host candidates, and let every server be asked again."""
        if not self.began:
            return []
        self.complete = self.settled = False
        self._asked.clear()
        self._waiting.clear()
        self._open.clear()
        self._grace_at.clear()
        self._deadline = now + self._config.gathering_timeout if self._servers else None
        self._queue()
        return list(self._local.hosts.values())

    @property
    def servers(self) -> Sequence[TransportAddress]:
        """The servers that are asked."""
        return self._servers

    def _queue(self) -> None:
        if self.complete:
            return
        # One server after the other, so that every base has asked one before any asks a second.
        for server in self._servers:
            for base, protocol in self._local.hosts:
                if protocol.is_stream:
                    continue  # For another room (ice.tcp_gathering).
                path = FiveTuple(base, server)
                if path in self._asked or not base.is_in_reach_of(server):
                    continue
                self._asked.add(path)
                self._waiting.append(_Question(path, self._rng))

    def receive(self, response: Message, path: FiveTuple, now: float) -> Candidate | None:
        """Take a response; return the new candidate, or None when there is none."""
        if response.transaction_id in self._keepalive:
            self._keepalive.answered(response.transaction_id)
            return None
        question = self._open.get(response.transaction_id)
        if question is None or question.path != path:
            self.implausible += 1
            return None
        del self._open[response.transaction_id]
        mapped = response.get(att.XOR_MAPPED_ADDRESS) or response.get(att.MAPPED_ADDRESS)
        if response.message_class is not MessageClass.SUCCESS or response.unknown_required() or mapped is None:
            return None
        if not is_plausible_mapping(mapped, path.local):
            self.implausible += 1
            return None
        self._grace_at.setdefault(Base.of(path), now + self._config.gathering_grace)
        self._keepalive.add(path, now)
        return self._local.add_reflexive(Base.of(path), mapped, path.remote)

    def handle_timeout(self, now: float) -> list[Transmit]:
        """Return what has to be sent now, and close the questions that have run out."""
        sends = list(self._keepalive.handle_timeout(now))
        self._give_up(now)
        if self._waiting and now >= self._next_at:
            question = self._waiting.popleft()
            # Section 14.3: the first timeout grows with the number of questions.
            rto = max(self._config.rto, self._config.ta * len(self._asked))
            question.retransmission = Retransmission(now, rto, self._config.max_sends, self._config.final_wait)
            self._open[question.transaction_id] = question
            self._next_at = now + self._config.ta
            sends.append(Transmit(question.data, question.path))
        for question in list(self._open.values()):
            step = question.retransmission.advance(now) if question.retransmission else Step.NOTHING
            if step is Step.SEND:
                sends.append(Transmit(question.data, question.path))
            elif step is Step.FAIL:
                del self._open[question.transaction_id]
        return sends

    def _give_up(self, now: float) -> None:
        overdue = self._deadline is not None and now >= self._deadline

        def is_over(question: _Question) -> bool:
            grace_at = self._grace_at.get(Base.of(question.path))
            return overdue or (grace_at is not None and now >= grace_at)

        if self._waiting and any(map(is_over, self._waiting)):
            self._waiting = LazyQueue(question for question in self._waiting if not is_over(question))
        for question in [question for question in self._open.values() if is_over(question)]:
            del self._open[question.transaction_id]

    @property
    def is_idle(self) -> bool:
        """Whether no question is open and no server will come."""
        return self.began and self._servers_ended and not self._waiting and not self._open

    def settles_now(self) -> bool:
        """Return whether what other rooms still ask is all that there is to come; True once only."""
        if self.settled or not self.is_idle:
            return False
        self.settled = True
        return True

    def completes_now(self) -> bool:
        """Return whether gathering has just become complete; True once only."""
        if self.complete or not self.is_idle:
            return False
        self.complete = True
        return True

    def stop(self) -> None:
        """Ask nothing more and let the servers' bindings go (section 5.1.1.4): ICE has ended.

        RFC 8838 section 13: nothing is gathered once a pair is nominated.
        """
        self._servers_ended = True
        self._waiting.clear()
        self._open.clear()
        self._keepalive.clear()

    def next_timeout(self) -> float | None:
        """Return when :meth:`handle_timeout` is next wanted, or None."""
        if not self._waiting and not self._open:
            return self._keepalive.next_timeout()
        times = [question.retransmission.at for question in self._open.values() if question.retransmission]
        if self._waiting:
            times.append(self._next_at)
        if self._deadline is not None:
            times.append(self._deadline)
        bases = {Base.of(question.path) for question in (*self._waiting, *self._open.values())}
        times += [at for base, at in self._grace_at.items() if base in bases]
        if (keepalive := self._keepalive.next_timeout()) is not None:
            times.append(keepalive)
        return min(times, default=None)
