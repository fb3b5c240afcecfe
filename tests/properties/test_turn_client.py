"""Properties of the TURN client: junk never raises, and a server that answers late, never, twice, in any order or with
errors leaves it in a state that makes sense."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stun.machine import Release, Transmit
from stun.message import Method, parse
from tests.properties import targets_turn_client as targets
from tests.turn.fake_server import CLIENT, PATH, PEER, FakeServer, Refusal, data_indication
from turn.allocation import AllocationState
from turn.client import TurnClient
from turn.config import TurnClientConfig, TurnServerConfig
from turn.errors import TurnError
from turn.events import Allocated, AllocationFailed, AllocationLost, Closed, PermissionFailed, PermissionGranted

CODES = [300, 400, 401, 403, 405, 420, 437, 438, 440, 441, 442, 443, 446, 447, 486, 500, 508, 599, 699]
HOSTS = ["203.0.113.5", "203.0.113.6", "2001:db8::6"]


@given(st.binary(max_size=600))
@example(b"\xff" + data_indication(PEER, b"x"))
@example(bytes([5, 0x40, 0, 0, 1, 120]))
def test_any_datagrams(data: bytes) -> None:
    targets.fuzz_turn_client(data)


@given(st.binary(max_size=600))
@example(b"\x01\xff")
@example(bytes([1, 0x40, 1, 0, 1, 0, 1, 0]))
def test_any_stream(data: bytes) -> None:
    targets.fuzz_turn_client_stream(data)


@given(st.binary(max_size=12))
@example(b"")
@example(b"\x01\x10")
def test_damaged_responses(data: bytes) -> None:
    targets.fuzz_turn_client_responses(data)


@given(st.integers(0, 255), st.binary(max_size=8))
def test_captured_answers_damaged(which: int, damage: bytes) -> None:
    targets.fuzz_turn_client_captures(bytes([which]) + damage)


@pytest.mark.parametrize("number", range(len(targets.CAPTURES)))
def test_captured_answers(number: int) -> None:
    capture = targets.CAPTURES[number]
    targets.fuzz_turn_client_captures(bytes([number]))
    targets.fuzz_turn_client(b"".join(bytes([min(len(capture), 255)]) + capture[:255] for capture in targets.CAPTURES))
    if capture[0] < 0x40:
        message = parse(capture)
        assert not message.unknown_required(), "we know everything that coturn sends"


@given(st.binary(max_size=200))
def test_any_start_of_a_data_connection(data: bytes) -> None:
    targets.fuzz_turn_data_connection(data)


@dataclass
class Chaos:
    """A client and a server with a network between them that delays, loses, doubles and reorders."""

    rng: random.Random
    server: FakeServer = field(default_factory=lambda: FakeServer(nonce_lifetime=200.0))
    now: float = 0.0
    outstanding: int = 0

    def __post_init__(self) -> None:
        config = TurnServerConfig(
            url="turn:h",
            username="maria",
            password="secret",
            families=(4, 6),
            mobility=True,
            client=TurnClientConfig(channel_after=2),
        )
        self.client = TurnClient(config, PATH, random.Random(self.rng.random()))
        self.events: list[object] = []
        self.flying: list[tuple[bytes, object]] = []
        self.client.start(self.now)

    def drain(self) -> None:
        while (effect := self.client.next_effect()) is not None:
            if isinstance(effect, Release):
                continue
            assert isinstance(effect, Transmit)
            for _ in range(self.rng.choice((0, 1, 1, 1, 2))):
                for reply in self.server.receive(effect.data, effect.path.local, self.now):
                    self.flying.append((reply, effect.path))
        while (event := self.client.next_event()) is not None:
            self.events.append(event)
        while self.client.next_data() is not None:
            pass

    def deliver(self) -> None:
        self.rng.shuffle(self.flying)
        for _ in range(self.rng.randint(0, len(self.flying))):
            data, path = self.flying.pop()
            self.client.receive_datagram(data, path, self.now)  # type: ignore[arg-type]
            self.drain()

    def advance(self, seconds: float) -> None:
        until = self.now + seconds
        while (deadline := self.client.next_timeout()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.client.handle_timeout(self.now)
            self.drain()
            if self.rng.random() < 0.5:
                self.deliver()
        self.now = until

    def act(self, step: int) -> None:
        client, rng = self.client, self.rng
        host = rng.choice(HOSTS)
        peer = PEER._replace(host=host)
        match step % 10:
            case 0:
                client.create_permission([host], self.now)
            case 1:
                client.drop_permission(host, self.now)
            case 2:
                client.bind_channel(peer, self.now)
            case 3:
                client.release_channel(peer, self.now)
            case 4 | 5:
                client.send(peer, b"data", self.now)
            case 6:
                method = rng.choice(targets.METHODS)
                self.server.refuse(method, Refusal(rng.choice(CODES), signed=rng.random() < 0.9))
            case 7:
                client.receive_datagram(data_indication(peer, b"x"), client.path, self.now)
            case 8:
                try:
                    client.move(PATH._replace(local=CLIENT._replace(port=rng.randint(1, 9))), self.now)
                except ValueError:
                    pass  # no ticket, or a move is under way
            case 9:
                self.advance(rng.choice((0.1, 1.0, 60.0, 300.0)))
        self.drain()
        self.deliver()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 9), max_size=60))
def test_a_server_and_a_network_that_do_what_they_like(seed: int, steps: list[int]) -> None:
    chaos = Chaos(random.Random(seed))
    chaos.drain()
    for step in steps:
        chaos.act(step)
        check(chaos)
    chaos.advance(1500.0)
    check(chaos)
    chaos.client.close(chaos.now)
    chaos.drain()
    chaos.advance(100.0)
    check(chaos)
    client = chaos.client
    assert client.state is AllocationState.DEAD
    assert client.next_timeout() is None
    assert client.next_effect() is None
    assert client.encode(PEER, b"x") is None
    ends = [event for event in chaos.events if isinstance(event, AllocationFailed | AllocationLost | Closed)]
    assert len(ends) == 1
    assert chaos.events[-1] is ends[0], "nothing is told after the end"


def check(chaos: Chaos) -> None:
    """What always holds."""
    told = [type(event) for event in chaos.events]
    assert told.count(Allocated) <= 1
    if AllocationLost in told:
        assert told.index(Allocated) < told.index(AllocationLost)
    assert not (Allocated in told and AllocationFailed in told)
    for event in chaos.events:
        error = getattr(event, "error", None)
        assert error is None or (isinstance(error, TurnError) and "turn:h" in error.server)
    granted = {event.host for event in chaos.events if isinstance(event, PermissionGranted)}
    refused = {event.host for event in chaos.events if isinstance(event, PermissionFailed)}
    for host in HOSTS:
        if chaos.client.encode(PEER._replace(host=host), b"x") is not None:
            assert host in granted, "nothing goes to a peer that the server has not permitted"
    assert granted <= set(HOSTS)
    assert refused <= set(HOSTS)


def test_every_signed_request_that_is_sent_again_is_a_new_transaction() -> None:
    server = FakeServer(nonce_lifetime=10.0)
    chaos = Chaos(random.Random(4), server)
    seen: set[bytes] = set()
    honest = server.receive

    def receive(data: bytes, *rest: object) -> list[bytes]:
        if data[0] < 0x40:
            message = parse(data)
            if message.method is not Method.SEND:
                assert message.transaction_id not in seen or data in wires
                seen.add(message.transaction_id)
                wires.add(data)
        return honest(data, *rest)  # type: ignore[arg-type]

    wires: set[bytes] = set()
    server.receive = receive  # type: ignore[method-assign,assignment]
    chaos.drain()
    for _ in range(30):
        chaos.act(0)
        chaos.advance(20.0)
    assert len(seen) > 5
