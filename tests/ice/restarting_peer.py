"""A peer that restarts like libwebrtc, as far as an agent of ours can see it: one new port, and its own mind of roles.

Who offers a restart takes the controlling role, whatever it had. Its new port goes by our old description until our new
candidates are there, then by the new one, and refuses checks that name the other: an answer of 401 is not signed. Every
487 turns its role round, also the second to what it has sent in one role.
"""

from __future__ import annotations

from ice.description import Description
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import Message, MessageClass, parse
from tests.ice.builders import request
from tests.ice.signalled import SignalledWire
from tests.ice.stepper import A, B, Side

NEW_PORT = TransportAddress("192.0.2.1", 1077)
PATH = FiveTuple(B, NEW_PORT)
RESTARTED = Description("theirNew", "their-new-password-their-new-password")
WEAKEST, STRONGEST = 0, 2**64 - 1


class RestartedPort:
    """The new port: what it answers and asks, and in which role."""

    def __init__(self, goes_by: Description, role: Role, tiebreaker: int) -> None:
        self.goes_by = goes_by
        """The description of ours that its checks name."""
        self.role = role
        self.tiebreaker = tiebreaker
        self.nominated: list[Description] = []
        """By which of our descriptions it went when a nomination of ours was answered with success."""
        self.count = 0

    def turn(self) -> None:
        """A conflict of roles, or what it takes for one."""
        self.role = self.role.other

    def _answer(self, asked: Message) -> bytes:
        key = short_term_key(RESTARTED.pwd)
        if asked.get(att.USERNAME) != f"{RESTARTED.ufrag}:{self.goes_by.ufrag}" or not asked.verify_integrity(key):
            return asked.failure(401, "Unauthorized").serialize(fingerprint=True)
        claimed = att.ICE_CONTROLLING if self.role is Role.CONTROLLING else att.ICE_CONTROLLED
        if (tiebreaker := asked.get(claimed)) is not None:
            if (tiebreaker >= self.tiebreaker) is not (self.role is Role.CONTROLLING):
                return asked.failure(487, "Role Conflict").serialize(key, fingerprint=True)
            self.turn()
        if att.USE_CANDIDATE in asked and self.role is Role.CONTROLLED:
            self.nominated.append(self.goes_by)
        return asked.success((att.XOR_MAPPED_ADDRESS, B)).serialize(key, fingerprint=True)

    def _ask(self, *, nominates: bool | None = None) -> bytes:
        """Return its next check, which nominates while it controls, if not told otherwise."""
        self.count += 1
        nominates = self.role is Role.CONTROLLING if nominates is None else nominates
        role = att.ICE_CONTROLLING if self.role is Role.CONTROLLING else att.ICE_CONTROLLED
        return request(
            f"{self.goes_by.ufrag}:{RESTARTED.ufrag}",
            self.goes_by.pwd,
            *([(att.USE_CANDIDATE, True)] if nominates else []),
            role=(role, self.tiebreaker),  # type: ignore[arg-type]
            transaction_id=self.count.to_bytes(12, "big"),
        )


class RestartingPeer(RestartedPort):
    """The new port, opposite ``side``, on a wire that takes no time."""

    def __init__(self, side: Side, now: float, role: Role = Role.CONTROLLING, tiebreaker: int = STRONGEST) -> None:
        super().__init__(side.agent.local_description, role, tiebreaker)
        self.side = side
        self.now = now
        self.old = self.goes_by
        self.is_deaf = False
        """Whether what we send is lost."""
        self.asked: list[Message] = []
        self.answers: list[Message] = []

    def learn(self) -> None:
        """Its description arrives here."""
        self.side.agent.set_remote_description(RESTARTED, self.now)
        self.drain()

    def go_by_the_new(self) -> None:
        """Our answer and our candidates arrive there."""
        self.goes_by = self.side.agent.local_description

    def drain(self) -> None:
        while (effect := self.side.agent.next_effect()) is not None:
            if effect.path != PATH or self.is_deaf:
                continue
            message = parse(effect.data)
            if message.message_class is MessageClass.REQUEST:
                self.asked.append(message)
                self.side.agent.receive_datagram(self._answer(message), PATH, self.now)
            else:
                self.answers.append(message)
                if message.error is not None and message.error.code == 487:
                    self.turn()
        self.side.drain_events()

    def check(self, *, nominates: bool | None = None) -> Message:
        """Check once, nominating while it controls, if not told otherwise; return the answer."""
        self.side.agent.receive_datagram(self._ask(nominates=nominates), PATH, self.now)
        self.drain()
        return self.answers[-1]

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.side.agent.next_timeout()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.side.agent.handle_timeout(self.now)
            self.drain()
        self.now = until


def before_restart(role: Role = Role.CONTROLLED, tiebreaker: int = STRONGEST) -> RestartingPeer:
    """A session of ours in ``role`` whose peer has restarted, and has told nobody yet."""
    a, b = Side(role.other, A), Side(role, B, seed=2)
    wire = SignalledWire(a, b)
    wire.run(until=1.0)
    assert wire.agrees
    assert b.agent.role is role
    return RestartingPeer(b, wire.now, tiebreaker=tiebreaker)


def restarted(role: Role = Role.CONTROLLED, tiebreaker: int = STRONGEST) -> RestartingPeer:
    """The same when its description has arrived here."""
    peer = before_restart(role, tiebreaker)
    peer.learn()
    return peer


def username_of(peer: RestartingPeer) -> str | None:
    """What checks on the selected pair say in USERNAME."""
    pair = peer.side.agent.selected_pair
    return None if pair is None else pair.username


def is_on_the_new_pair(peer: RestartingPeer) -> bool:
    """Whether the pair to the port that is new since the restart is in use."""
    return peer.side.agent.selected_path == PATH
