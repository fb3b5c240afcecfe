"""A TURN server without sockets: clients that sign their requests, peers, and a clock that the test moves."""

from __future__ import annotations

import random
from typing import Any

from stun import attributes as att
from stun.address import FiveTuple, TransportAddress, TransportProtocol
from stun.attributes import Attribute
from stun.auth import LongTermClient, Verdict
from stun.machine import Release, Transmit
from stun.message import Message, MessageClass, Method, parse
from turn.credentials import StaticUsers, UserStore
from turn.framing import encode_channel_data
from turn.service.config import RelayHost, TurnServiceConfig
from turn.service.events import CloseRelay, OpenRelay, RelayFailure, SendToPeer
from turn.service.server import TurnServer

UDP, TCP = TransportProtocol.UDP, TransportProtocol.TCP
SERVER = TransportAddress("198.51.100.1", 3478)
RELAY4, RELAY6 = "198.51.100.1", "2001:db8:1::1"
PEER = TransportAddress("203.0.113.7", 7000)
PEER6 = TransportAddress("2001:db8:7::7", 7000)
UNIX = 1_700_000_000.0
"""What the server's clock shows at monotonic 0."""
USERS = {"alice": "wonder", "bob": "builder"}
RELAYS = (RelayHost(host=RELAY4), RelayHost(host=RELAY6))
Pair = tuple[Attribute[Any], Any]


class Stage:
    """One server; relayed addresses are bound at once unless ``taken`` has them."""

    def __init__(self, *, users: UserStore | None = None, seed: int = 1, **settings: Any) -> None:
        config = TurnServiceConfig(**{"realm": "example.org", "relays": RELAYS, **settings})
        store = users or StaticUsers("example.org", USERS)
        self.server = TurnServer(config, store, random.Random(seed), (SERVER.host,), unix_time=lambda: UNIX + self.now)
        self.now = 1000.0
        self.sent: list[tuple[FiveTuple, bytes]] = []
        """To clients, since it was last taken."""
        self.to_peers: list[SendToPeer] = []
        """To peers, since it was last taken."""
        self.others: list[Any] = []
        """All other effects, relays apart."""
        self.events: list[Any] = []
        self.open: set[tuple[TransportAddress, TransportProtocol]] = set()
        """Relayed addresses that are bound."""
        self.taken: set[int] = set()
        """Ports that cannot be bound."""
        self.opened = 0

    def drain(self) -> None:
        server = self.server
        while (effect := server.next_effect()) is not None:
            match effect:
                case Transmit(data, path):
                    self.sent.append((path, data))
                case SendToPeer():
                    self.to_peers.append(effect)
                case OpenRelay(address, protocol):
                    if address.port in self.taken:
                        server.relay_failed(address, protocol, RelayFailure.IN_USE, self.now)
                        continue
                    assert (address, protocol) not in self.open
                    self.open.add((address, protocol))
                    self.opened += 1
                    server.relay_opened(address, protocol, self.now)
                case CloseRelay(address, protocol):
                    self.open.remove((address, protocol))
                case _:
                    self.others.append(effect)
        while (event := server.next_event()) is not None:
            self.events.append(event)

    def receive(self, data: bytes, path: FiveTuple) -> list[bytes]:
        """Give the server what a client sends; return what that client is sent."""
        self.sent.clear()
        if path.protocol.is_stream:
            self.server.receive_data(data, path, self.now)
        else:
            self.server.receive_datagram(data, path, self.now)
        self.drain()
        return [message for to, message in self.sent if to == path]

    def wait(self, seconds: float) -> None:
        """Let time pass, waking the server exactly when it wants to be."""
        until = self.now + seconds
        while (deadline := self.server.next_timeout()) is not None and deadline.at <= until:
            self.now = max(self.now, deadline.at)
            self.server.handle_timeout(self.now)
            self.drain()
        self.now = until

    def from_peer(self, data: bytes, relay: TransportAddress, peer: TransportAddress) -> list[tuple[FiveTuple, bytes]]:
        """Give the server a datagram of a peer; return what clients are sent."""
        self.sent.clear()
        self.server.receive_from_peer(data, relay, peer, self.now)
        self.drain()
        return list(self.sent)

    def released(self) -> list[FiveTuple]:
        """The streams that the server closed so far."""
        return [effect.path for effect in self.others if isinstance(effect, Release)]


class StageClient:
    """A client with credentials."""

    def __init__(
        self,
        stage: Stage,
        user: str = "alice",
        *,
        host: str = "192.0.2.1",
        port: int = 5000,
        protocol: TransportProtocol = UDP,
        password: str | None = None,
        local: TransportAddress = SERVER,
    ) -> None:
        self.stage = stage
        self.path = FiveTuple(local, TransportAddress(host, port), protocol)
        self.auth = LongTermClient(user, USERS.get(user, "") if password is None else password)
        self.rng = random.Random(port)
        self.relayed: list[TransportAddress] = []
        if protocol is not UDP:
            stage.server.path_opened(self.path, stage.now)
            stage.drain()

    def wire(self, method: Method, *pairs: Pair) -> tuple[Message, bytes]:
        """Return a request and its signed bytes."""
        request = Message(method, MessageClass.REQUEST, self.rng.randbytes(12), list(pairs))
        return request, self.auth.serialize(request, fingerprint=True)

    def request(self, method: Method, *pairs: Pair) -> Message:
        """Ask, following challenges; return the answer, whose signature is right."""
        for _ in range(4):
            token = self.auth.token
            _, data = self.wire(method, *pairs)
            (answer,) = self.stage.receive(data, self.path)
            response = parse(answer)
            if self.auth.judge(response, token) is not Verdict.RETRY:
                return response
        raise AssertionError("challenged for ever")

    def code(self, method: Method, *pairs: Pair) -> int:
        """Ask; return 0 for success, else the error code."""
        response = self.request(method, *pairs)
        return response.error.code if response.error is not None else 0

    def allocate(self, *pairs: Pair, transport: int = 17) -> Message:
        response = self.request(Method.ALLOCATE, (att.REQUESTED_TRANSPORT, transport), *pairs)
        self.relayed = response.get_all(att.XOR_RELAYED_ADDRESS)
        return response

    def permit(self, *peers: TransportAddress) -> int:
        return self.code(Method.CREATE_PERMISSION, *((att.XOR_PEER_ADDRESS, peer) for peer in peers))

    def bind(self, number: int, peer: TransportAddress) -> int:
        return self.code(Method.CHANNEL_BIND, (att.CHANNEL_NUMBER, number), (att.XOR_PEER_ADDRESS, peer))

    def refresh(self, lifetime: int | None = None, *pairs: Pair) -> Message:
        asked: list[Pair] = [] if lifetime is None else [(att.LIFETIME, lifetime)]
        return self.request(Method.REFRESH, *asked, *pairs)

    def send(self, data: bytes, peer: TransportAddress, *pairs: Pair) -> list[SendToPeer]:
        """Send an indication; return what went to peers."""
        message = Message(Method.SEND, MessageClass.INDICATION, self.rng.randbytes(12))
        message.add(att.XOR_PEER_ADDRESS, peer).add(att.DATA, data)
        message.attributes += pairs
        self.stage.to_peers.clear()
        self.stage.receive(message.serialize(), self.path)
        return list(self.stage.to_peers)

    def send_on(self, number: int, data: bytes) -> list[SendToPeer]:
        """Send ChannelData; return what went to peers."""
        self.stage.to_peers.clear()
        self.stage.receive(encode_channel_data(number, data, padded=self.path.protocol.is_stream), self.path)
        return list(self.stage.to_peers)
