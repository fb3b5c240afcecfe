"""The client of NAT behaviour discovery (RFC 5780 section 4): a machine that runs the scripts of the tests.

It asks its driver for fresh local ports (:class:`BindPort`), because filtering shows only on ports that have not talked
to the server's other address.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.behaviour import NatReport, NatTest
from stun.behaviour_tests import Answer, Ask, ClosePort, Findings, OpenPort, Script, Together, Wait, examine
from stun.config import BehaviourClientConfig
from stun.errors import StunParseError
from stun.machine import Deadline, Outbox, Transmit, earliest
from stun.message import Message, MessageClass, Method, parse
from stun.transaction import TransactionTable, new_transaction_id

__all__ = ["ALL_TESTS", "QUICK_TESTS", "BehaviourClient", "BindPort", "ReleasePort"]

ALL_TESTS = frozenset(NatTest)
"""Everything; the lifetime of mappings takes minutes."""
QUICK_TESTS = ALL_TESTS - {NatTest.LIFETIME}
"""What takes seconds."""


@dataclass(frozen=True, slots=True)
class BindPort:
    """Effect: bind a fresh UDP port and say which with :meth:`BehaviourClient.port_bound`."""

    key: int


@dataclass(frozen=True, slots=True)
class ReleasePort:
    """Effect: close the socket of ``local``."""

    local: TransportAddress


@dataclass(slots=True, eq=False)
class _Task:
    """A script and who waits for it."""

    script: Script
    parent: _Task | None = None
    children: int = 0


class BehaviourClient:
    """Examines the NATs on the way to one server; its only event is the :class:`~stun.behaviour.NatReport`."""

    def __init__(
        self,
        server: TransportAddress,
        rng: random.Random,
        *,
        second: TransportAddress | None = None,
        tests: frozenset[NatTest] = QUICK_TESTS,
        config: BehaviourClientConfig | None = None,
    ) -> None:
        """Args:
        server: its primary address.
        rng: makes transaction ids; ``random.SystemRandom`` outside of tests.
        second: a server at another IP address, asked for mappings when ``server`` has no second address itself.
        tests: what to find out.
        config: times and numbers.
        """
        if second is not None and (second.host == server.host or second.family != server.family):
            raise ValueError("the second server needs another address of the same family")
        self.config = config or BehaviourClientConfig()
        self.dropped = 0
        """Datagrams that belong to no open request."""
        self._rng = rng
        self._tests = tests
        self._findings = Findings(server, second)
        self._first_local: TransportAddress | None = None
        self._outbox: Outbox[Transmit | BindPort | ReleasePort, NatReport] = Outbox()
        self._table: TransactionTable[_Task] = TransactionTable(self.config.transaction)
        self._asks: deque[tuple[_Task, Ask]] = deque()
        self._next_send = 0.0
        self._sleepers: list[tuple[float, int, _Task]] = []
        self._binding: dict[int, _Task] = {}
        self._keys = itertools.count(1)
        self._ports: set[TransportAddress] = set()

    # -- inputs --

    def start(self, now: float) -> None:
        """Begin; call it once."""
        self._next_send = now
        self._step(_Task(examine(self._findings, self._tests, self.config)), None, now)

    def port_bound(self, key: int, local: TransportAddress | None, now: float) -> None:
        """A :class:`BindPort` was carried out: ``local`` has the real address, or None when none could be bound."""
        task = self._binding.pop(key)
        if local is not None:
            self._ports.add(local)
            self._first_local = self._first_local or local
        self._step(task, local, now)

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        """Take what arrived at one of our ports. Never raises."""
        try:
            message = parse(data)
        except StunParseError:
            self.dropped += 1
            return
        task = self._task_of(message, path)
        if task is None:
            self.dropped += 1
            return
        looped = message.message_class is MessageClass.REQUEST
        padding = message.get(att.PADDING)
        answer = Answer(
            arrived_at=path.local,
            came_from=path.remote,
            mapped=None if looped else _mapped(message),
            plain_mapped=message.get(att.MAPPED_ADDRESS),
            # Servers of RFC 3489 have another name for it, and do the same tests.
            other=message.get(att.OTHER_ADDRESS) or message.get(att.CHANGED_ADDRESS),
            padding=0 if padding is None else len(padding),
            error=message.error,
            looped=looped,
        )
        self._step(task, answer, now)

    def handle_timeout(self, now: float) -> None:
        """Send again, give up, wake scripts and send what had to wait for its turn."""
        again, over = self._table.handle_timeout(now)
        self._outbox.effects.extend(again)
        for transaction in over:
            self._step(transaction.context, None, now)
        while self._sleepers and self._sleepers[0][0] <= now:
            self._step(heapq.heappop(self._sleepers)[2], None, now)
        self._send_waiting(now)

    # -- outputs --

    def next_effect(self) -> Transmit | BindPort | ReleasePort | None:
        """Return the next thing to do, or None."""
        return self._outbox.next_effect()

    def next_event(self) -> NatReport | None:
        """Return the report, once."""
        return self._outbox.next_event()

    def next_timeout(self) -> Deadline | None:
        """Return when something is due."""
        waking = Deadline(self._sleepers[0][0], "waiting script") if self._sleepers else None
        sending = Deadline(self._next_send, "next request") if self._asks else None
        return earliest(self._table.next_timeout(), waking, sending)

    # -- requests --

    def _send_waiting(self, now: float) -> None:
        while self._asks and self._next_send <= now:
            task, ask = self._asks.popleft()
            request = Message(Method.BINDING, MessageClass.REQUEST, new_transaction_id(self._rng))
            if self.config.software is not None:
                request.add(att.SOFTWARE, self.config.software)
            if ask.change is not None:
                request.add(att.CHANGE_REQUEST, ask.change)
            if ask.response_port is not None:
                request.add(att.RESPONSE_PORT, ask.response_port)
            if ask.padding:
                request.add(att.PADDING, bytes(ask.padding))
            path = FiveTuple(ask.local, ask.to)
            self._outbox.effects.append(self._table.start(request, request.serialize(), path, task, now))
            self._next_send = max(self._next_send, now) + self.config.spacing

    def _task_of(self, message: Message, path: FiveTuple) -> _Task | None:
        """Return who waits for ``message``, wherever it came from and to: the tests are about just that."""
        transaction = self._table.find(message.transaction_id)
        if transaction is None or message.method is not Method.BINDING or path.local not in self._ports:
            return None
        if message.message_class is MessageClass.INDICATION:
            return None
        if message.message_class is MessageClass.REQUEST and path.local != transaction.path.local:
            return None  # Only our own request may come back as one, to where it was sent from.
        self._table.cancel(message.transaction_id)
        return transaction.context

    # -- scripts --

    def _step(self, task: _Task, value: object, now: float) -> None:
        """Resume a script, and carry out the steps that need no waiting."""
        try:
            step = task.script.send(value)
            while isinstance(step, ClosePort):
                self._release(step.local)
                step = task.script.send(None)
        except StopIteration:
            self._finished(task, now)
            return
        match step:
            case OpenPort():
                key = next(self._keys)
                self._binding[key] = task
                self._outbox.effects.append(BindPort(key))
            case Ask():
                self._asks.append((task, step))
                self._send_waiting(now)
            case Wait(seconds):
                heapq.heappush(self._sleepers, (now + seconds, next(self._keys), task))
            case Together(scripts):
                self._start_all(task, scripts, now)

    def _start_all(self, task: _Task, scripts: Iterable[Script], now: float) -> None:
        children = [_Task(script, task) for script in scripts]
        task.children = len(children)
        if not children:
            self._step(task, None, now)
        for child in children:
            self._step(child, None, now)

    def _finished(self, task: _Task, now: float) -> None:
        parent = task.parent
        if parent is not None:
            parent.children -= 1
            if not parent.children:
                self._step(parent, None, now)
            return
        for local in sorted(self._ports):
            self._release(local)
        findings = self._findings
        nowhere = TransportAddress("0.0.0.0" if findings.server.family == 4 else "::", 0)
        report = NatReport(
            server=findings.server,
            local=self._first_local or nowhere,
            samples=tuple(findings.samples),
            untold=tuple(findings.untold),
            **findings.found,
        )
        self._outbox.events.append(report)

    def _release(self, local: TransportAddress) -> None:
        self._ports.discard(local)
        self._outbox.effects.append(ReleasePort(local))


def _mapped(response: Message) -> TransportAddress | None:
    if response.unknown_required():
        return None
    return response.get(att.XOR_MAPPED_ADDRESS) or response.get(att.MAPPED_ADDRESS)
