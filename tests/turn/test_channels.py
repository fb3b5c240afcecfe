"""Channels: bound in time, their numbers kept apart for five minutes, refusals borne."""

from __future__ import annotations

from stun import attributes as att
from stun.message import Method
from tests.turn.fake_server import PEER, FakeServer, Stage
from turn import errors
from turn.config import ChannelPolicy, TurnClientConfig
from turn.events import AllocationLost, ChannelBound, ChannelFailed

QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


def bound(stage: Stage) -> list[tuple[int, int]]:
    """Channel number and peer port of every ChannelBind that the server has seen."""
    found = []
    for request in stage.server.requests:
        if request.method is Method.CHANNEL_BIND:
            peer = request.get(att.XOR_PEER_ADDRESS)
            number = request.get(att.CHANNEL_NUMBER)
            assert peer is not None
            assert number is not None
            found.append((number, peer.port))
    return found


def test_a_channel_is_bound_again_before_its_ten_minutes_are_over() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.bind_channel(PEER, stage.now)
    stage.run(until=539.0)
    assert bound(stage) == [(0x4000, PEER.port)]
    stage.run(until=541.0)
    assert bound(stage) == [(0x4000, PEER.port)] * 2
    assert len(stage.of(ChannelBound)) == 1


def test_data_may_come_as_soon_as_the_request_is_out() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.lose = True
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    assert stage.client.decode(b"\x40\0\0\1x") == (PEER, b"x")
    assert not stage.client.has_channel(PEER), "but nothing goes out before the response"


def test_every_peer_has_its_own_channel() -> None:
    stage = Stage(tuning=QUIET).start()
    peers = [PEER._replace(port=port) for port in range(5000, 5020)]
    for peer in peers:
        stage.client.bind_channel(peer, stage.now)
    stage.pump()
    assert bound(stage) == [(0x4000 + number, peer.port) for number, peer in enumerate(peers)]


def test_a_number_rests_before_another_peer_gets_it() -> None:
    tuning = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND, max_channels=1)
    stage = Stage(tuning=tuning).start()
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    stage.client.release_channel(PEER, stage.now)
    assert not stage.client.has_channel(PEER)
    assert stage.client.decode(b"\x40\0\0\1x") == (PEER, b"x"), "the server still uses it"
    other = PEER._replace(port=6000)
    for at, free in ((1.0, False), (599.0, False), (601.0, False), (899.0, False), (901.0, True)):
        stage.run(until=at)
        stage.client.bind_channel(other, stage.now)
        stage.pump()
        assert stage.client.has_channel(other) is free
    # With room for one channel only, the second peer gets it after ten and five minutes; until then it is refused.
    assert bound(stage) == [(0x4000, PEER.port), (0x4001, other.port)]
    assert all(isinstance(event.error, errors.TurnLimitError) for event in stage.of(ChannelFailed))  # type: ignore[attr-defined]


def test_the_same_peer_has_its_number_back_at_any_time() -> None:
    stage = Stage(tuning=QUIET).start()
    for at in (0.0, 300.0, 700.0):
        stage.run(until=at)
        stage.client.bind_channel(PEER, stage.now)
        stage.pump()
        assert stage.client.has_channel(PEER)
        stage.client.release_channel(PEER, stage.now)
    assert bound(stage) == [(0x4000, PEER.port)] * 3
    stage.run(until=1299.0)
    assert stage.client.decode(b"\x40\0\0\1x") is not None
    stage.run(until=1301.0)
    assert stage.client.decode(b"\x40\0\0\1x") is None


def test_a_released_channel_is_bound_no_more() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.bind_channel(PEER, stage.now)
    stage.client.release_channel(PEER, stage.now)
    stage.pump()
    assert bound(stage) == [], "not even asked for"
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    stage.client.release_channel(PEER, stage.now)
    stage.client.release_channel(PEER._replace(port=1), stage.now)
    stage.run(until=2000.0)
    assert len(bound(stage)) == 1


def test_a_refused_channel_leaves_indications() -> None:
    server = FakeServer()
    stage = Stage(server, tuning=QUIET).start()
    server.refuse(Method.CHANNEL_BIND, 400)
    stage.client.bind_channel(PEER, stage.now)
    stage.client.send(PEER, b"x", stage.now)
    stage.pump()
    (failed,) = stage.of(ChannelFailed)
    assert isinstance(failed, ChannelFailed)
    assert isinstance(failed.error, errors.TurnBadRequestError)
    assert [message.get(att.DATA) for message in server.indications] == [b"x"]
    assert not stage.of(AllocationLost)


def test_a_channel_that_cannot_be_bound_again_is_left_in_time() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.client.bind_channel(PEER, stage.now)
    stage.pump()
    stage.server.mute.add(Method.CHANNEL_BIND)
    stage.run(until=579.0)
    assert stage.client.has_channel(PEER)
    stage.run(until=600.0)
    assert not stage.client.has_channel(PEER)
    assert stage.client.is_permitted(PEER.host)
    wire = stage.client.encode(PEER, b"x")
    assert wire is not None
    assert wire[0] == 0


def test_binding_at_once() -> None:
    tuning = TurnClientConfig(keepalive=None, channels=ChannelPolicy.AT_ONCE)
    stage = Stage(tuning=tuning).start()
    stage.client.send(PEER, b"x", stage.now)
    stage.pump()
    assert stage.methods()[2:] == ["CREATE_PERMISSION", "SEND-indication", "CHANNEL_BIND"]
    stage.client.send(PEER, b"y", stage.now)
    stage.pump()
    assert stage.methods()[5:] == ["data"]


def test_a_peer_of_another_family_is_refused_without_asking() -> None:
    stage = Stage(tuning=QUIET).start()
    peer = PEER._replace(host="2001:db8::5")
    stage.client.bind_channel(peer, stage.now)
    stage.run(until=900.0)
    (failed,) = stage.of(ChannelFailed)
    assert isinstance(failed, ChannelFailed)
    assert isinstance(failed.error, errors.TurnPeerFamilyError)
    assert bound(stage) == []
    assert not stage.client.has_channel(peer)
