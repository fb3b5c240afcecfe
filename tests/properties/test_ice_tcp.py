"""Any interleaving of opens, failures, closes, packets and time: nothing raises, and the limits of connections hold."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from ice.agent import Agent
from ice.candidate import Candidate, TcpType
from ice.config import IceConfig
from ice.description import generate_description
from ice.events import State
from ice.roles import Role
from ice.tcp import Connect, ConnectError
from ice.tcp_config import TcpConfig
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.integrity import short_term_key
from stun.machine import Release, Transmit
from stun.message import Message, MessageClass, Method, parse

LIMITS = TcpConfig(max_connecting=2, max_connections=3, max_incoming=3, incoming_timeout=3.0)
PASSIVE, SO = TransportAddress("192.0.2.1", 6000), TransportAddress("192.0.2.1", 6001)
HOSTS = ("198.51.100.2", "198.51.100.3")
KINDS = ("active", "passive", "so")

steps = st.lists(
    st.one_of(
        st.tuples(st.just("candidates"), st.sampled_from(KINDS), st.sampled_from(HOSTS), st.integers(1, 5)),
        st.tuples(st.sampled_from(("opened", "failed", "closed", "answered", "garbled")), st.integers(0, 9)),
        st.tuples(st.just("incoming"), st.sampled_from((PASSIVE, SO)), st.integers(1, 5)),
        st.tuples(st.just("checked"), st.integers(0, 9), st.booleans()),
        st.tuples(st.just("later"), st.floats(0.0, 12.0)),
        st.tuples(st.sampled_from(("end", "restart"))),
    ),
    max_size=60,
)


class Play:
    """An agent with TCP alone, and a world that does as it likes."""

    def __init__(self, role: Role) -> None:
        rng = random.Random(1)
        config = IceConfig(tcp=LIMITS)
        self.now = 0.0
        self.agent = Agent(config, role, rng=rng)
        self.peer = generate_description(config, rng)
        self.dialling: list[FiveTuple] = []
        self.open: list[FiveTuple] = []
        self.arrivals = 7000
        self.authentic: set[FiveTuple] = set()
        self.requests: list[Transmit] = []
        for kind, address in zip(TcpType, (PASSIVE._replace(port=9), PASSIVE, SO), strict=True):
            self.agent.add_tcp_base(address, kind, 0.0)
        self.agent.gather((), 0.0)
        self.agent.set_remote_description(self.peer, 0.0)
        self.drain()

    def drain(self) -> None:
        while (effect := self.agent.next_effect()) is not None:
            match effect:
                case Connect(path):
                    assert path not in self.dialling
                    assert path not in self.open
                    self.dialling.append(path)
                case Release(path):
                    known = self.dialling if path in self.dialling else self.open
                    known.remove(path)
                case Transmit(data, path) if parse(data).message_class is MessageClass.REQUEST:
                    self.requests.append(Transmit(data, path))
        while self.agent.next_event() is not None:
            pass
        connecting = Counter(path.remote.host for path in self.dialling)
        assert max(connecting.values(), default=0) <= LIMITS.max_connecting
        incoming = [path for path in self.open if path.remote.port >= 7000]
        dialled = len(self.open) - len(incoming) + len(self.dialling)
        assert dialled <= LIMITS.max_connections
        assert len(set(incoming) - self.authentic) <= LIMITS.max_incoming
        assert len(self.open) <= LIMITS.max_incoming + 2 * LIMITS.max_connections

    def do(self, step: tuple[object, ...]) -> None:
        match step:
            case "candidates", kind, host, int(count):
                for port in range(5000, 5000 + count) if kind != "active" else (9,):
                    line = f"{kind}{port} 1 tcp {port} {host} {port} typ host tcptype {kind}"
                    self.agent.add_remote_candidate(Candidate.from_sdp(line), self.now)
                self.wait(0.4)
            case "opened", int(index) if self.dialling:
                path = self.dialling.pop(index % len(self.dialling))
                self.open.append(path)
                self.agent.path_opened(path, self.now)
            case "failed", int(index) if self.dialling:
                path = self.dialling.pop(index % len(self.dialling))
                self.agent.path_failed(path, list(ConnectError)[index % 5], self.now)
            case "closed", int(index) if self.open:
                path = self.open.pop(index % len(self.open))
                self.agent.path_closed(path, self.now)
            case "incoming", TransportAddress() as base, int(count):
                for _ in range(count):
                    self.arrivals += 1
                    path = FiveTuple(base, TransportAddress(HOSTS[0], self.arrivals), TransportProtocol.TCP)
                    self.open.append(path)
                    self.agent.path_opened(path, self.now)
                    self.drain()
            case ("answered" | "garbled") as what, int(index) if self.requests:
                self.answer(self.requests.pop(index % len(self.requests)), what == "garbled")
            case "checked", int(index), bool(nominates) if self.open:
                self.check(self.open[index % len(self.open)], nominates)
            case "later", float(seconds):
                self.wait(seconds)
            case ("end",):
                self.agent.end_of_remote_candidates(self.now)
            case ("restart",) if self.agent.state not in (State.FAILED, State.CLOSED):
                self.agent.restart(self.now)
        self.drain()

    def answer(self, request: Transmit, is_garbled: bool) -> None:
        if request.path not in self.open:
            return
        mapped = TransportAddress(request.path.local.host, 40_000)
        response = parse(request.data).success((att.XOR_MAPPED_ADDRESS, mapped))
        key = short_term_key("wrong" if is_garbled else self.peer.pwd)
        self.agent.receive_datagram(response.serialize(key, fingerprint=True), request.path, self.now)

    def check(self, path: FiveTuple, nominates: bool) -> None:
        ours = self.agent.local_description
        request = Message(Method.BINDING, MessageClass.REQUEST, random.Random(len(self.open)).randbytes(12))
        request.add(att.USERNAME, f"{ours.ufrag}:{self.peer.ufrag}")
        request.add(att.PRIORITY, 7)
        controlling = self.agent.role is Role.CONTROLLED
        request.add(att.ICE_CONTROLLING if controlling else att.ICE_CONTROLLED, 5)
        if nominates and controlling:
            request.add(att.USE_CANDIDATE, True)
        data = request.serialize(short_term_key(ours.pwd), fingerprint=True)
        self.authentic.add(path)
        self.agent.receive_datagram(data, path, self.now)

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(2000):
            deadline = self.agent.next_timeout()
            if deadline is None or deadline.at > until:
                break
            self.now = max(self.now, deadline.at)
            self.agent.handle_timeout(self.now)
            self.drain()
        else:
            raise AssertionError("the agent never comes to rest")
        self.now = until


@given(st.sampled_from(list(Role)), steps)
@settings(max_examples=200, deadline=None)
def test_any_order_of_events_keeps_the_limits_and_leaves_nothing_behind(
    role: Role, steps: list[tuple[object, ...]]
) -> None:
    play = Play(role)
    for step in steps:
        play.do(step)
    play.agent.close(play.now)
    play.drain()
    assert play.open == play.dialling == [], "every connection is released, once"
    assert play.agent.next_timeout() is None
