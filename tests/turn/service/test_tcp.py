from __future__ import annotations

import pytest

from stun import attributes as att
from stun.address import TransportAddress
from stun.machine import Release
from stun.message import Method, parse
from tests.turn.service.stage import PEER, PEER6, TCP, Stage, StageClient
from turn.service.config import RelayLimits, StreamLimits
from turn.service.events import DialPeer, DropPeer, Splice

OTHER = TransportAddress("203.0.113.8", 7000)


def control(stage: Stage) -> StageClient:
    client = StageClient(stage, protocol=TCP)
    assert client.allocate(transport=6).error is None
    assert stage.open == {(client.relayed[0], TCP)}
    return client


def connect(stage: Stage, client: StageClient, peer: TransportAddress = PEER) -> DialPeer:
    _, data = client.wire(Method.CONNECT, (att.XOR_PEER_ADDRESS, peer))
    assert stage.receive(data, client.path) == []
    return next(effect for effect in reversed(stage.others) if isinstance(effect, DialPeer))


def answer_of(stage: Stage) -> tuple[int, int | None]:
    """Return the error code (or 0) and CONNECTION-ID of the newest answer."""
    message = parse(stage.sent[-1][1])
    return (message.error.code if message.error else 0), message.get(att.CONNECTION_ID)


def connected(stage: Stage, client: StageClient) -> int:
    dial = connect(stage, client)
    stage.server.peer_connected(dial.connection, stage.now)
    stage.drain()
    assert answer_of(stage) == (0, dial.connection)
    return dial.connection


def data_client(stage: Stage, user: str = "alice", port: int = 6000) -> StageClient:
    return StageClient(stage, user, port=port, protocol=TCP)


def test_connect_and_bind() -> None:
    stage = Stage()
    client = control(stage)
    number = connected(stage, client)
    data = data_client(stage)
    assert data.code(Method.CONNECTION_BIND, (att.CONNECTION_ID, number)) == 0
    assert stage.others[-1] == Splice(number, data.path, b"")
    assert stage.server.spliced(number, 100, True, stage.now) == 0.0
    stage.server.peer_closed(number, stage.now)
    stage.drain()
    assert stage.others[-1] == Release(data.path)
    assert stage.server.peer_connections == 0


def test_what_follows_the_bind_in_the_stream_is_the_peers() -> None:
    stage = Stage()
    number = connected(stage, control(stage))
    data = data_client(stage)
    data.code(Method.CONNECTION_BIND, (att.CONNECTION_ID, number + 1))  # learns the nonce
    _, wire = data.wire(Method.CONNECTION_BIND, (att.CONNECTION_ID, number))
    stage.receive(wire + b"\0\1", data.path)
    assert stage.others[-1] == Splice(number, data.path, b"\0\1")


def test_a_data_connection_may_use_the_nonce_of_its_control_connection() -> None:
    stage = Stage()
    client = control(stage)
    number = connected(stage, client)
    data = data_client(stage)
    data.auth = client.auth
    _, wire = data.wire(Method.CONNECTION_BIND, (att.CONNECTION_ID, number))
    (answer,) = stage.receive(wire, data.path)
    assert parse(answer).error is None


def test_what_connect_is_refused_for() -> None:
    stage = Stage(limits=RelayLimits(peer_connections=2))
    client = control(stage)
    assert client.code(Method.CONNECT) == 400
    assert client.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, TransportAddress("127.0.0.1", 80))) == 403
    assert client.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, PEER6)) == 443
    dial = connect(stage, client)
    assert client.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, PEER)) == 446  # under way
    stage.server.peer_connected(dial.connection, stage.now)
    stage.drain()
    assert client.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, PEER)) == 446  # not bound yet
    assert data_client(stage).code(Method.CONNECTION_BIND, (att.CONNECTION_ID, dial.connection)) == 0
    assert client.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, PEER)) == 446  # carries data
    connect(stage, client, OTHER)
    assert client.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, OTHER._replace(port=1))) == 508
    udp = StageClient(stage, port=5001)
    udp.allocate()
    assert udp.code(Method.CONNECT, (att.XOR_PEER_ADDRESS, PEER)) == 400


def test_a_peer_that_refuses_or_does_not_answer() -> None:
    stage = Stage()
    client = control(stage)
    stage.server.peer_failed(connect(stage, client).connection, stage.now)
    stage.drain()
    assert answer_of(stage) == (447, None)
    dial = connect(stage, client)
    stage.wait(29.9)
    assert stage.server.peer_connections == 1
    stage.wait(0.2)
    assert answer_of(stage) == (447, None)
    assert stage.others[-1] == DropPeer(dial.connection)
    stage.server.peer_connected(dial.connection, stage.now)  # too late
    stage.drain()
    assert stage.others[-1] == DropPeer(dial.connection)
    assert stage.server.peer_connections == 0


def test_a_connection_that_nobody_binds_is_closed_after_30_seconds() -> None:
    stage = Stage()
    number = connected(stage, control(stage))
    stage.wait(29.9)
    assert stage.server.peer_connections == 1
    stage.wait(0.2)
    assert stage.others[-1] == DropPeer(number)
    data = data_client(stage)
    assert data.code(Method.CONNECTION_BIND, (att.CONNECTION_ID, number)) == 400


def test_what_connection_bind_is_refused_for() -> None:
    stage = Stage()
    client = control(stage)
    number = connected(stage, client)
    pair = (att.CONNECTION_ID, number)
    assert StageClient(stage, port=6001).code(Method.CONNECTION_BIND, pair) == 400  # UDP
    assert client.code(Method.CONNECTION_BIND, pair) == 400  # the control connection
    assert data_client(stage).code(Method.CONNECTION_BIND) == 400
    assert data_client(stage, "bob", 6002).code(Method.CONNECTION_BIND, pair) == 441
    assert data_client(stage, port=6003).code(Method.CONNECTION_BIND, pair) == 0
    assert data_client(stage, port=6004).code(Method.CONNECTION_BIND, pair) == 400


def test_a_stream_that_is_getting_an_allocation_carries_no_peer() -> None:
    stage = Stage()
    number = connected(stage, control(stage))
    both = data_client(stage)
    both.code(Method.REFRESH)
    _, first = both.wire(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, 17))
    _, second = both.wire(Method.CONNECTION_BIND, (att.CONNECTION_ID, number))
    codes = [parse(answer).error for answer in stage.receive(first + second, both.path)]  # in one segment
    assert [error.code if error else 0 for error in codes] in ([400, 0], [0, 400])
    assert not any(isinstance(effect, Splice) for effect in stage.others)


def test_a_peer_that_connected_and_is_not_taken_is_closed_after_30_seconds() -> None:
    stage = Stage()
    client = control(stage)
    client.permit(PEER)
    number = stage.server.peer_accepted(client.relayed[0], PEER, stage.now)
    assert number is not None
    stage.wait(29.9)
    assert stage.server.peer_connections == 1
    stage.wait(0.2)
    assert stage.others[-1] == DropPeer(number)
    assert stage.server.peer_connections == 0


def test_peers_that_connect() -> None:
    stage = Stage(limits=RelayLimits(peer_connections=1))
    client = control(stage)
    relay = client.relayed[0]
    assert stage.server.peer_accepted(relay, PEER, stage.now) is None
    client.permit(PEER)
    number = stage.server.peer_accepted(relay, PEER, stage.now)
    assert number is not None
    stage.drain()
    attempt = parse(stage.sent[-1][1])
    assert stage.sent[-1][0] == client.path
    assert attempt.method is Method.CONNECTION_ATTEMPT
    assert attempt.get(att.XOR_PEER_ADDRESS) == PEER
    assert attempt.get(att.CONNECTION_ID) == number
    assert stage.server.peer_accepted(relay, PEER._replace(port=2), stage.now) is None
    assert data_client(stage).code(Method.CONNECTION_BIND, (att.CONNECTION_ID, number)) == 0
    assert stage.server.stats.refused_peers == 2


@pytest.mark.parametrize("expires", [True, False])
def test_the_end_of_the_allocation_closes_all(expires: bool) -> None:
    stage = Stage()
    client = control(stage)
    number = connected(stage, client)
    data = data_client(stage)
    data.code(Method.CONNECTION_BIND, (att.CONNECTION_ID, number))
    stage.wait(590)
    waiting = connect(stage, client, OTHER)
    if expires:
        stage.wait(11)
    else:
        client.refresh(0)
    assert {DropPeer(number), DropPeer(waiting.connection), Release(data.path)} <= set(stage.others)
    assert stage.server.peer_connections == 0
    assert not stage.open


def test_a_client_that_closes_its_data_connection() -> None:
    stage = Stage()
    number = connected(stage, control(stage))
    data = data_client(stage)
    data.code(Method.CONNECTION_BIND, (att.CONNECTION_ID, number))
    stage.server.path_closed(data.path, stage.now)
    stage.drain()
    assert stage.others[-1] == DropPeer(number)
    assert stage.server.peer_connections == 0


def test_who_connects_and_says_nothing_is_closed() -> None:
    stage = Stage(streams=StreamLimits(silent=15.0, connections=3, connections_per_source=2))
    busy, silent = StageClient(stage, protocol=TCP), StageClient(stage, port=1, protocol=TCP)
    busy.allocate()
    StageClient(stage, port=2, protocol=TCP)  # a third of one source
    assert len(stage.released()) == 1
    stage.receive(b"\0\1", silent.path)  # a trickle does not count
    stage.wait(15.1)
    assert stage.released()[1:] == [silent.path]
    stage.wait(120)
    assert busy.path not in stage.released()


def test_a_stream_of_junk_is_closed() -> None:
    stage = Stage()
    client = StageClient(stage, protocol=TCP)
    stage.receive(b"\x16\x03\x01\x02\x00\x01", client.path)
    assert stage.released() == [client.path]


def test_a_stranger_cannot_make_the_server_keep_a_large_message() -> None:
    stage = Stage(streams=StreamLimits(max_first_message=1000))
    stranger, client = StageClient(stage, protocol=TCP), StageClient(stage, port=1, protocol=TCP)
    client.allocate()
    for one in (stranger, client):
        stage.receive(b"\x40\0\xff\0" + bytes(2000), one.path)
    assert stage.released() == [stranger.path]


def test_tcp_allocations_have_no_ticket_and_end_with_their_connection() -> None:
    stage = Stage(mobility=True)
    client = StageClient(stage, protocol=TCP)
    response = client.allocate((att.MOBILITY_TICKET, b""), transport=6)
    assert response.error is None
    assert att.MOBILITY_TICKET not in response
    stage.server.path_closed(client.path, stage.now)
    stage.drain()
    assert not stage.open
