"""A mux without sockets: members that answer checks as agents do, and peers with addresses."""

from __future__ import annotations

import itertools

from ice.mux import MuxRoutes, Place, Port
from ice.mux_config import MuxConfig
from stun.address import TransportAddress
from stun.demux import is_stun
from stun.message import Message, MessageClass, Method
from tests.ice.builders import request

HERE = TransportAddress("192.0.2.1", 3478)
PEER = ("198.51.100.7", 4007)
OTHER = ("198.51.100.8", 4008)

_numbers = itertools.count(1)


def transaction() -> bytes:
    """A transaction id that nobody has had."""
    return next(_numbers).to_bytes(12, "big")


def check(ufrag: str, transaction_id: bytes | None = None) -> bytes:
    """A check for the agent ``ufrag``."""
    return request(f"{ufrag}:peer", "p" * 22, transaction_id=transaction_id or transaction())


def question() -> bytes:
    """What a STUN server is asked."""
    return Message(Method.BINDING, MessageClass.REQUEST, transaction()).serialize()


def answer(request: bytes) -> bytes:
    """The success that answers a request."""
    return Message(Method.BINDING, MessageClass.SUCCESS, request[8:20]).serialize()


def refusal(request: bytes) -> bytes:
    """The 401 that answers a request."""
    return Message(Method.BINDING, MessageClass.REQUEST, request[8:20]).failure(401, "Unauthenticated").serialize()


class Member:
    """One session at the mux; it answers checks at once, unless it distrusts them."""

    def __init__(self, stage: Stage, ufrag: str, *ports: Port) -> None:
        self.stage = stage
        self.ufrag = ufrag
        self.trusts = True
        self.seat = stage.routes.join(ufrag)
        self.heard: list[tuple[bytes, tuple[str, int]]] = []
        self.places: list[Place] = []
        for port in ports or (stage.port,):
            self.places.append(self._place(port))

    def _place(self, port: Port) -> Place:
        def receive(data: bytes, remote: tuple[str, int]) -> None:
            self.heard.append((data, remote))
            if is_stun(data) and data[:2] == b"\0\1":
                self.send(answer(data) if self.trusts else refusal(data), remote, place)

        place = Place(self.seat, port, receive)
        self.stage.routes.attach(place)
        return place

    def send(self, data: bytes, remote: tuple[str, int] = PEER, place: Place | None = None) -> bytes:
        """Send something, and let the mux see it; return it."""
        self.stage.routes.note_sent(data, place or self.places[0], remote, self.stage.now)
        return data

    def hears(self, data: bytes, remote: tuple[str, int] = PEER, port: Port | None = None) -> bool:
        """Whether ``data`` from ``remote`` reaches this member."""
        before = len(self.heard)
        self.stage.arrive(data, remote, port)
        return self.heard[before:] == [(data, remote)]

    def meet(self, remote: tuple[str, int] = PEER) -> None:
        """Check the peer, and let it answer: it is reachable there."""
        self.stage.arrive(answer(self.send(check("peer"), remote)), remote)


class Stage:
    """A mux with one port and a clock."""

    def __init__(self, **limits: float) -> None:
        self.now = 100.0
        self.routes = MuxRoutes(MuxConfig(**limits))  # type: ignore[arg-type]
        self.port = self.open(HERE)

    def open(self, local: TransportAddress) -> Port:
        """Add a port."""
        port = Port(local)
        self.routes.add_port(port)
        return port

    def arrive(self, data: bytes, remote: tuple[str, int] = PEER, port: Port | None = None) -> None:
        """Let a datagram arrive."""
        self.routes.deliver(data, port or self.port, remote, self.now)

    def is_empty(self) -> bool:
        """Whether nothing is left of any session."""
        stats = self.routes.stats()
        return stats.sessions == stats.ufrags == stats.addresses == stats.awaited == 0
