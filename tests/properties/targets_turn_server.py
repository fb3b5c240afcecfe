"""Fuzz targets of the TURN server: one a parser, one the machine. An exception that leaves one of them is a fault."""

from __future__ import annotations

import random

from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.attributes import unknown_attribute
from stun.message import Method, parse
from stun.values import Icmp
from tests.turn.service.stage import PEER, TCP, UDP, Stage, StageClient
from turn.errors import TurnConfigError
from turn.service.mobility import TicketBox
from turn.service.settings import parse_settings


def fuzz_turn_server(data: bytes) -> None:
    """A server with two clients takes any bytes from anybody; what it sends a stranger over UDP stays in the budget."""
    stage = Stage(mobility=True)
    client = StageClient(stage)
    client.allocate()
    client.bind(0x4000, PEER)
    over_tcp = StageClient(stage, "bob", port=5001, protocol=TCP)
    over_tcp.allocate(transport=6)
    stranger = FiveTuple(client.path.local, TransportAddress("192.0.2.200", 1), UDP)
    for path in (client.path, stranger, over_tcp.path, stranger._replace(protocol=TransportProtocol.DTLS)):
        answers = stage.receive(data, path)
        assert path != stranger or len(answers) <= 1
        stage.receive(b"\0\1\0\0" + data, path)
    stage.from_peer(data, client.relayed[0], PEER)
    stage.server.receive_icmp(Icmp(3, 3), client.relayed[0], PEER, stage.now)
    stage.drain()
    assert len(stage.server.allocations) <= 2
    stage.wait(5000)
    assert not stage.open
    assert stage.server.ports_in_use == stage.server.peer_connections == 0


CODES = [0x0C, 0x0D, 0x12, 0x13, 0x17, 0x18, 0x19, 0x1A, 0x22, 0x2A, 0x8000, 0x8030, 0x20, 0x7777, 0x8022]


def fuzz_turn_signed_request(data: bytes) -> None:
    """A client with good credentials signs requests whose attributes have any values, in any order."""
    stage = Stage(mobility=True)
    client = StageClient(stage, protocol=TCP if data[:1] > b"\x80" else UDP)
    pairs = []
    for start in range(0, len(data), 10):
        code, size = CODES[data[start] % len(CODES)], (1, 4, 8, 0, 20)[data[start] % 5]
        pairs.append((unknown_attribute(code), data[start + 1 : start + 1 + size]))
    requests = (Method.ALLOCATE, Method.CREATE_PERMISSION, Method.CHANNEL_BIND, Method.CONNECT, Method.CONNECTION_BIND)
    for method in (*requests, Method.ALLOCATE, Method.REFRESH):
        _, wire = client.wire(method, *pairs)
        for answer in stage.receive(wire, client.path):
            client.auth.judge(parse(answer), client.auth.token)
        if method is Method.ALLOCATE:
            client.allocate()
    assert len(stage.server.allocations) <= 1
    stage.wait(5000)
    assert not stage.open
    assert stage.server.ports_in_use == stage.server.peer_connections == 0


def fuzz_turn_settings(data: bytes) -> None:
    """Any text is settings or a TurnConfigError."""
    try:
        parse_settings(data.decode("utf-8", "replace"))
    except TurnConfigError:
        pass


def fuzz_turn_ticket(data: bytes) -> None:
    """No bytes are a ticket that was not made here."""
    assert TicketBox(random.Random(1)).open(data) is None
