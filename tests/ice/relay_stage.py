"""One agent, its links to fake TURN servers, and everything counted: no loop, no sockets, no other agent."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from ice.agent import Agent
from ice.candidate import Candidate
from ice.config import IceConfig, IceTransportPolicy
from ice.events import CandidateErrorFound, ErrorStage, LocalCandidateFound
from ice.relay import FetchCredentials, OpenLink, RelayTarget
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Release, Transmit
from stun.message import Message, parse
from tests.turn.fake_server import FakeServer
from turn.config import TurnServerConfig

SERVER = TransportAddress("198.51.100.1", 3478)
OTHER = TransportAddress("198.51.100.9", 3478)
LOCAL = TransportAddress("192.0.2.1", 1000)
PEER = TransportAddress("203.0.113.5", 5000)
CONFIG = TurnServerConfig(url="turn:198.51.100.1", username="maria", password="secret")
ONLY = IceConfig(turn_servers=[CONFIG], transport_policy=IceTransportPolicy.RELAY)


class Stage:
    """One agent; its links end in fake servers, and answers arrive at once."""

    def __init__(self, config: IceConfig = ONLY, **servers: Any) -> None:
        self.now = 0.0
        self.agent = Agent(config, Role.CONTROLLING, rng=random.Random(1))
        self.server = FakeServer(**servers)
        self.links: list[OpenLink] = []
        self.open: dict[FiveTuple, OpenLink] = {}
        self.released: list[FiveTuple] = []
        self.fetches: list[FetchCredentials] = []
        self.direct: list[Transmit] = []
        self.events: list[Any] = []
        self.answers = True
        self.silent: set[TransportAddress] = set()
        """Our ends of the links that nothing is answered on."""

    def ask(self, config: TurnServerConfig = CONFIG, protocol: TransportProtocol = TransportProtocol.UDP) -> None:
        self.agent.begin_gathering(self.now)
        self.agent.relays.add_server(config, RelayTarget(SERVER, protocol), self.now)
        self.agent.end_of_stun_servers(self.now)
        self.pump()

    def pump(self) -> None:
        while (effect := self.agent.next_effect()) is not None:
            match effect:
                case OpenLink(number, _, target):
                    self.links.append(effect)
                    local = TransportAddress(LOCAL.host, LOCAL.port + len(self.links))
                    path = FiveTuple(local, target.server, target.protocol)
                    self.open[path] = effect
                    self.agent.relays.link_opened(number, path, self.now)
                case Release(path):
                    self.released.append(path)
                case FetchCredentials():
                    self.fetches.append(effect)
                case Transmit(data, path) if path in self.open:
                    self._to_server(data, path)
                case Transmit():
                    self.direct.append(effect)
        while (event := self.agent.next_event()) is not None:
            self.events.append(event)

    def _to_server(self, data: bytes, path: FiveTuple) -> None:
        for answer in self.server.receive(data, path.local, self.now) if self._answers(path) else ():
            self.agent.receive_datagram(answer, path, self.now)

    def _answers(self, path: FiveTuple) -> bool:
        return self.answers and path.local not in self.silent

    def wait(self, seconds: float) -> None:
        until = self.now + seconds
        for _ in range(10_000):
            deadline = self.agent.next_timeout()
            if deadline is None or deadline.at > until:
                break
            self.now = max(self.now, deadline.at)
            self.agent.handle_timeout(self.now)
            self.pump()
        else:
            raise AssertionError("the agent never comes to rest")
        self.now = until

    def of_type(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def candidates(self) -> list[Candidate]:
        return [event.candidate for event in self.of_type(LocalCandidateFound)]

    @property
    def problems(self) -> list[tuple[int, ErrorStage]]:
        return [(event.error_code, event.stage) for event in self.of_type(CandidateErrorFound)]

    def requests(self) -> Counter[str]:
        return Counter(request.method.name for request in self.server.requests)

    def sent_to_peer(self) -> list[Message]:
        return [parse(data) for said in self.server.indications if (data := said.get(att.DATA)) is not None]

    def describe(self) -> None:
        other = Agent(IceConfig(), Role.CONTROLLED, rng=random.Random(2))
        self.agent.set_remote_description(other.local_description, self.now)
        self.pump()
