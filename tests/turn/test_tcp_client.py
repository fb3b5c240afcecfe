"""TCP allocations, the client's side (RFC 6062)."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.machine import Release, Transmit
from stun.message import Message, MessageClass, Method, parse
from tests.turn.fake_server import CLIENT, PATH, PEER, STREAM, FakeServer, Stage
from turn import errors
from turn.config import RelayTransport, TurnClientConfig
from turn.events import AllocationLost, ConnectionAttempted, PeerConnected, PeerConnectFailed
from turn.tcp_client import BindFailed, Bound, DataConnection

DATA_PATH = STREAM._replace(local=CLIENT._replace(port=2000))


def a_stage(server: FakeServer | None = None, tuning: TurnClientConfig | None = None) -> Stage:
    return Stage(server, path=STREAM, transport=RelayTransport.TCP, tuning=tuning).start()


def attempt(number: int) -> bytes:
    message = Message(Method.CONNECTION_ATTEMPT, MessageClass.INDICATION, bytes(12))
    return message.add(att.XOR_PEER_ADDRESS, PEER).add(att.CONNECTION_ID, number).serialize()


def bind(connection: DataConnection, server: FakeServer, tail: bytes = b"", chunk: int = 10_000) -> list[Message]:
    """Carry the handshake; the peer's first bytes come in one piece with the last response."""
    asked: list[Message] = []
    connection.start(0.0)
    while (effect := connection.next_effect()) is not None:
        assert isinstance(effect, Transmit)
        assert effect.path == DATA_PATH
        asked.append(parse(effect.data))
        (reply,) = server.receive(effect.data, DATA_PATH.local, 0.0)
        answer = reply + (tail if parse(reply).message_class is MessageClass.SUCCESS else b"")
        for start in range(0, len(answer), chunk):
            connection.receive_data(answer[start : start + chunk], 0.0)
    return asked


def test_it_asks_for_tcp() -> None:
    stage = a_stage()
    assert stage.server.requests[1].get_all(att.REQUESTED_TRANSPORT) == [6]


@pytest.mark.parametrize("chunk", [1, 7, 10_000])
def test_connect_then_bind_then_bytes(chunk: int) -> None:
    stage = a_stage()
    stage.client.connect_peer(PEER, stage.now)
    stage.pump()
    assert stage.methods()[2:] == ["CONNECT"]
    assert stage.server.requests[-1].get(att.XOR_PEER_ADDRESS) == PEER
    assert stage.of(PeerConnected) == [PeerConnected(PEER, 0x1234)]
    connection = stage.client.data_connection(0x1234, DATA_PATH)
    asked = bind(connection, stage.server, b"early", chunk)
    # The nonce of the control connection is stale on a new one: one challenge more, and the control keeps its own.
    assert [request.method for request in asked] == [Method.CONNECTION_BIND] * 2
    assert all(request.get(att.CONNECTION_ID) == 0x1234 for request in asked)
    assert connection.next_event() == Bound()
    assert b"".join(connection.data) == b"early"
    connection.receive_data(b"more", 1.0)
    connection.receive_data(b"", 1.0)
    assert list(connection.data)[-2:] == [b"more", b""]
    assert connection.next_timeout() is None
    before = len(stage.sent)
    stage.run(until=541.0)
    assert stage.methods()[before:] == ["REFRESH"], "with the nonce that the control connection has had all along"


def test_the_control_connection_is_not_disturbed_by_the_others_nonce() -> None:
    stage = a_stage()
    first = stage.client.data_connection(1, DATA_PATH)
    second = stage.client.data_connection(2, DATA_PATH)
    assert len(bind(first, stage.server)) == len(bind(second, stage.server)) == 2


def test_a_connection_of_a_peer_is_an_event_and_their_number_is_limited() -> None:
    stage = a_stage(tuning=TurnClientConfig(max_attempted=2))
    for number in range(3):
        stage.feed(attempt(number))
    stage.pump()
    assert stage.of(ConnectionAttempted) == [ConnectionAttempted(PEER, 0), ConnectionAttempted(PEER, 1)]
    stage.run(until=31.0)
    stage.feed(attempt(7))
    stage.pump()
    assert stage.of(ConnectionAttempted)[2:] == [ConnectionAttempted(PEER, 7)]
    plain = Stage(path=STREAM).start()
    plain.feed(attempt(1))
    plain.pump()
    assert not plain.of(ConnectionAttempted), "a UDP allocation has none"


def test_connections_that_were_taken_make_room_for_others() -> None:
    stage = a_stage(tuning=TurnClientConfig(max_attempted=2))
    for number in range(6):
        stage.feed(attempt(number))
        stage.feed(attempt(number))
        stage.pump()
        stage.client.data_connection(number, DATA_PATH)
    assert stage.of(ConnectionAttempted) == [ConnectionAttempted(PEER, number) for number in range(6)]


def test_a_connect_without_an_id_is_a_failure_with_its_pause() -> None:
    server = FakeServer()
    server.connection_id = None
    stage = a_stage(server)
    for _ in range(2):
        stage.client.connect_peer(PEER, stage.now)
        stage.pump()
    assert failures(stage) == [errors.TurnProtocolError, errors.TurnConnectionTimeoutError]


def failures(stage: Stage) -> list[type]:
    return [type(event.error) for event in stage.of(PeerConnectFailed) if isinstance(event, PeerConnectFailed)]


def test_never_two_to_one_peer_at_a_time_and_a_pause_after_a_failure() -> None:
    server = FakeServer()
    stage = a_stage(server)
    server.mute.add(Method.CONNECT)
    stage.client.connect_peer(PEER, stage.now)
    stage.client.connect_peer(PEER, stage.now)
    stage.pump()
    assert stage.methods().count("CONNECT") == 1
    assert failures(stage) == [errors.TurnConnectionExistsError]
    server.mute.clear()
    server.refuse(Method.CONNECT, 447)
    other = PEER._replace(port=1)
    stage.client.connect_peer(other, stage.now)
    stage.pump()
    assert failures(stage)[1:] == [errors.TurnConnectionTimeoutError]
    stage.run(until=9.0)
    stage.client.connect_peer(other, stage.now)
    stage.pump()
    assert failures(stage)[2:] == [errors.TurnConnectionTimeoutError]
    assert stage.methods().count("CONNECT") == 2, "ten seconds have to pass (RFC 6062 section 4.3)"
    stage.run(until=11.0)
    stage.client.connect_peer(other, stage.now)
    stage.pump()
    assert stage.of(PeerConnected)


@pytest.mark.parametrize(
    ("code", "kind"),
    [(403, errors.TurnForbiddenError), (446, errors.TurnConnectionExistsError), (400, errors.TurnBadRequestError)],
)
def test_refused_connects(code: int, kind: type[errors.TurnError]) -> None:
    server = FakeServer()
    stage = a_stage(server)
    server.refuse(Method.CONNECT, code)
    stage.client.connect_peer(PEER, stage.now)
    stage.pump()
    assert failures(stage) == [kind]
    assert not stage.of(AllocationLost)


def test_437_to_connect_is_the_end() -> None:
    server = FakeServer()
    stage = a_stage(server)
    server.refuse(Method.CONNECT, 437)
    stage.client.connect_peer(PEER, stage.now)
    stage.pump()
    assert len(stage.of(AllocationLost)) == 1


def test_only_tcp_allocations_connect() -> None:
    with pytest.raises(ValueError, match="TCP allocation"):
        Stage().start().client.connect_peer(PEER, 0.0)
    assert PATH.protocol.is_stream is False


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\n\r\n" * 2, b"\0\1\0\3" + bytes(16), b""])
def test_a_data_connection_that_starts_otherwise_fails_once(junk: bytes) -> None:
    connection = a_stage().client.data_connection(1, DATA_PATH)
    connection.start(0.0)
    connection.next_effect()
    connection.receive_data(junk, 0.0)
    connection.receive_data(b"", 0.0)
    assert connection.next_effect() == Release(DATA_PATH)
    event = connection.next_event()
    assert isinstance(event, BindFailed)
    assert connection.next_event() is None
    assert not connection.is_bound


def test_a_refused_or_unanswered_bind() -> None:
    server = FakeServer()
    stage = a_stage(server)
    server.refuse(Method.CONNECTION_BIND, 400)
    connection = stage.client.data_connection(1, DATA_PATH)
    bind_and_release(connection, server)
    event = connection.next_event()
    assert isinstance(event, BindFailed)
    assert isinstance(event.error, errors.TurnBadRequestError)
    silent = stage.client.data_connection(1, DATA_PATH)
    silent.start(0.0)
    deadline = silent.next_timeout()
    assert deadline is not None
    silent.handle_timeout(deadline.at)
    event = silent.next_event()
    assert isinstance(event, BindFailed)
    assert isinstance(event.error, errors.TurnTimeoutError)


def bind_and_release(connection: DataConnection, server: FakeServer) -> None:
    connection.start(0.0)
    while (effect := connection.next_effect()) is not None:
        if isinstance(effect, Transmit):
            for reply in server.receive(effect.data, DATA_PATH.local, 0.0):
                connection.receive_data(reply, 0.0)
