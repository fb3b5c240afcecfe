"""The Binding client against the Binding server, in a simulated network with virtual time and exact counts."""

from __future__ import annotations

import random

import pytest

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.auth import LongTermClient, ShortTermClient
from stun.auth_server import Authenticated, LongTermServer, LongTermServerConfig, StaticCredentials
from stun.binding import BindingClient, BindingFailed, FailureReason, Mapped
from stun.binding_server import BindingServer
from stun.config import BindingClientConfig, BindingServerConfig, TransactionConfig
from stun.machine import Machine, Release, Transmit
from stun.message import Message, parse
from stun.transaction import TransactionTable
from stun.values import ErrorCode
from tests.simulation import Driven, LinkProfile, World
from tests.simulation.nat_behaviour import NatBehaviour

CLIENT = TransportAddress("192.0.2.1", 1000)
SERVER = TransportAddress("198.51.100.1", 3478)
PATH = FiveTuple(CLIENT, SERVER)
STREAM = PATH._replace(protocol=TransportProtocol.TCP)


def a_client(**settings: object) -> BindingClient:
    return BindingClient(random.Random(7), BindingClientConfig(**settings))  # type: ignore[arg-type]


def sent(client: BindingClient) -> Message:
    effect = client.next_effect()
    assert isinstance(effect, Transmit)
    return parse(effect.data)


def test_one_request_one_response() -> None:
    world = World()
    client = Driven(world.host("client", world.internet, "203.0.113.1", link=LinkProfile(latency=0.05)), a_client())
    config = BindingServerConfig(software="a server")
    server = Driven(world.host("server", world.internet, "203.0.113.2"), BindingServer(config))
    path = FiveTuple(client.bind(port=5000), server.bind(port=3478))
    client.machine.request(path, world.now)
    client.pump()
    world.run()
    [event] = client.events
    assert event == Mapped(path, TransportAddress("203.0.113.1", 5000), event.round_trip, "a server")
    assert event.round_trip == pytest.approx(0.1)
    assert (client.sent, client.received, server.sent, server.received) == (1, 1, 1, 1)
    assert server.machine.stats.responses == 1


def test_behind_a_nat_the_address_is_the_nats() -> None:
    world = World()
    nat = world.nat(NatBehaviour(), "203.0.113.9")
    client = Driven(world.host("client", nat.inside, "10.0.0.2"), a_client())
    server = Driven(world.host("server", world.internet, "203.0.113.2"), BindingServer())
    client.machine.request(FiveTuple(client.bind(), server.bind(port=3478)), world.now)
    client.pump()
    world.run(stop=lambda: bool(client.events))
    (event,) = client.of_type(Mapped)
    assert event.address.host == "203.0.113.9"


def test_over_a_lossy_link_it_gets_through() -> None:
    for seed in range(10):
        world = World(seed)
        link = LinkProfile.lossy(0.3)
        client = Driven(world.host("client", world.internet, "203.0.113.1", link=link), a_client())
        server = Driven(world.host("server", world.internet, "203.0.113.2"), BindingServer())
        client.machine.request(FiveTuple(client.bind(), server.bind(port=3478)), world.now)
        client.pump()
        world.run(until=45.0)
        assert len(client.events) == len(client.of_type(Mapped)) == 1


def test_a_dead_server_is_given_up_on_schedule() -> None:
    world = World()
    client = Driven(world.host("client", world.internet, "203.0.113.1"), a_client())
    path = FiveTuple(client.bind(), TransportAddress("203.0.113.77", 3478))
    client.machine.request(path, world.now)
    client.pump()
    world.run(until=39.49)
    assert (client.sent, client.events) == (7, [])
    world.run(until=39.5)
    assert client.events == [BindingFailed(path, FailureReason.TIMEOUT)]
    assert client.machine.next_timeout() is None


def test_it_carries_what_the_configuration_says() -> None:
    client = a_client(software="me", fingerprint=False)
    client.request(PATH, 0.0)
    request = sent(client)
    assert request.attributes == [(att.SOFTWARE, "me")]
    assert not request.has_fingerprint
    plain = a_client()
    plain.request(PATH, 0.0)
    assert sent(plain).has_fingerprint


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ([(att.MAPPED_ADDRESS, SERVER)], SERVER),
        ([(att.MAPPED_ADDRESS, CLIENT), (att.XOR_MAPPED_ADDRESS, SERVER)], SERVER),
        ([], FailureReason.MALFORMED),
        ([(att.XOR_MAPPED_ADDRESS, SERVER), (att.unknown_attribute(0x7FFF), b"")], FailureReason.MALFORMED),
        ([(att.XOR_MAPPED_ADDRESS, SERVER), (att.unknown_attribute(0xFFFF), b"")], SERVER),
    ],
)
def test_what_a_success_may_hold(attributes: list, expected: object) -> None:  # type: ignore[type-arg]
    client = a_client()
    client.request(PATH, 0.0)
    client.receive_datagram(sent(client).success(*attributes).serialize(), PATH, 0.1)
    event = client.next_event()
    assert (event.address if isinstance(event, Mapped) else event.reason) == expected  # type: ignore[union-attr]
    assert client.next_timeout() is None


def test_error_responses() -> None:
    client = a_client()
    client.request(PATH, 0.0)
    request = sent(client)
    client.receive_datagram(request.failure(500, "Server Error").serialize(), PATH, 0.1)
    assert client.next_event() == BindingFailed(PATH, FailureReason.ERROR_RESPONSE, ErrorCode(500, "Server Error"))
    # A second copy is no answer to anything.
    client.receive_datagram(request.failure(500, "Server Error").serialize(), PATH, 0.2)
    assert client.next_event() is None
    assert client.dropped == 1


def test_what_is_no_response_is_dropped() -> None:
    client = a_client()
    client.request(PATH, 0.0)
    request = sent(client)
    good = request.success((att.XOR_MAPPED_ADDRESS, CLIENT)).serialize()
    client.receive_datagram(b"garbage", PATH, 0.1)
    client.receive_datagram(good[:-1], PATH, 0.1)
    client.receive_datagram(request.serialize(), PATH, 0.1)
    client.receive_datagram(good, PATH._replace(remote=TransportAddress("198.51.100.9", 3478)), 0.1)
    assert (client.next_event(), client.dropped) == (None, 4)
    client.receive_datagram(good, PATH, 0.1)
    assert isinstance(client.next_event(), Mapped)


def test_over_a_stream() -> None:
    client = a_client()
    with pytest.raises(ValueError, match="not open"):
        client.request(STREAM, 0.0)
    client.path_opened(STREAM, 0.0)
    client.request(STREAM, 0.0)
    good = sent(client).success((att.XOR_MAPPED_ADDRESS, CLIENT)).serialize()
    for at in range(len(good)):
        client.receive_data(good[at : at + 1], STREAM, 0.1)
    event = client.next_event()
    assert isinstance(event, Mapped)
    assert event == Mapped(STREAM, CLIENT, event.round_trip, None)
    assert event.round_trip == pytest.approx(0.1)


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 400 Bad Request\r\n"])
def test_a_stream_that_ends_or_breaks_fails_what_was_asked(data: bytes) -> None:
    client = a_client()
    client.path_opened(STREAM, 0.0)
    client.request(STREAM, 0.0)
    sent(client)
    client.receive_data(data, STREAM, 0.1)
    assert client.next_event() == BindingFailed(STREAM, FailureReason.CLOSED)
    assert client.next_effect() == Release(STREAM)
    client.receive_data(b"more", STREAM, 0.2)
    client.path_closed(STREAM, 0.2)
    assert client.next_event() is None


def test_short_term_responses_have_to_be_signed() -> None:
    client = BindingClient(random.Random(1), authenticator=ShortTermClient("user", "secret"))
    client.request(PATH, 0.0)
    request = sent(client)
    assert request.get(att.USERNAME) == "user"
    unsigned = request.success((att.XOR_MAPPED_ADDRESS, SERVER))
    client.receive_datagram(unsigned.serialize(), PATH, 0.1)
    client.receive_datagram(unsigned.serialize(b"guess"), PATH, 0.1)
    assert client.next_event() is None
    client.receive_datagram(unsigned.serialize(b"secret"), PATH, 0.1)
    assert isinstance(client.next_event(), Mapped)


def test_only_wrong_signatures_are_an_integrity_violation_and_no_timeout() -> None:
    quick = TransactionConfig(initial_rto=0.5, sends=1, last_wait=1)
    config = BindingClientConfig(transaction=quick)
    client = BindingClient(random.Random(1), config, ShortTermClient("user", "secret"))
    client.request(PATH, 0.0)
    client.receive_datagram(sent(client).success().serialize(b"guess"), PATH, 0.1)
    client.handle_timeout(0.5)
    assert client.next_event() == BindingFailed(PATH, FailureReason.INTEGRITY_VIOLATED)


def test_on_a_stream_a_wrong_signature_ends_it_at_once() -> None:
    client = BindingClient(random.Random(1), authenticator=ShortTermClient("user", "secret"))
    client.path_opened(STREAM, 0.0)
    client.request(STREAM, 0.0)
    client.receive_data(sent(client).success().serialize(b"guess"), STREAM, 0.1)
    assert client.next_event() == BindingFailed(STREAM, FailureReason.INTEGRITY_VIOLATED)


def converse(client: BindingClient, server: LongTermServer, now: float = 1.0) -> list[Message]:
    """Let the client ask until it is done; return its requests."""
    requests = []
    client.request(PATH, now)
    while (effect := client.next_effect()) is not None:
        assert isinstance(effect, Transmit)
        request = parse(effect.data)
        requests.append(request)
        verdict = server.check(request, CLIENT, now)
        if isinstance(verdict, Authenticated):
            client.receive_datagram(verdict.sign(request.success((att.XOR_MAPPED_ADDRESS, CLIENT))), PATH, now)
        else:
            assert verdict.response is not None
            client.receive_datagram(verdict.response.serialize(), PATH, now)
    return requests


def test_a_long_term_conversation() -> None:
    config = LongTermServerConfig(realm="example.org")
    server = LongTermServer(config, StaticCredentials("example.org", {"user": "pass"}), random.Random(3))
    client = BindingClient(random.Random(1), authenticator=LongTermClient("user", "pass"))
    assert len(converse(client, server)) == 2
    assert isinstance(client.next_event(), Mapped)
    # The challenge is remembered: the next question takes one request.
    assert len(converse(client, server)) == 1
    assert isinstance(client.next_event(), Mapped)
    # Until the nonce is stale: two.
    assert len(converse(client, server, now=1000.0)) == 2
    assert isinstance(client.next_event(), Mapped)


def test_wrong_passwords_are_refused_without_a_loop() -> None:
    config = LongTermServerConfig(realm="example.org")
    server = LongTermServer(config, StaticCredentials("example.org", {"user": "pass"}), random.Random(3))
    client = BindingClient(random.Random(1), authenticator=LongTermClient("user", "wrong"))
    assert len(converse(client, server)) == 2
    event = client.next_event()
    assert isinstance(event, BindingFailed)
    assert (event.reason, event.error and event.error.code) == (FailureReason.REFUSED, 401)


def test_what_a_challenge_may_hold() -> None:
    """Section 6.3.4: an error response with a comprehension-required attribute that we do not know ends it."""
    for extra, reason in ((0x7FFE, FailureReason.MALFORMED), (0xFFFE, None)):
        client = BindingClient(random.Random(1), authenticator=LongTermClient("user", "pass"))
        client.request(PATH, 0.0)
        response = sent(client).failure(401, "", (att.REALM, "r"), (att.NONCE, b"n"))
        client.receive_datagram(response.add(att.unknown_attribute(extra), b"x").serialize(), PATH, 0.1)
        event = client.next_event()
        assert (event and event.reason) is reason  # type: ignore[union-attr]
        assert (client.next_effect() is None) is (reason is not None)


def test_no_challenge_makes_the_client_raise() -> None:
    client = BindingClient(random.Random(1), authenticator=LongTermClient("user", "pass"))
    client.request(PATH, 0.0)
    response = sent(client).failure(401, "", (att.NONCE, b"n"))
    client.receive_datagram(response.add(att.unknown_attribute(att.REALM.code), b"r" * 700).serialize(), PATH, 0.1)
    assert client.next_event() == BindingFailed(PATH, FailureReason.REFUSED, ErrorCode(401, ""))


def test_several_transactions_share_a_connection() -> None:
    client = a_client()
    client.path_opened(STREAM, 0.0)
    client.request(STREAM, 0.0)
    client.request(STREAM, 0.0)
    first, second = sent(client), sent(client)
    for request in (second, first):
        client.receive_data(request.success((att.XOR_MAPPED_ADDRESS, CLIENT)).serialize(), STREAM, 0.1)
    assert [isinstance(client.next_event(), Mapped) for _ in range(2)] == [True, True]
    # It stays open: closing it is for its owner, who knows whether the mapping is of use (section 6.2.2).
    assert client.next_effect() is None
    client.request(STREAM, 1.0)
    assert sent(client)


def test_a_server_that_finds_every_nonce_stale_is_left() -> None:
    client = BindingClient(random.Random(1), authenticator=LongTermClient("user", "pass"))
    client.request(PATH, 0.0)
    count = 0
    while (effect := client.next_effect()) is not None:
        assert isinstance(effect, Transmit)
        count += 1
        nonce = f"nonce {count}".encode()
        stale = parse(effect.data).failure(438, "Stale Nonce", (att.REALM, "r"), (att.NONCE, nonce))
        client.receive_datagram(stale.serialize(), PATH, 0.0)
    event = client.next_event()
    assert isinstance(event, BindingFailed)
    assert event.reason is FailureReason.REFUSED
    assert count == 6


def test_it_is_a_machine() -> None:
    machine: Machine[object, object] = a_client()
    machine.handle_timeout(0.0)
    assert machine.next_effect() is machine.next_event() is machine.next_timeout() is None
    assert len(TransactionTable[str]()) == 0
