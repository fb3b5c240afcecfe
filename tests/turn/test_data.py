"""Relayed data: what waits, what goes in which form, what is taken."""

from __future__ import annotations

import pytest

from stun import attributes as att
from stun.message import Message, MessageClass, Method, parse
from stun.values import Icmp
from tests.turn.fake_server import (
    PATH,
    PEER,
    STREAM,
    Stage,
    data_indication,
    icmp_indication,
)
from turn.config import ChannelPolicy, TurnClientConfig
from turn.events import (
    ChannelBound,
    PeerUnreachable,
    PermissionGranted,
)

QUIET = TurnClientConfig(keepalive=None, channels=ChannelPolicy.ON_DEMAND)


def test_data_waits_for_its_permission_and_goes_at_once_after_it() -> None:
    stage = Stage(tuning=QUIET)
    stage.client.start(0.0)
    stage.client.send(PEER, b"one", 0.0)
    stage.client.send(PEER, b"two", 0.0)
    stage.pump()
    assert stage.methods() == ["ALLOCATE", "ALLOCATE", "CREATE_PERMISSION", "SEND-indication", "SEND-indication"]
    assert [message.get(att.DATA) for message in stage.server.indications] == [b"one", b"two"]
    assert all(message.get(att.XOR_PEER_ADDRESS) == PEER for message in stage.server.indications)
    assert all(message.integrity is None for message in stage.server.indications)
    stage.client.send(PEER, b"three", 0.0)
    stage.pump()
    assert stage.methods()[5:] == ["SEND-indication"]


def test_addresses_may_be_written_in_any_form() -> None:
    stage = Stage(tuning=QUIET, families=(6,)).start()
    odd, canonical = PEER._replace(host="2001:DB8:0::1"), PEER._replace(host="2001:db8::1")
    stage.client.create_permission([odd.host], stage.now)
    stage.client.send(odd, b"x", stage.now)
    stage.client.bind_channel(odd, stage.now)
    stage.pump()
    assert stage.methods()[2:] == ["CREATE_PERMISSION", "CHANNEL_BIND", "SEND-indication"]
    assert stage.client.has_channel(canonical)
    stage.client.send(odd, b"y", stage.now)
    stage.pump()
    assert stage.methods()[5:] == ["data"]
    named = PEER._replace(host="peer.example.org")
    with pytest.raises(ValueError, match="peer"):
        stage.client.send(named, b"x", stage.now)
    with pytest.raises(ValueError, match="peer"):
        stage.client.bind_channel(named, stage.now)


def test_what_waits_is_bounded_and_the_oldest_goes() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, max_queued=2, channels=ChannelPolicy.ON_DEMAND))
    for number in range(5):
        stage.client.send(PEER, b"%d" % number, 0.0)
    stage.start()
    assert [message.get(att.DATA) for message in stage.server.indications] == [b"3", b"4"]
    assert stage.client.dropped_data == 3


def test_dont_fragment_is_in_send_indications() -> None:
    stage = Stage(tuning=QUIET, dont_fragment=True)
    stage.client.send(PEER, b"one", 0.0)
    stage.start()
    assert att.DONT_FRAGMENT in stage.server.indications[0]


def test_data_is_taken_only_with_a_permission() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.feed(data_indication(PEER, b"no"))
    assert stage.client.next_data() is None
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    assert stage.of(PermissionGranted) == [PermissionGranted(PEER.host)]
    stage.feed(data_indication(PEER._replace(port=77), b"yes"))
    assert stage.client.next_data() == (PEER._replace(port=77), b"yes")
    assert stage.client.next_data() is None


def test_received_data_is_bounded() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, max_received=3, channels=ChannelPolicy.ON_DEMAND)).start()
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    for number in range(5):
        stage.feed(data_indication(PEER, b"%d" % number))
    assert [stage.client.next_data() for _ in range(4)] == [(PEER, b"0"), (PEER, b"1"), (PEER, b"2"), None]
    assert stage.client.dropped_data == 2


def test_an_icmp_error_is_an_event() -> None:
    stage = Stage(tuning=QUIET).start()
    stage.feed(icmp_indication(PEER, Icmp(3, 3)))
    stage.pump()
    assert not stage.of(PeerUnreachable), "no permission, no event (RFC 8656 section 11.6)"
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    stage.feed(icmp_indication(PEER, Icmp(3, 3)))
    stage.pump()
    assert stage.of(PeerUnreachable) == [PeerUnreachable(PEER, Icmp(3, 3))]


@pytest.mark.parametrize("path", [PATH, STREAM])
def test_traffic_earns_a_channel(path: object) -> None:
    tuning = TurnClientConfig(keepalive=None, channel_after=3)
    stage = Stage(path=path, tuning=tuning)  # type: ignore[arg-type]
    stage.start()
    for _ in range(5):
        stage.client.send(PEER, b"hello", stage.now)
        stage.pump()
    assert stage.methods()[2:] == [
        "CREATE_PERMISSION",
        "SEND-indication",
        "SEND-indication",
        "SEND-indication",
        "CHANNEL_BIND",
        "data",
        "data",
    ]
    padding = bytes(3) if stage.client.path.protocol.is_stream else b""
    assert stage.server.channel_data == [bytes.fromhex("40000005") + b"hello" + padding] * 2
    assert stage.of(ChannelBound) == [ChannelBound(PEER, 0x4000)]
    stage.feed(bytes.fromhex("40000003") + b"abc" + padding[:1])
    assert stage.client.next_data() == (PEER, b"abc")


def test_the_fast_way_past_the_machine() -> None:
    stage = Stage(tuning=TurnClientConfig(keepalive=None, channel_after=1)).start()
    assert stage.client.encode(PEER, b"x") is None
    stage.client.create_permission([PEER.host], stage.now)
    stage.pump()
    wire = stage.client.encode(PEER, b"x")
    assert wire is not None
    assert parse(wire).get(att.DATA) == b"x"
    assert stage.client.has_work
    stage.pump()
    assert not stage.client.has_work
    assert stage.client.has_channel(PEER)
    assert stage.client.encode(tuple(PEER), b"x") == bytes.fromhex("40000001") + b"x"
    assert stage.client.decode(bytes.fromhex("40000001") + b"xpadding") == (PEER, b"x")
    assert stage.client.decode(bytes.fromhex("40010001") + b"x") is None, "a channel that is nobody's"
    assert stage.client.decode(bytes.fromhex("40000009") + b"short") is None
    assert stage.client.decode(b"@\0") is None
    assert stage.client.decode(b"") is None
    with pytest.raises(ValueError, match="datagram"):
        stage.client.encode(PEER, bytes(65536))


def test_messages_of_others_are_dropped() -> None:
    stage = Stage().start()
    stage.client.receive_datagram(data_indication(PEER, b"x"), PATH._replace(remote=PEER), 0.0)
    stage.feed(b"junk")
    stage.feed(Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize())
    assert stage.client.dropped == 2
    assert stage.client.next_data() is None
