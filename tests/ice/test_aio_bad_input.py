"""What strangers and broken peers can send: nothing of it ends or bends a live session, and memory stays bounded."""

from __future__ import annotations

import asyncio
import random

import pytest

from ice.candidate import Candidate, CandidateType, NamedAddress
from ice.config import IceConfig
from ice.description import Description
from ice.events import State
from stun import attributes as att
from stun.address import TransportAddress
from stun.message import Message, MessageClass, Method
from tests.ice.sessions import Pair, pair
from tests.simulation import SimulatedSocket, virtual_time


async def alive(both: Pair) -> None:
    """Fail unless data still passes both ways."""
    both.controlling.send(b"ping")
    assert await both.controlled.receive() == b"ping"
    both.controlled.send(b"pong")
    assert await both.controlling.receive() == b"pong"


def stranger(both: Pair) -> SimulatedSocket:
    """Return a socket of somebody who knows where the controlled side is."""
    host = both.world.host("mallory", both.world.internet, "203.0.113.66")
    return host.bind(TransportAddress("203.0.113.66", 4000), lambda *_: None)


def peer_socket(both: Pair) -> SimulatedSocket:
    """Return the very socket of the controlling side: what it sends comes from the right address."""
    (socket,) = both.hosts[0].sockets.values()
    return socket


def target(both: Pair) -> TransportAddress:
    """Return where the controlled side receives."""
    (local,) = both.hosts[1].sockets
    return local


async def pause(seconds: float = 1.0) -> None:
    await asyncio.sleep(seconds)


@virtual_time
async def test_an_empty_datagram_on_a_live_path() -> None:
    async with pair() as both:
        await both.connect()
        peer_socket(both).send(b"", target(both))
        await pause()
        assert both.controlled.stats().discarded == 1
        assert both.controlled.receive_nowait() is None
        await alive(both)


@virtual_time
async def test_data_of_a_stranger_is_not_the_peers() -> None:
    async with pair() as both:
        await both.connect()
        mallory = stranger(both)
        for data in (b"", b"hello", b"\x16\xfe\xfd" + bytes(50), bytes(1200)):
            mallory.send(data, target(both))
        await pause()
        assert both.controlled.receive_nowait() is None
        assert both.controlled.stats().discarded == 4
        await alive(both)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """Return ``data`` with a few bytes changed, cut or doubled."""
    mutable = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        if mutable:
            mutable[rng.randrange(len(mutable))] = rng.randrange(256)
    match rng.randrange(4):
        case 0:
            return bytes(mutable[: rng.randrange(len(mutable) + 1)])
        case 1:
            return bytes(mutable) * 2
        case _:
            return bytes(mutable)


@pytest.mark.parametrize("seed", range(5))
@virtual_time
async def test_random_and_mutated_datagrams_at_a_live_session(seed: int) -> None:
    rng = random.Random(seed)
    async with pair() as both:
        seen: list[bytes] = []
        both.world.observers.append(lambda _now, packet, _fate: seen.append(packet.data))
        await both.connect()
        sources = [stranger(both), peer_socket(both)]
        for _ in range(1000):
            data = rng.randbytes(rng.randrange(100)) if rng.random() < 0.3 else mutated(rng, rng.choice(seen[:50]))
            rng.choice(sources).send(data, target(both))
        await pause()
        while both.controlled.receive_nowait() is not None:
            pass  # What came from the peer's own address is data, whatever it is.
        await alive(both)
        assert both.controlled.state.is_usable


@virtual_time
async def test_a_flood_of_well_formed_requests_with_wrong_credentials() -> None:
    async with pair() as both:
        await both.connect()
        mallory = stranger(both)
        rng = random.Random(1)
        for _ in range(1000):
            request = Message(Method.BINDING, MessageClass.REQUEST, rng.randbytes(12))
            mallory.send(request.serialize(integrity_key=b"wrong", fingerprint=True), target(both))
        await pause()
        assert len(both.controlled.stats().agent.pairs) == 1
        await alive(both)


@virtual_time
async def test_a_thousand_bogus_candidates_beside_a_true_one() -> None:
    async with pair() as both:
        await both.controlled.gather()
        await both.controlling.gather()
        bogus = [
            Candidate(
                foundation=str(index),
                component=1 + (index % 3 == 0),
                transport=("udp", "tcp", "sctp")[index % 3],
                priority=2130706431 - index,
                address=(
                    NamedAddress(f"{index}.local", 9)
                    if index % 5 == 0
                    else TransportAddress(f"203.0.113.{index % 250}", 1 + index)
                ),
                type=list(CandidateType)[index % 4],
            )
            for index in range(1000)
        ]
        both.controlling.set_remote_description(both.controlled.local_description)
        both.controlled.set_remote_description(both.controlling.local_description)
        for candidate in [*bogus[:100], *both.controlled.local_candidates, *bogus[100:]]:
            both.controlling.add_remote_candidate(candidate)
        for candidate in both.controlling.local_candidates:
            both.controlled.add_remote_candidate(candidate)
        await both.controlling.connect()
        await both.controlled.connect()
        limits = IceConfig()
        assert len(both.controlling.remote_candidates) <= limits.max_remote_candidates
        assert len(both.controlling.stats().agent.pairs) <= limits.max_pairs
        for candidate in bogus:
            both.controlling.add_remote_candidate(candidate)
        await pause(60)
        assert both.controlling.state.is_usable
        await alive(both)


@virtual_time
async def test_descriptions_without_end_leave_the_path_alone_and_fill_nothing() -> None:
    async with pair() as both:
        await both.connect()
        for number in range(300):
            both.controlling.set_remote_description(Description(f"other{number}", "x" * 24))
        assert len(both.controlling._agent._generations.kept) == 3
        await alive(both)
        await pause(120)
        assert both.controlling.state.is_usable
        await alive(both)


@virtual_time
async def test_checks_before_the_peer_is_known_are_bounded() -> None:
    async with pair() as both:
        await both.controlled.gather()
        local = both.controlled.local_description
        mallory = stranger(both)
        for index in range(500):
            request = Message(Method.BINDING, MessageClass.REQUEST, index.to_bytes(12, "big"))
            request.add(att.USERNAME, f"{local.ufrag}:peer{index}")
            request.add(att.PRIORITY, 1)
            request.add(att.ICE_CONTROLLING, index)
            mallory.send(request.serialize(integrity_key=local.pwd.encode(), fingerprint=True), target(both))
        await pause()
        assert both.controlled.state is State.NEW
        await both.connect()
        await alive(both)
