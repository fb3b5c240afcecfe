"""Properties of libp2p machines: two sides agree over any chunking, and a mutated peer ends things but breaks none."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from signalling.errors import ConnectionClosed
from signalling.libp2p.config import NoiseConfig, UpgradeConfig, YamuxConfig
from signalling.libp2p.keys import PrivateKey
from signalling.libp2p.multistream import Dialer, Failed, Listener, Negotiated
from signalling.libp2p.peer_id import PeerId
from signalling.libp2p.roles import Role
from signalling.libp2p.upgrade import Upgrade, UpgradeDone, UpgradeFailed
from signalling.libp2p.yamux import Yamux
from signalling.libp2p.yamux_stream import YamuxStream

KEY = PrivateKey(bytes(32))
OTHER = PrivateKey(bytes(range(32)))
OTHER_PEER = PeerId.from_public_key(OTHER.public_key)

seeds = st.integers(0, 2**32 - 1)
protocol_lists = st.lists(st.sampled_from([f"/{letter}" for letter in "abcdef"]), min_size=1, max_size=6, unique=True)
upgrade_configs = st.sampled_from([UpgradeConfig(), UpgradeConfig(noise=NoiseConfig(stream_muxers=()))])


class Wire:
    """One direction of a byte stream that delivers in chunks of any size; it may flip one bit on the way."""

    def __init__(self, rng: random.Random, flip_at: int | None = None) -> None:
        self._rng = rng
        self._flip_at = flip_at
        self._carried = 0
        self._queue = bytearray()

    def put(self, data: bytes) -> None:
        self._queue += data
        if self._flip_at is not None and self._carried <= self._flip_at < self._carried + len(data):
            self._queue[len(self._queue) - len(data) + self._flip_at - self._carried] ^= 1 << self._rng.randrange(8)
        self._carried += len(data)

    def take(self) -> bytes:
        count = min(len(self._queue), self._rng.choice((1, 2, 11, 12, 13, 100, 5000, 1 << 20)))
        data = bytes(self._queue[:count])
        del self._queue[:count]
        return data

    def __bool__(self) -> bool:
        return bool(self._queue)


Machine = Dialer | Listener | Upgrade | Yamux


def run(a: Machine, b: Machine, rng: random.Random, flip_at: int | None = None) -> None:
    """Carry bytes both ways until nothing is left to carry."""
    to_b, to_a = Wire(rng, flip_at), Wire(rng)
    for _ in range(200_000):
        for machine, wire in ((a, to_b), (b, to_a)):
            while (data := machine.next_effect()) is not None:
                wire.put(data)
        if not to_a and not to_b:
            return
        receiver, wire = (b, to_b) if to_b and (not to_a or rng.random() < 0.5) else (a, to_a)
        receiver.receive_data(wire.take(), 0.0)
    raise AssertionError("the two sides never stop talking")


@given(protocol_lists, protocol_lists, seeds)
def test_the_first_proposal_that_both_know_wins(wanted: list[str], known: list[str], seed: int) -> None:
    dialer, listener = Dialer(wanted, 0.0), Listener(known, 0.0)
    run(dialer, listener, random.Random(seed))
    common = [protocol for protocol in wanted if protocol in known]
    if common:
        assert dialer.next_event() == listener.next_event() == Negotiated(common[0], b"")
    else:
        assert isinstance(dialer.next_event(), Failed)
        assert listener.next_event() is None


def upgrades(seed: int, a: UpgradeConfig, b: UpgradeConfig) -> tuple[Upgrade, Upgrade]:
    return (
        Upgrade(Role.INITIATOR, KEY, rng=random.Random(seed), now=0.0, expected_peer=OTHER_PEER, config=a),
        Upgrade(Role.RESPONDER, OTHER, rng=random.Random(seed + 1), now=0.0, config=b),
    )


@given(seeds, upgrade_configs, upgrade_configs)
def test_an_upgrade_does_not_depend_on_the_chunks(seed: int, a: UpgradeConfig, b: UpgradeConfig) -> None:
    first, second = upgrades(seed, a, b)
    run(first, second, random.Random(seed))
    ours, theirs = first.next_event(), second.next_event()
    assert isinstance(ours, UpgradeDone)
    assert isinstance(theirs, UpgradeDone)
    assert theirs.transport.decrypt(ours.transport.encrypt(b"there")) == [b"there"]
    assert ours.transport.decrypt(theirs.transport.encrypt(b"back")) == [b"back"]


@given(seeds, upgrade_configs, st.integers(0, 600))
def test_a_flipped_bit_never_upgrades_both_sides_to_different_keys(seed: int, config: UpgradeConfig, at: int) -> None:
    first, second = upgrades(seed, config, config)
    run(first, second, random.Random(seed), flip_at=at)
    for machine in (first, second):
        machine.receive_data(b"", 0.0)
    ours, theirs = first.next_event(), second.next_event()
    assert ours is not None
    assert theirs is not None
    if isinstance(ours, UpgradeDone) and isinstance(theirs, UpgradeDone):  # the flip hit nothing that was sent
        assert theirs.transport.decrypt(ours.transport.encrypt(b"x")) == [b"x"]
    else:
        assert any(isinstance(event, UpgradeFailed) for event in (ours, theirs))


small_windows = YamuxConfig(initial_window=256 * 1024, max_window=256 * 1024, max_frame=1000)


@given(seeds, st.lists(st.integers(0, 600_000), min_size=1, max_size=4), st.sampled_from([None, small_windows]))
def test_yamux_delivers_exactly_the_bytes(seed: int, sizes: list[int], config: YamuxConfig | None) -> None:
    rng = random.Random(seed)
    a, b = Yamux(Role.INITIATOR, 0.0, config), Yamux(Role.RESPONDER, 0.0, config)
    payloads = {2 * index + 1: random.Random(index).randbytes(size) for index, size in enumerate(sizes)}
    left = {a.open_stream(): memoryview(data) for data in payloads.values()}
    received: dict[int, bytearray] = {stream_id: bytearray() for stream_id in payloads}
    accepted: list[YamuxStream] = []
    finished: set[int] = set()
    for _ in range(10_000):
        for stream, data in list(left.items()):
            taken = stream.send(data[: rng.choice((1, 1000, 70_000, 1 << 20))])
            left[stream] = data[taken:]
            if not left[stream]:
                stream.close_write()
                del left[stream]
        run(a, b, rng)
        while (new := b.accept(0.0)) is not None:
            accepted.append(new)
        for stream in accepted:
            assert stream.buffered + stream.receive_window <= b.config.max_window
            part = stream.read(rng.choice((1000, 65536, 1 << 20)))
            received[stream.id] += part or b""
            if part == b"":
                finished.add(stream.id)
        if len(finished) == len(payloads):
            break
    assert {stream_id: bytes(data) for stream_id, data in received.items()} == payloads
    assert a.ended is None
    assert b.ended is None
    assert b.buffered == 0


@given(seeds, st.integers(0, 3000))
def test_a_mutated_yamux_peer_ends_its_session_at_worst(seed: int, at: int) -> None:
    rng = random.Random(seed)
    config = YamuxConfig(max_streams=16, max_session_buffer=1 << 20)
    a, b = Yamux(Role.INITIATOR, 0.0, config), Yamux(Role.RESPONDER, 0.0, config)
    streams = [a.open_stream() for _ in range(4)]
    for stream in streams:
        stream.send(rng.randbytes(rng.randrange(600)))
        rng.choice((stream.close_write, stream.reset, stream.close_read))()
    run(a, b, rng, flip_at=at)
    while (accepted := b.accept(0.0)) is not None:
        try:
            accepted.send(b"answer")
            while accepted.read(100):
                pass
        except ConnectionClosed:
            pass
    run(a, b, rng)
    assert b.buffered <= config.max_session_buffer
    assert len(b) <= config.max_streams
    b.receive_data(b"", 0.0)
    assert b.ended is not None
