"""A peer that restarts and checks at libwebrtc's pace, on a wire that takes its time.

Beside what :mod:`tests.ice.restarting_peer` has of it: three checks 48 ms apart, then one each 480 ms, since the old
pair, which works, lets it take its time; 900 ms when one was answered. None is sent twice.
"""

from __future__ import annotations

from collections import deque

from ice.candidate import Base
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple
from stun.machine import Deadline, Transmit
from stun.message import Message, MessageClass, parse
from tests.ice.restarting_peer import NEW_PORT, PATH, RESTARTED, RestartedPort
from tests.ice.signalled import SignalledWire
from tests.ice.stepper import A, B, Side, Wire

SOON, LATER, ANSWERED = 0.048, 0.48, 0.9
CHECKS_SOON = 3


def _words(message: Message) -> str:
    if message.message_class is MessageClass.REQUEST:
        role = "controlling" if att.ICE_CONTROLLING in message else "controlled"
        return f"{role}, nominates" if att.USE_CANDIDATE in message else role
    return str(message.error.code) if message.error is not None else "success"


class PingingPeer(RestartedPort):
    """The new port; to a :class:`~tests.ice.stepper.Wire` it is a side, and its own agent."""

    def __init__(self, side: Side, now: float, tiebreaker: int) -> None:
        super().__init__(side.agent.local_description, Role.CONTROLLING, tiebreaker)
        self.agent = self
        self.wishes: list[object] = []
        self._sources = {Base.of(FiveTuple(NEW_PORT, B))}
        self._effects: deque[Transmit] = deque()
        self.turned = 0
        """How often its role has changed."""
        self.is_writable = False
        """Whether a check of its own was answered with success."""
        self._asked: set[bytes] = set()
        self._next_at = now

    def turn(self) -> None:
        super().turn()
        self.turned += 1

    def drain_events(self) -> None:
        """It has none."""

    def next_effect(self) -> Transmit | None:
        return self._effects.popleft() if self._effects else None

    def next_timeout(self) -> Deadline:
        return Deadline(self._next_at, "check")

    def handle_timeout(self, now: float) -> None:
        if now < self._next_at:
            return
        self._send(self._ask())
        self._asked.add(self.count.to_bytes(12, "big"))
        later = ANSWERED if self.is_writable else LATER
        self._next_at = now + (SOON if self.count < CHECKS_SOON else later)

    def _send(self, data: bytes) -> None:
        self._effects.append(Transmit(data, FiveTuple(NEW_PORT, B)))

    def receive_datagram(self, data: bytes, path: FiveTuple, now: float) -> None:
        message = parse(data)
        if message.message_class is MessageClass.REQUEST:
            self._send(self._answer(message))
        elif message.transaction_id in self._asked:
            self._asked.remove(message.transaction_id)
            if message.message_class is MessageClass.SUCCESS:
                self.is_writable = True
            elif message.error is not None and message.error.code == 487:
                self.turn()


class PingingStage:
    """A session of ours in ``role`` and, from time 0 on, the peer that restarts it.

    Its first check goes out then, its description arrives here ``told`` later, and our answer there ``answered`` later,
    or never.
    """

    def __init__(self, role: Role, tiebreaker: int, *, delay: float, told: float, answered: float | None) -> None:
        a, self.side = Side(role.other, A), Side(role, B, seed=2)
        before = SignalledWire(a, self.side)
        before.run(until=1.0)
        assert before.agrees
        self.began = before.now
        self.peer = PingingPeer(self.side, self.began, tiebreaker)
        self.wire = Wire(self.side, self.peer, delay=delay)  # type: ignore[arg-type]
        self.wire.now = self.began
        self.wire.passes = lambda data, path: A not in (path.local, path.remote)
        self.used_at: float | None = None
        """When our side had the new pair, and the peer a nomination of it or the role to choose it."""
        self._signals = [(self.began + told, self._tell)]
        if answered is not None:
            self._signals.append((self.began + told + answered, self._answer))

    def _tell(self) -> None:
        self.side.agent.set_remote_description(RESTARTED, self.wire.now)

    def _answer(self) -> None:
        self.peer.goes_by = self.side.agent.local_description

    def run(self, seconds: float) -> None:
        until = self.began + seconds
        for at, signal in self._signals:
            self._run(at)
            signal()
            self.wire.flush()
        self._run(until)

    def _run(self, until: float) -> None:
        while (at := self.wire._next_time()) is not None and at <= until:
            self.wire.step()
            has_nominated = self.peer.role is Role.CONTROLLING or self.peer.nominated
            if self.used_at is None and self.side.agent.selected_path == PATH and has_nominated:
                self.used_at = self.wire.now - self.began
        self.wire.now = until

    @property
    def said(self) -> list[str]:
        """What went over the new path: in milliseconds when, who, what, in which role."""
        found = []
        for at, message, path in self.wire.log:
            if at >= self.began and NEW_PORT in (path.local, path.remote):
                who = "we" if path.local == B else "peer"
                found.append(f"{round((at - self.began) * 1000)} {who} {_words(message)}")
        return found
