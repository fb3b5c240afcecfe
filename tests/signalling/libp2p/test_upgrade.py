from __future__ import annotations

import random

import pytest

from signalling.libp2p.config import NoiseConfig, UpgradeConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multistream import encode_token
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from signalling.libp2p.upgrade import Upgrade, UpgradeDone, UpgradeFailed
from tests.signalling.libp2p.vectors import KEY, PEER

OTHER = PrivateKey(bytes(range(32)))
OTHER_PEER = PeerId.from_public_key(OTHER.public_key)
SLOW = UpgradeConfig(noise=NoiseConfig(stream_muxers=()))


def sides(
    a: UpgradeConfig | None = None, b: UpgradeConfig | None = None, expected: PeerId | None = OTHER_PEER
) -> tuple[Upgrade, Upgrade]:
    return (
        Upgrade(Role.INITIATOR, KEY, rng=random.Random(1), now=0.0, expected_peer=expected, config=a),
        Upgrade(Role.RESPONDER, OTHER, rng=random.Random(2), now=0.0, config=b),
    )


def flight(sender: Upgrade, receiver: Upgrade) -> int:
    data = b"".join(sender.effects)
    sender.effects.clear()
    if data:
        receiver.receive_data(data, 0.0)
    return len(data)


def run(a: Upgrade, b: Upgrade) -> int:
    """Return how many flights it took."""
    flights = 0
    while flight(a, b) or flight(b, a):
        flights += 1
        assert flights < 10
    return flights


def done(machine: Upgrade) -> UpgradeDone:
    event = machine.next_event()
    assert isinstance(event, UpgradeDone), event
    return event


def test_one_round_trip_and_a_half_secure_and_multiplex() -> None:
    a, b = sides()
    assert flight(a, b)
    assert flight(b, a)
    ours = done(a)
    early = ours.transport.encrypt(b"first frame")
    a.effects.append(early)
    assert flight(a, b)
    theirs = done(b)
    assert theirs.received == b"first frame"
    assert (ours.remote_peer, theirs.remote_peer) == (OTHER_PEER, PEER)
    assert ours.transport.decrypt(theirs.transport.encrypt(b"answer")) == [b"answer"]


@pytest.mark.parametrize(("a", "b"), [(SLOW, SLOW), (SLOW, None), (None, SLOW)])
def test_the_muxer_is_negotiated_inside_when_noise_did_not_settle_it(
    a: UpgradeConfig | None, b: UpgradeConfig | None
) -> None:
    first, second = sides(a, b)
    run(first, second)
    ours, theirs = done(first), done(second)
    assert theirs.transport.decrypt(ours.transport.encrypt(b"x")) == [b"x"]
    assert ours.transport.decrypt(theirs.transport.encrypt(b"y")) == [b"y"]
    assert ours.received == theirs.received == b""


def test_the_first_flight_is_what_the_specification_says() -> None:
    a, _ = sides()
    data = b"".join(a.effects)
    tokens = encode_token("/multistream/1.0.0") + encode_token("/noise")
    assert data.startswith(tokens + b"\x00\x20")
    assert len(data) == len(tokens) + 34


def test_another_peer_is_told_apart_from_a_failure() -> None:
    a, b = sides(expected=PEER)
    run(a, b)
    event = a.next_event()
    assert isinstance(event, UpgradeFailed)
    assert event.wrong_peer == OTHER_PEER


def test_plaintext_is_refused() -> None:
    _, b = sides()
    b.receive_data(encode_token("/multistream/1.0.0") + encode_token("/plaintext/2.0.0"), 0.0)
    assert b"".join(b.effects) == encode_token("/multistream/1.0.0") + encode_token("na")
    assert b.next_event() is None


def test_a_peer_that_refuses_noise_is_of_no_use() -> None:
    a, _ = sides()
    a.receive_data(encode_token("/multistream/1.0.0") + encode_token("na"), 0.0)
    assert isinstance(a.next_event(), UpgradeFailed)
    a.receive_data(b"anything", 0.0)
    assert a.next_event() is None


@pytest.mark.parametrize("flights", range(3))
@pytest.mark.parametrize("config", [None, SLOW])
def test_the_end_of_the_stream_ends_it_at_every_stage(flights: int, config: UpgradeConfig | None) -> None:
    a, b = sides(config, config)
    order = [(a, b), (b, a), (a, b)]
    for sender, receiver in order[:flights]:
        flight(sender, receiver)
    for machine in (a, b):
        finished = isinstance(next(iter(machine.events), None), UpgradeDone)
        machine.receive_data(b"", 0.0)
        assert isinstance(machine.next_event(), UpgradeDone if finished else UpgradeFailed)


def test_garbage_inside_the_secured_stream_ends_it() -> None:
    a, b = sides(SLOW, SLOW)
    flight(a, b)
    flight(b, a)
    b.effects.clear()
    a.receive_data(b"\x00\x20" + bytes(32), 0.0)
    assert isinstance(a.next_event(), UpgradeFailed)


def test_it_ends_at_its_deadline() -> None:
    a, _ = sides(UpgradeConfig(timeout=3.0))
    deadline = a.next_timeout()
    assert deadline is not None
    a.handle_timeout(deadline.at - 0.001)
    assert a.next_event() is None
    a.handle_timeout(deadline.at)
    assert isinstance(a.next_event(), UpgradeFailed)
    assert a.next_timeout() is None
