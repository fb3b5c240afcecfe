from __future__ import annotations

from collections import Counter

import pytest

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.binding_server import BindingServer
from stun.config import BindingServerConfig
from stun.machine import Deadline, Release, Transmit
from stun.message import Message, MessageClass, Method, parse, parse_classic
from stun.values import ChangeRequest, ErrorCode

HERE = TransportAddress("198.51.100.1", 3478)
PATH = FiveTuple(HERE, TransportAddress("192.0.2.1", 1000))
PATH6 = FiveTuple(TransportAddress("2001:db8::1", 3478), TransportAddress("2001:db8::2", 1000))
REQUEST = Message(Method.BINDING, MessageClass.REQUEST, bytes(range(12)))


def stream(number: int = 1, host: str = "192.0.2.1") -> FiveTuple:
    return FiveTuple(HERE, TransportAddress(host, number), TransportProtocol.TCP)


def a_server(**settings: object) -> BindingServer:
    return BindingServer(BindingServerConfig(**settings))  # type: ignore[arg-type]


def answers(server: BindingServer) -> list[Transmit | Release]:
    found = []
    while (effect := server.next_effect()) is not None:
        found.append(effect)
    return found


def answer(server: BindingServer, data: bytes, path: FiveTuple = PATH, now: float = 0.0) -> bytes | None:
    server.receive_datagram(data, path, now)
    effects = answers(server)
    if not effects:
        return None
    (effect,) = effects
    assert isinstance(effect, Transmit)
    assert effect.path == path
    return effect.data


@pytest.mark.parametrize("path", [PATH, PATH6])
def test_the_reflexive_address(path: FiveTuple) -> None:
    data = answer(a_server(), REQUEST.serialize(), path)
    assert data == REQUEST.success((att.XOR_MAPPED_ADDRESS, path.remote)).serialize()


def test_retransmissions_have_the_same_response() -> None:
    server = a_server()
    first = answer(server, REQUEST.serialize())
    assert first is not None
    assert [answer(server, REQUEST.serialize()) for _ in range(3)] == [first] * 3


def test_fingerprint_is_answered_with_fingerprint() -> None:
    asked = REQUEST.serialize(fingerprint=True)
    response = answer(a_server(), asked)
    assert response is not None
    assert parse(response).has_fingerprint
    without = answer(a_server(fingerprint=False), asked)
    assert without is not None
    assert not parse(without).has_fingerprint


def test_unknown_attributes_are_named() -> None:
    server = a_server(software="name")
    odd = Message(Method.BINDING, MessageClass.REQUEST, bytes(12))
    odd.add(att.unknown_attribute(0x7FFE), b"x").add(att.CHANGE_REQUEST, ChangeRequest()).add(att.SOFTWARE, "x")
    response = answer(server, odd.serialize())
    assert response is not None
    error = parse(response)
    assert error.message_class is MessageClass.ERROR
    assert error.error == ErrorCode(420, "Unknown Attribute")
    assert error.get(att.UNKNOWN_ATTRIBUTES) == (0x7FFE, 0x0003)
    assert error.get(att.SOFTWARE) == "name"
    assert server.stats.errors == 1


def test_known_but_unexpected_and_optional_attributes_are_ignored() -> None:
    request = Message(Method.BINDING, MessageClass.REQUEST, bytes(12))
    request.add(att.PRIORITY, 1).add(att.USERNAME, "a:b").add(att.unknown_attribute(0xFFFE), b"x")
    response = answer(a_server(), request.serialize(b"key"))
    assert response is not None
    assert parse(response).message_class is MessageClass.SUCCESS


def test_rfc_3489_clients() -> None:
    request = Message(Method.BINDING, MessageClass.REQUEST, bytes(range(50, 66)))
    response = answer(a_server(), request.serialize())
    assert response is not None
    message = parse_classic(response)
    assert message.transaction_id == request.transaction_id
    assert message.attributes == [(att.MAPPED_ADDRESS, PATH.remote)]
    assert answer(a_server(classic=False), request.serialize()) is None


def test_rfc_3489_is_not_spoken_over_dtls() -> None:
    server = a_server()
    path = PATH._replace(protocol=TransportProtocol.DTLS)
    server.path_opened(path, 0.0)
    classic = Message(Method.BINDING, MessageClass.REQUEST, bytes(range(50, 66)))
    assert answer(server, classic.serialize(), path) is None
    assert server.stats.unparsable == 1
    assert answer(server, REQUEST.serialize(), path) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 20,
        b"hello, this is no STUN at all",
        REQUEST.serialize(fingerprint=True)[:-1] + b"\0",
        REQUEST.success().serialize(),
        REQUEST.failure(400, "").serialize(),
        Message(Method.BINDING, MessageClass.INDICATION, bytes(12)).serialize(),
        Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize(),
    ],
)
def test_what_is_not_answered(data: bytes) -> None:
    server = a_server()
    assert answer(server, data) is None
    assert server.stats.unparsable + server.stats.ignored == 1


def test_nobody_listens_on_port_0() -> None:
    assert answer(a_server(), REQUEST.serialize(), PATH._replace(remote=TransportAddress("192.0.2.1", 0))) is None


def test_no_response_amplifies_much() -> None:
    server = a_server(software="x" * 127)
    assert answer(server, REQUEST.serialize()) is None
    assert server.stats.too_long == 1
    padded = Message(Method.BINDING, MessageClass.REQUEST, bytes(12)).add(att.SOFTWARE, "y" * 100)
    assert answer(server, padded.serialize()) is not None
    # The plain exchange never meets the limit.
    for path in (PATH, PATH6):
        assert answer(a_server(), REQUEST.serialize(), path) is not None


def test_the_rate_of_a_source_is_limited() -> None:
    server = a_server(rate=10.0, burst=5)
    got = [answer(server, REQUEST.serialize()) is not None for _ in range(8)]
    assert got == [True] * 5 + [False] * 3
    assert server.stats.limited == 3
    assert answer(server, REQUEST.serialize(), PATH6) is not None
    assert answer(server, REQUEST.serialize(), now=0.1) is not None
    assert answer(server, REQUEST.serialize(), now=0.1) is None


@pytest.mark.parametrize("six", [False, True])
def test_rotating_forged_sources_gain_nothing_from_a_full_table(six: bool) -> None:
    """Twice as many sources as the table has rows, 20,000 requests in a second."""
    server = a_server(rate=2.0, burst=4, max_sources=100)
    sent: Counter[TransportAddress] = Counter()
    local = PATH6.local if six else PATH.local
    data = REQUEST.serialize()
    for number in range(20_000):
        host = f"2001:db8:0:{number % 200:x}::1" if six else f"192.0.2.{number % 200}"
        path = FiveTuple(local, TransportAddress(host, 40000))
        sent[path.remote] += len(answer(server, data, path, number / 20_000) or b"")
    length = 44 if six else 32
    # Each of 100 rows gives one address its burst and its rate, and so does the bucket that the others share.
    assert max(sent.values()) <= (4 + 2) * length
    assert sum(sent.values()) <= 101 * (4 + 2) * length
    assert sum(sent.values()) < 0.07 * 20_000 * len(data)
    assert server.stats.limited > 19_000


def test_a_connection_is_served_in_order() -> None:
    server = a_server()
    path = stream()
    server.path_opened(path, 0.0)
    other = Message(Method.BINDING, MessageClass.REQUEST, bytes(12))
    both = REQUEST.serialize() + other.serialize()
    server.receive_data(both[:30], path, 0.0)
    server.receive_data(both[30:], path, 0.0)
    expected = [each.success((att.XOR_MAPPED_ADDRESS, path.remote)).serialize() for each in (REQUEST, other)]
    assert answers(server) == [Transmit(data, path) for data in expected]


def test_the_end_of_a_client_ends_its_connection_after_the_responses() -> None:
    server = a_server()
    server.path_opened(stream(), 0.0)
    server.receive_data(REQUEST.serialize(), stream(), 0.0)
    server.receive_data(b"", stream(), 0.0)
    assert [type(effect) for effect in answers(server)] == [Transmit, Release]
    server.path_closed(stream(), 0.0)
    assert server.open_connections == 0
    assert server.next_timeout() is None


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"\0\1\x7f\xfc" + bytes(16)])
def test_other_protocols_and_huge_messages_are_cut_off(data: bytes) -> None:
    server = a_server()
    server.path_opened(stream(), 0.0)
    server.receive_data(data, stream(), 0.0)
    assert answers(server) == [Release(stream())]
    assert server.stats.broken_connections == 1
    server.receive_data(REQUEST.serialize(), stream(), 0.0)
    assert answers(server) == []


def test_idle_connections_are_closed_and_a_trickle_is_idle() -> None:
    server = a_server(idle_timeout=10.0)
    server.path_opened(stream(1), 0.0)
    server.path_opened(stream(2), 1.0)
    server.receive_data(REQUEST.serialize(), stream(1), 5.0)
    server.receive_data(b"\0", stream(2), 9.0)
    answers(server)
    assert server.next_timeout() == Deadline(11.0, "idle connection")
    server.handle_timeout(10.9)
    assert answers(server) == []
    server.handle_timeout(11.0)
    assert answers(server) == [Release(stream(2))]
    assert server.next_timeout() == Deadline(15.0, "idle connection")


def test_connections_are_limited() -> None:
    server = a_server(max_connections=3, max_connections_per_source=2)
    for number in (1, 2, 3):
        server.path_opened(stream(number), 0.0)
    assert answers(server) == [Release(stream(3))]
    server.path_opened(stream(4, "192.0.2.9"), 0.0)
    server.path_opened(stream(5, "192.0.2.10"), 0.0)
    assert answers(server) == [Release(stream(5, "192.0.2.10"))]
    assert server.open_connections == 3
    assert (server.stats.connections, server.stats.refused_connections) == (3, 2)
    server.path_closed(stream(1), 0.0)
    server.path_opened(stream(6), 0.0)
    assert answers(server) == []


def test_nothing_is_kept_of_connections_that_are_gone() -> None:
    server = a_server(max_connections=50)
    for number in range(200):
        server.path_opened(stream(1000 + number, f"198.51.100.{number}"), 0.0)
    for number in range(200):
        server.path_closed(stream(1000 + number, f"198.51.100.{number}"), 0.0)
    assert server.open_connections == 0
    assert not server._per_source


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError):
        BindingServerConfig(rate=0)
    assert a_server().next_event() is None
