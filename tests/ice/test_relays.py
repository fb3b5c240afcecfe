"""Agents with TURN servers, stepped and counted message by message: no loop, no sockets, streams fed by hand."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from ice.agent import Agent
from ice.candidate import Candidate, CandidateType
from ice.config import IceConfig, IceTransportPolicy
from ice.errors import FailureReason, IceError
from ice.events import CandidateErrorFound, ErrorStage, GatheringCompleted, LocalCandidateFound, State
from ice.relay import FetchCredentials, OpenLink, RelayState, RelayTarget
from ice.roles import Role
from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.machine import Release, Transmit
from stun.message import Message, MessageClass, Method, parse
from tests.ice.builders import remote
from tests.turn.fake_server import FakeServer, Refusal, data_indication
from turn.config import Credentials, TurnServerConfig
from turn.errors import TurnResolveError, TurnTlsError

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
                    for answer in self.server.receive(data, path.local, self.now) if self.answers else ():
                        self.agent.receive_datagram(answer, path, self.now)
                case Transmit():
                    self.direct.append(effect)
        while (event := self.agent.next_event()) is not None:
            self.events.append(event)

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


def test_two_requests_make_a_candidate() -> None:
    stage = Stage()
    stage.ask()
    assert stage.requests() == {"ALLOCATE": 2}  # the challenge, and the answer to it
    [candidate] = stage.candidates
    assert candidate.type is CandidateType.RELAYED
    assert candidate.address == candidate.base == ("198.51.100.1", 50000)
    assert candidate.priority == (65535 << 8) + 255
    assert candidate.to_sdp().endswith("typ relay raddr 0.0.0.0 rport 9")
    assert len(stage.of_type(GatheringCompleted)) == 1
    assert not stage.direct


def test_the_mapped_address_is_the_related_one_where_addresses_may_be_shown() -> None:
    stage = Stage(IceConfig(turn_servers=[CONFIG]))
    stage.ask()
    assert stage.candidates[0].related_address == ("192.0.2.1", 1001)
    hidden = Stage(IceConfig(turn_servers=[CONFIG], announce_host_candidates=False))
    hidden.ask()
    assert hidden.candidates[0].related_address == ("0.0.0.0", 9)


def test_permission_is_there_before_the_first_check() -> None:
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    methods = [request.method for request in stage.server.requests]
    assert methods == [Method.ALLOCATE, Method.ALLOCATE, Method.CREATE_PERMISSION]
    assert stage.server.requests[-1].get(att.XOR_PEER_ADDRESS) == ("198.51.100.7", 0)
    [check] = stage.sent_to_peer()
    assert (check.method, check.message_class) == (Method.BINDING, MessageClass.REQUEST)
    assert not stage.direct


def test_no_check_without_permission() -> None:
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.server.refuse(Method.CREATE_PERMISSION, 403)
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    stage.wait(5.0)
    assert not stage.sent_to_peer()
    assert len(stage.agent.stats().pairs) == 0
    assert stage.problems == [(403, ErrorStage.PERMISSION)]


def test_candidates_known_before_the_allocation_share_one_permission_request() -> None:
    stage = Stage()
    stage.describe()
    for number in range(1, 6):
        stage.agent.add_remote_candidate(remote(number), stage.now)
    stage.ask()
    assert stage.requests() == {"ALLOCATE": 2, "CREATE_PERMISSION": 1}
    assert len(stage.agent.stats().pairs) == 5


def test_loopback_and_another_family_are_no_peers() -> None:
    stage = Stage(IceConfig(turn_servers=[CONFIG], transport_policy=IceTransportPolicy.RELAY, include_loopback=True))
    stage.ask()
    stage.describe()
    for host in ("127.0.0.1", "2001:db8::7"):
        there = Candidate("R", 1, "udp", 5, TransportAddress(host, 9), CandidateType.HOST)
        stage.agent.add_remote_candidate(there, stage.now)
    stage.pump()
    assert stage.requests() == {"ALLOCATE": 2}
    assert not stage.problems


def test_over_a_stream() -> None:
    stage = Stage()
    stage.ask(protocol=TransportProtocol.TCP)
    [candidate] = stage.candidates
    assert candidate.transport == "udp"
    assert candidate.priority < (65535 << 8)
    [path] = stage.open
    stage.agent.relays.receive(b"", path, stage.now)
    stage.pump()
    assert stage.released == [path]
    assert stage.problems == [(701, ErrorStage.RELAYING)]


def test_datagrams_to_the_server_are_preferred_to_streams() -> None:
    found = {}
    for protocol in TransportProtocol:
        stage = Stage()
        stage.ask(protocol=protocol)
        found[protocol] = stage.candidates[0].priority
    assert sorted(found, key=found.__getitem__, reverse=True) == ["udp", "dtls", "tcp", "tls"]
    assert len(set(found.values())) == 4


@pytest.mark.parametrize("code", [401, 403, 440, 442, 486, 500, 508])
def test_what_the_server_refuses_is_told_by_its_code(code: int) -> None:
    stage = Stage()
    # The first answer is the challenge; a 401 after it is the verdict.
    stage.server.refuse(Method.ALLOCATE, *[code] * 8)
    stage.ask()
    stage.wait(10.0)
    assert stage.problems == [(code, ErrorStage.GATHERING)]
    [problem] = stage.of_type(CandidateErrorFound)
    assert str(code) in problem.error_text
    assert "turn:198.51.100.1" in problem.error_text
    assert not stage.candidates
    assert len(stage.of_type(GatheringCompleted)) == 1
    assert stage.agent.relays.is_idle
    assert stage.agent.stats().relays[0].state is RelayState.FAILED
    assert stage.agent.next_timeout() is None


def test_an_old_allocation_in_the_way_is_gone_round_from_another_port() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, 437, 437)
    stage.ask()
    assert len(stage.links) == 3
    assert len(stage.released) == 2
    assert len(stage.candidates) == 1
    assert not stage.problems


def test_it_is_gone_round_three_times_at_most() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, *[437] * 9)
    stage.ask()
    assert len(stage.links) == 4
    assert stage.problems == [(437, ErrorStage.GATHERING)]


def test_a_redirect_is_followed_and_not_in_circles() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, Refusal(300, [(att.ALTERNATE_SERVER, OTHER)]))
    stage.ask()
    assert [link.target.server for link in stage.links] == [SERVER, OTHER]
    assert len(stage.candidates) == 1
    round_trip = Stage()
    for back in (OTHER, SERVER, OTHER):
        round_trip.server.refuse(Method.ALLOCATE, Refusal(300, [(att.ALTERNATE_SERVER, back)]))
    round_trip.ask()
    assert [link.target.server for link in round_trip.links] == [SERVER, OTHER]
    assert round_trip.problems == [(300, ErrorStage.GATHERING)]


def test_servers_that_cannot_be_asked() -> None:
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    stage.agent.relays.server_failed(CONFIG, TurnResolveError("no such name", server=CONFIG.url), 0.0)
    stage.agent.relays.add_server(CONFIG, RelayTarget(SERVER, TransportProtocol.TLS), 0.0)
    effect = stage.agent.next_effect()
    assert isinstance(effect, OpenLink)
    assert not stage.of_type(GatheringCompleted)
    stage.agent.relays.link_failed(effect.number, TurnTlsError("self-signed", server=CONFIG.url), 0.1)
    stage.agent.end_of_stun_servers(0.1)
    stage.pump()
    assert stage.problems == [(701, ErrorStage.GATHERING)] * 2
    assert len(stage.of_type(GatheringCompleted)) == 1


def test_the_number_of_relays_is_limited() -> None:
    stage = Stage(IceConfig(turn_servers=[CONFIG], max_relays=2))
    for _ in range(3):
        stage.ask()
    assert len(stage.links) == 2
    assert stage.problems == [(701, ErrorStage.GATHERING)]


def test_a_silent_server_is_given_up_and_what_it_says_later_is_given_back() -> None:
    stage = Stage()
    stage.answers = False
    stage.ask()
    stage.wait(ONLY.gathering_timeout + 0.01)
    assert stage.problems == [(701, ErrorStage.GATHERING)]
    assert len(stage.of_type(GatheringCompleted)) == 1
    stage.wait(2.0)
    assert stage.agent.relays.is_idle
    assert len(stage.released) == 1
    assert stage.agent.next_timeout() is None


def test_once_one_relays_the_others_get_a_grace() -> None:
    stage = Stage()
    stage.ask()
    assert len(stage.candidates) == 1
    assert stage.agent.relays.is_gathering is False
    late = Stage(IceConfig(turn_servers=[CONFIG, CONFIG]))
    late.agent.begin_gathering(0.0)
    late.agent.relays.add_server(CONFIG, RelayTarget(SERVER, TransportProtocol.UDP), 0.0)
    late.agent.relays.add_server(CONFIG, RelayTarget(OTHER, TransportProtocol.TCP), 0.0)
    first, second = late.agent.next_effect(), late.agent.next_effect()
    assert isinstance(first, OpenLink)
    assert isinstance(second, OpenLink)
    late.agent.end_of_stun_servers(0.0)
    path = FiveTuple(LOCAL, SERVER)
    late.open[path] = first
    late.agent.relays.link_opened(first.number, path, 0.0)
    late.pump()
    late.wait(0.49)
    assert not late.of_type(GatheringCompleted)
    late.wait(0.02)
    assert len(late.of_type(GatheringCompleted)) == 1
    assert late.problems == [(701, ErrorStage.GATHERING)]


def test_credentials_are_fetched_when_the_server_refuses_the_old_ones() -> None:
    async def fetch() -> Credentials:
        raise AssertionError("the core fetches nothing")

    config = TurnServerConfig(url="turn:198.51.100.1", credentials=fetch)
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    target = RelayTarget(SERVER, TransportProtocol.UDP)
    stage.agent.relays.add_server(config, target, 0.0, Credentials("maria", "old"))
    stage.pump()
    assert [fetched.number for fetched in stage.fetches] == [0]
    stage.agent.relays.renew(0, Credentials("maria", "secret"), 0.0)
    stage.pump()
    assert len(stage.candidates) == 1


def test_closing_gives_the_allocation_back_with_one_message() -> None:
    stage = Stage()
    stage.ask()
    before = len(stage.server.requests)
    stage.agent.close(stage.now)
    stage.pump()
    [refresh] = stage.server.requests[before:]
    assert (refresh.method, refresh.get(att.LIFETIME)) == (Method.REFRESH, 0)
    assert len(stage.released) == 1
    assert stage.agent.relays.is_idle
    assert stage.agent.next_timeout() is None
    stage.agent.close(stage.now)
    assert stage.agent.next_effect() is None


def test_closing_while_the_link_opens() -> None:
    stage = Stage()
    stage.agent.begin_gathering(0.0)
    stage.agent.relays.add_server(CONFIG, RelayTarget(SERVER, TransportProtocol.TCP), 0.0)
    effect = stage.agent.next_effect()
    assert isinstance(effect, OpenLink)
    stage.agent.close(0.1)
    path = FiveTuple(LOCAL, SERVER, TransportProtocol.TCP)
    stage.agent.relays.link_opened(effect.number, path, 0.2)
    assert stage.agent.next_effect() == Release(path)
    assert stage.agent.relays.is_idle


def test_data_of_somebody_who_has_not_authenticated_is_dropped() -> None:
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    [path] = stage.open
    there = TransportAddress("198.51.100.7", 2000)
    stage.agent.receive_datagram(data_indication(there, b"\x80data"), path, stage.now)
    stage.agent.receive_datagram(data_indication(PEER, b"\x80data"), path, stage.now)
    assert stage.agent.next_data() is None
    assert stage.agent.stats().dropped["relayed: not from the peer"] == 1


def test_a_flood_of_relayed_stun_in_one_chunk_is_taken_one_by_one() -> None:
    stage = Stage()
    stage.ask(protocol=TransportProtocol.TCP)
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    [path] = stage.open
    noise = Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).serialize(fingerprint=True)
    flood = data_indication(TransportAddress("198.51.100.7", 2000), noise) * 1000
    stage.agent.relays.receive(flood, path, stage.now)
    assert stage.agent.stats().dropped["check: refused"] == 1000


def test_whatever_a_server_sends_nothing_raises() -> None:
    rng = random.Random(3)
    stage = Stage()
    stage.ask()
    stage.describe()
    stage.agent.add_remote_candidate(remote(7), stage.now)
    stage.pump()
    [path] = stage.open
    there = TransportAddress("198.51.100.7", 2000)
    seeds = [request.serialize() for request in stage.server.requests] + [data_indication(there, b"\x00\x01" * 20)]
    for _ in range(2000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        stage.agent.receive_datagram(bytes(data[: rng.randrange(len(data) + 1)]), path, stage.now)
        stage.pump()
    assert stage.agent.state is State.CHECKING


def test_relay_only_has_no_bases_and_needs_a_server() -> None:
    stage = Stage()
    with pytest.raises(IceError, match="relayed"):
        stage.agent.add_local_base(LOCAL, 0.0)
    with pytest.raises(ValueError, match="TURN"):
        IceConfig(transport_policy=IceTransportPolicy.RELAY)


def test_a_failure_tells_why_there_is_no_relay() -> None:
    stage = Stage()
    stage.server.refuse(Method.ALLOCATE, *[486] * 3)
    stage.ask()
    stage.describe()
    stage.agent.end_of_remote_candidates(stage.now)
    assert stage.agent.failure_detail == ""
    stage.wait(45.0)
    assert stage.agent.failure_reason is FailureReason.NO_CANDIDATE_PAIRS
    assert "486" in stage.agent.failure_detail
