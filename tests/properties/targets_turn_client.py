"""Fuzz targets of the TURN client: an exception that leaves one of them is a fault."""

from __future__ import annotations

from pathlib import Path

from stun.message import Method
from tests.turn.fake_server import PEER, STREAM, FakeServer, Stage
from turn.config import RelayTransport, TurnClientConfig
from turn.tcp_client import BindFailed, Bound


def fuzz_turn_client(data: bytes) -> None:
    """Datagrams cut from any bytes reach a client with permissions and a channel; time goes on after them."""
    stage = Stage(tuning=TurnClientConfig(channel_after=1)).start()
    stage.client.send(PEER, b"x", stage.now)
    stage.pump()
    for datagram in _cut(data):
        stage.feed(datagram)
        stage.client.decode(datagram)
        stage.pump()
    while stage.client.next_data() is not None:
        pass
    stage.run(until=700.0)


def fuzz_turn_client_stream(data: bytes) -> None:
    """A stream of any bytes ends the allocation at most, however it is cut."""
    stage = Stage(path=STREAM, transport=RelayTransport.TCP).start()
    for chunk in _cut(data):
        stage.client.receive_data(chunk, STREAM, stage.now)
        stage.pump()
    stage.run(until=700.0)


def fuzz_turn_client_responses(data: bytes) -> None:
    """Genuine responses with bytes changed: (which message, where, what) are taken from the input."""
    stage = Stage(FakeServer(), mobility=True)
    honest = stage.server.receive
    stage.server.receive = lambda *args: [_damage(reply, data) for reply in honest(*args)]  # type: ignore[method-assign]
    stage.client.create_permission([PEER.host], 0.0)
    stage.client.bind_channel(PEER, 0.0)
    stage.start()
    stage.run(until=100.0)
    stage.client.close(stage.now)
    stage.run(until=200.0)
    assert stage.client.next_timeout() is None


def fuzz_turn_client_captures(data: bytes) -> None:
    """What coturn once sent, damaged, as the answer to every request; the first byte chooses which of them."""
    stage = Stage(mobility=True)
    capture = CAPTURES[(data[0] if data else 0) % len(CAPTURES)]
    damaged = _damage(capture, data[1:])

    def answer(request: bytes, *_: object) -> list[bytes]:
        # With the transaction id of the request, or nothing would come of it.
        genuine = capture[0] < 0x40 and len(request) >= 20
        return [damaged[:8] + request[8:20] + damaged[20:]] if genuine else [damaged]

    stage.server.receive = answer  # type: ignore[method-assign,assignment]
    stage.client.bind_channel(PEER, 0.0)
    stage.start()
    stage.run(until=700.0)
    stage.client.close(stage.now)
    stage.run(until=710.0)
    assert stage.client.next_timeout() is None


def fuzz_turn_data_connection(data: bytes) -> None:
    """The start of a data connection may be anything; it is bound, or fails once, or waits."""
    stage = Stage(path=STREAM, transport=RelayTransport.TCP).start()
    connection = stage.client.data_connection(1, STREAM._replace(local=PEER))
    connection.start(0.0)
    outcomes = []
    for chunk in _cut(data):
        connection.receive_data(chunk, 0.0)
        while connection.next_effect() is not None:
            pass
        while (event := connection.next_event()) is not None:
            outcomes.append(event)
    connection.handle_timeout(1000.0)
    while (event := connection.next_event()) is not None:
        outcomes.append(event)
    assert len(outcomes) <= 1
    assert all(isinstance(event, Bound | BindFailed) for event in outcomes)


def _cut(data: bytes) -> list[bytes]:
    """Return the input as pieces; each has its length in front of it."""
    pieces = []
    while data:
        size = data[0]
        pieces.append(data[1 : 1 + size])
        data = data[1 + size :]
    return pieces


def _damage(reply: bytes, data: bytes) -> bytes:
    damaged = bytearray(reply)
    for at in range(0, len(data) - 1, 2):
        damaged[data[at] % len(damaged)] ^= data[at + 1]
    return bytes(damaged)


_FILE = Path(__file__).resolve().parent.parent / "vectors" / "turn" / "coturn_to_client.hex"
CAPTURES = [bytes.fromhex(line) for line in _FILE.read_text(encoding="ascii").split()]
"""What coturn 4.6.1 has sent to our client: of every kind of message, the first two."""
METHODS = (Method.ALLOCATE, Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND, Method.CONNECT)
