"""The server under load and under attack: a process of its own, and thousands of small clients."""

from __future__ import annotations

import resource
import select
import socket
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.turn_load import HERE, Flow, Process, our_server
from stun.attributes import LIFETIME
from stun.message import Message, MessageClass, Method

pytestmark = [
    pytest.mark.timeout(300),  # Five seconds on a machine with nothing else to do.
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

ALLOCATIONS = 2000

PATIENCE = 30.0
"""How many seconds the server may take for what it does at once on a machine with nothing else to do."""

FLOODED = 2.0
"""How many seconds to wait for a datagram that may have been lost, and how long a flood lasts at least."""


@pytest.fixture
def server() -> Iterator[Process]:
    with our_server() as process:
        yield process


def settles_at(server: Process, descriptors: int) -> bool:
    """Whether the server comes to hold this many: it answers a deletion before it closes the socket."""
    until = time.monotonic() + PATIENCE
    while server.descriptors() != descriptors and time.monotonic() < until:
        time.sleep(0.01)
    return server.descriptors() == descriptors


def push(flow: Flow, rounds: int, patience: float) -> int:
    """Send one datagram a client and round, in steps that fit the receive buffer; return how many reached the peer."""
    got = 0
    for number in range(rounds):
        for start in range(0, len(flow.clients), 50):
            part = flow.clients[start : start + 50]
            for index, client in enumerate(part, start):
                client.socket.send(b"\x40\x00\x00\x08" + index.to_bytes(4, "big") + number.to_bytes(4, "big"))
            got += collect(flow, start, len(part), number, patience)
    return got


def collect(flow: Flow, start: int, count: int, number: int, patience: float) -> int:
    """Take what arrives at the peer; every datagram comes from the relayed address of the client that sent it."""
    seen: set[int] = set()
    while len(seen) < count and select.select([flow.peer], [], [], patience)[0]:
        data, source = flow.peer.recvfrom(2048)
        index = int.from_bytes(data[:4], "big")
        assert source == flow.clients[index].relayed
        assert int.from_bytes(data[4:], "big") == number
        assert start <= index < start + count
        seen.add(index)
    return len(seen)


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 5000, reason="needs 5,000 open files: ulimit -n")
def test_2000_allocations_with_data_flowing(server: Process) -> None:
    warm = Flow(server.port, 20)
    before, descriptors = server.resident(), server.descriptors()
    flow = Flow(server.port, ALLOCATIONS)
    try:
        assert server.descriptors() == descriptors + ALLOCATIONS
        per_allocation = (server.resident() - before) / ALLOCATIONS
        assert per_allocation < 10 * 1024
        assert push(flow, 3, PATIENCE) == 3 * ALLOCATIONS
        assert (server.resident() - before) / ALLOCATIONS < 12 * 1024  # data leaves nothing behind
        for client in flow.clients:
            client.request(Method.REFRESH, (LIFETIME, 0))  # type: ignore[arg-type]
        assert settles_at(server, descriptors)
    finally:
        flow.close()
        warm.close()


def test_a_flood_of_strangers_does_not_grow_the_server_or_stop_its_clients(server: Process) -> None:
    flow = Flow(server.port, 1)
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.connect((HERE, server.port))
    stranger.setblocking(False)
    kinds = [
        Message(Method.ALLOCATE, MessageClass.REQUEST, bytes(12)).serialize(),
        b"\x40\x00\x00\x04junk",  # somebody else's channel
        b"\x40\x01",
        bytes(1200),
        b"",
    ]
    try:
        before, descriptors = server.resident(), server.descriptors()
        began = time.monotonic()
        sent = relayed = 0
        while time.monotonic() - began < FLOODED or sent <= 5000 or relayed <= 20:
            assert time.monotonic() - began < 2 * PATIENCE, f"only {relayed} were relayed beside {sent}"
            for kind in kinds * 20:
                try:
                    stranger.send(kind)
                    sent += 1
                except BlockingIOError:
                    pass
            relayed += push(flow, 1, FLOODED)
        assert settles_at(server, descriptors)
        assert server.resident() - before < 8 << 20
    finally:
        stranger.close()
        flow.close()
