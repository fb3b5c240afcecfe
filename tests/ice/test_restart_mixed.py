"""A peer that restarts and checks our old candidates before it has our new description, as libwebrtc does.

Its new port goes by its new credentials and our old ones, nominates, and keeps to them: nothing else comes from there.
"""

from __future__ import annotations

from ice.description import Description
from ice.events import State
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress
from stun.integrity import short_term_key
from stun.message import Message, MessageClass, Method, parse
from tests.ice.builders import request
from tests.ice.signalled import SignalledWire
from tests.ice.stepper import A, B, Side

NEW_PORT = TransportAddress("192.0.2.1", 1077)
PATH = FiveTuple(B, NEW_PORT)
RESTARTED = Description("theirNew", "their-new-password-their-new-password")


class Stubborn:
    """The peer after its restart: one port, which knows our old description alone."""

    def __init__(self, side: Side, now: float) -> None:
        self.side = side
        self.now = now
        self.old = side.agent.local_description
        self.asked: list[Message] = []
        self.answers: list[Message] = []
        self.count = 0
        side.agent.set_remote_description(RESTARTED, now)
        self.drain()

    def drain(self) -> None:
        while (effect := self.side.agent.next_effect()) is not None:
            message = parse(effect.data)
            if effect.path != PATH:
                continue
            if message.message_class is not MessageClass.REQUEST:
                self.answers.append(message)
                continue
            self.asked.append(message)
            key = short_term_key(RESTARTED.pwd)
            if message.get(att.USERNAME) == f"{RESTARTED.ufrag}:{self.old.ufrag}" and message.verify_integrity(key):
                answer = message.success((att.XOR_MAPPED_ADDRESS, B)).serialize(key, fingerprint=True)
            else:
                answer = message.failure(401, "Unauthorized").serialize(fingerprint=True)
            self.side.agent.receive_datagram(answer, PATH, self.now)
        self.side.drain_events()

    def check(self, *, nominates: bool) -> Message:
        """Check with our old credentials; return the answer."""
        self.count += 1
        extra = [(att.USE_CANDIDATE, True)] if nominates else []
        identity = self.count.to_bytes(12, "big")
        name = f"{self.old.ufrag}:{RESTARTED.ufrag}"
        data = request(name, self.old.pwd, *extra, transaction_id=identity)  # type: ignore[arg-type]
        self.side.agent.receive_datagram(data, PATH, self.now)
        self.drain()
        return self.answers[-1]

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.side.agent.next_timeout()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.side.agent.handle_timeout(self.now)
            self.drain()
        self.now = until


def restarted() -> Stubborn:
    a, b = Side(Role.CONTROLLING, A), Side(Role.CONTROLLED, B, seed=2)
    wire = SignalledWire(a, b)
    wire.run(until=1.0)
    assert wire.agrees
    return Stubborn(b, wire.now)


def test_a_peer_that_keeps_to_our_old_description_has_a_new_pair_at_once() -> None:
    peer = restarted()
    agent = peer.side.agent
    assert peer.check(nominates=True).message_class is MessageClass.SUCCESS
    peer.wait(0.1)
    assert agent.selected_path == PATH
    assert peer.asked[-1].get(att.USERNAME) == f"{RESTARTED.ufrag}:{peer.old.ufrag}"
    assert peer.asked[-1].method is Method.BINDING
    assert agent.state in (State.CONNECTED, State.COMPLETED)
    assert NEW_PORT in agent.accepted_sources(B)


def test_it_goes_on_for_as_long_as_the_pair_is_in_use() -> None:
    peer = restarted()
    peer.check(nominates=True)
    for _ in range(40):
        peer.wait(5.0)
        assert peer.check(nominates=False).message_class is MessageClass.SUCCESS
    assert peer.side.agent.selected_path == PATH
    assert peer.side.agent.state.is_usable


def test_a_check_with_our_new_description_makes_it_an_ordinary_pair() -> None:
    peer = restarted()
    peer.check(nominates=True)
    peer.wait(0.1)
    ours = peer.side.agent.local_description
    assert ours != peer.old
    data = request(f"{ours.ufrag}:{RESTARTED.ufrag}", ours.pwd, transaction_id=b"a new check!")
    peer.side.agent.receive_datagram(data, PATH, peer.now)
    selected = peer.side.agent.selected_pair
    assert selected is not None
    assert selected.username == f"{RESTARTED.ufrag}:{ours.ufrag}"


def test_checks_that_name_a_description_which_nobody_has_told_are_of_no_generation() -> None:
    peer = restarted()
    name = f"{peer.old.ufrag}:nobody"
    data = request(name, peer.old.pwd, (att.USE_CANDIDATE, True), transaction_id=b"nobody knows")
    peer.side.agent.receive_datagram(data, PATH, peer.now)
    peer.drain()
    peer.wait(0.1)
    assert peer.side.agent.selected_path != PATH
    assert peer.side.agent.stats().dropped["check: another generation"] == 1
